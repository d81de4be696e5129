"""When a node that knows few peers beyond its LAN asks one of them who else is out there.

Peers tell of others when stores are compared; where there is no news, nothing is compared, and a node with one contact would know
one peer for ever.
"""

from __future__ import annotations

GAP_S_MAX = 1800.0
"""Longest pause between two asks that brought nobody new. Longer: a swarm that grew slowly is noticed later; shorter: about 1 KiB
each time for nothing, in a swarm that is small for good."""


class Acquaintances:
    """Asks soon, and more and more rarely while the number of far peers stays as it is."""

    def __init__(self, gap_s: float, wanted: int) -> None:
        self._gap_s_min = gap_s
        self._gap_s = gap_s
        self._wanted = wanted
        self._known = 0
        self._due_s = float("-inf")

    def wants_more(self, far_peers: int, now_s: float) -> bool:
        """Whether to ask now, given how many peers beyond the LAN are known. True counts as asked."""
        if far_peers != self._known:
            self._known, self._gap_s = far_peers, self._gap_s_min
            self._due_s = min(self._due_s, now_s)
        if not 0 < far_peers < self._wanted or now_s < self._due_s:
            return False
        self._due_s = now_s + self._gap_s
        self._gap_s = min(self._gap_s * 2, GAP_S_MAX)
        return True
