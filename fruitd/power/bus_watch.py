"""Whether the node that has a bus may act on it: nothing new is begun while another master is on it, or may be. Pure.

Two nodes that share a bus and cannot hear each other in the swarm both take themselves for its owner, and each would give a turn
to one of the two Pis of a board. The bus itself shows the other (hw/pistack/other_master.py). So turns and switches wait while it
was heard of late; and where a node has just got a bus that another may have, until it has been listened to for long enough.
"""

from __future__ import annotations

from collections.abc import Iterator

from fruitd.power.effects import PowerEffect, Tell

GRACE_S = 90.0
"""Two masters for so long are no news: both start at once, or one lets go when a cut of the network ends, before its next sweep
(a minute at most). Longer: people are told later. Shorter: every hand-over looks like trouble. Turns wait at once."""


class BusWatch:
    """Of one bus, for as long as this node has it. Times are steady seconds."""

    def __init__(self, quiet_s: float, now_s: float) -> None:
        self._quiet_s = quiet_s
        self._since_s = self._swept_s = now_s
        self._first_s = self._last_s = float("-inf")
        self._told = False
        self.unheard: tuple[str, ...] = ()
        """Names of those that may have this bus too, and have not said in the swarm of late that they have it not."""

    def swept(self, other_s: float | None, now_s: float) -> None:
        """A sweep has ended; `other_s`: when another master was heard last, None for never."""
        self._swept_s = now_s
        if other_s is None or other_s <= self._last_s:
            return
        if other_s - self._last_s >= self._quiet_s:
            self._first_s = other_s
        self._last_s = other_s

    def why(self, now_s: float) -> str:
        """Why no turn is to be given and nothing to be switched now; "" where both may be."""
        if now_s - self._last_s < self._quiet_s:
            return "another master asks the boards of this bus"
        if now_s - self._swept_s >= self._quiet_s or (self.unheard and now_s - self._since_s < self._quiet_s):
            return "it is listened first whether another node has this bus"
        return ""

    def trouble(self, now_s: float) -> str:
        """What a person has to do about it; "" where nothing, or where it may pass by itself."""
        if now_s - self._last_s >= self._quiet_s or self._last_s - self._first_s < GRACE_S:
            return ""
        what = "another master asks the boards of this bus: no turns are given and nothing is switched"
        if not self.unheard:
            return f"{what}; no node of the swarm does it: look for another program on the bus"
        names = ", ".join(self.unheard[:3])
        return f"{what}; not heard in the swarm: {names}. Mend the network between, or take one off the bus"

    def news(self, now_s: float) -> Iterator[PowerEffect]:
        """The trouble, once, and its end."""
        trouble = self.trouble(now_s)
        if trouble and not self._told:
            yield Tell("power", trouble)
        elif self._told and not trouble:
            yield Tell("power", "no other master is heard on the bus any more: turns and switching go on")
        self._told = bool(trouble)
