"""Is this node shut in, where datagrams (UDP) do not get out? Then its datagrams travel in streams (TCP) that it opens.

Many a firewall of a university lets out TCP and nothing else. A node finds that out by itself: contacts do not answer, and
nothing comes from other sites by plain datagrams. Pure.
"""

from __future__ import annotations

from swarm.address import Address

TRIES_IN_VAIN = 3
"""Knocks at one contact without an answer; with the last of them a stream is tried. Fewer: streams on lines that only lose much;
more: a node that is shut in waits longer, each time twice as long."""
TRIES_IN_VAIN_HEARSAY = 2
"""The same at an address that a peer told: it is not knocked at more often."""
PLAIN_LIVES_S = 120.0
"""Datagrams get through if one came from another site this lately."""
TRY_PLAIN_S_MIN, TRY_PLAIN_S_MAX = 30.0, 1800.0
"""While everything goes through tunnels, a plain datagram is tried, more and more rarely: a line that only lost much at the start
looks the same. Shorter: datagrams that a firewall's log may hold against the node."""
TUNNELS_WANTED, TUNNELS_MAX = 4, 8
"""Peers of other sites reached so, whoever they are; and with those that the owner named, or that hold what is missed. Fewer: one
that fails is felt; more: more streams that open nodes hold for this one."""
GUESTS_MAX = 256
"""Addresses remembered of those who came through tunnels; beyond it the oldest is taken for an address like any other, and others
are told of it in vain."""


class ShutIn:
    """What came from other sites, and how."""

    def __init__(self) -> None:
        self._guests: dict[Address, None] = {}
        self._plain_s = float("-inf")
        self._tunnelled_s = float("-inf")
        self._try_s = float("inf")
        self._try_gap_s = TRY_PLAIN_S_MIN

    def heard(self, now_s: float, *, tunnelled: bool) -> None:
        """A peer of another site spoke, by a plain datagram or through a tunnel of this node's own."""
        if not tunnelled:
            self._plain_s, self._try_s, self._try_gap_s = now_s, float("inf"), TRY_PLAIN_S_MIN
            return
        self._tunnelled_s = now_s
        if self._try_s == float("inf"):
            self._try_s = now_s + self._try_gap_s

    def now(self, now_s: float) -> bool:
        """Whether other sites are reached through tunnels only."""
        return now_s - self._tunnelled_s < PLAIN_LIVES_S and not self._plain(now_s)

    def tries_plainly(self, now_s: float) -> bool:
        """Whether to try a plain datagram now; True counts as tried."""
        if now_s < self._try_s or not self.now(now_s):
            return False
        self._try_gap_s = min(2 * self._try_gap_s, TRY_PLAIN_S_MAX)
        self._try_s = now_s + self._try_gap_s
        return True

    def wants_tunnel(self, tries: int, tunnels: int, now_s: float, *, contact: bool, wanted: bool) -> bool:
        """Whether to open one to an address that was knocked at `tries` times.

        Args:
            tunnels: how many lead to peers already.
            contact: the owner named it.
            wanted: somebody in particular is there, and not just anybody.
        """
        enough = TRIES_IN_VAIN if contact else TRIES_IN_VAIN_HEARSAY
        most = TUNNELS_MAX if wanted else TUNNELS_WANTED
        return tries >= enough and tunnels < most and not self._plain(now_s)

    def let_in(self, address: Address) -> None:
        """Somebody else has opened a tunnel to this node and seems to be there."""
        self._guests.pop(address, None)
        self._guests[address] = None
        if len(self._guests) > GUESTS_MAX:
            del self._guests[next(iter(self._guests))]

    def is_guest(self, address: Address) -> bool:
        """Whether what seems to be there came through a tunnel of its own: nobody else reaches it there."""
        return address in self._guests

    def _plain(self, now_s: float) -> bool:
        return now_s - self._plain_s < PLAIN_LIVES_S
