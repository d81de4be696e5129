"""Peers that are heard from another address than the one in use: when to look whether they are still where they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from swarm.discovery.peers import Heard, Peer, PeerTable

LOOK_AGAIN_S = 5.0
"""Least time between two pings of a node that was given up and whose multicast is heard, or that was heard elsewhere."""
BURST_S = 1.0
"""A node with several interfaces sends its beacon by all of them at once; within this time all copies are here. Longer: a mate
that moved is followed later; shorter: a busy Pi takes the copy from the address in use for lost, and asks."""


class Elsewhere:
    """The mates whose multicast came from elsewhere. The address in use is that for as long as it is heard or answers."""

    def __init__(self, table: PeerTable, rng: random.Random) -> None:
        self._table = table
        self._rng = rng
        self._looks: dict[bytes, float] = {}

    @property
    def next_s(self) -> float:
        """When to look next."""
        return min(self._looks.values(), default=float("inf"))

    def heard(self, peer: Peer, heard: Heard, now_s: float, *, multicast: bool) -> bool:
        """A hello of this peer came, and not from the address in use. True: ask at the address in use now.

        A beacon from elsewhere alone, without its copy from the address in use, is looked into; so is whatever comes to this
        node only.
        """
        if multicast:
            if now_s - peer.here.heard_s >= BURST_S or heard is Heard.DOUBTED:
                due_s = now_s + BURST_S * self._rng.uniform(1.0, 2.0)
                self._looks.setdefault(peer.info.node_id, due_s)
            return False
        return heard is Heard.DOUBTED and peer.here.multicast and now_s - peer.pinged_s > LOOK_AGAIN_S

    def due(
        self, now_s: float, silence_s: float, welcomes: Callable[[], bool]
    ) -> Iterator[tuple[Peer, bool]]:
        """Whom to ask elsewhere now, and whether at the address in use as well.

        Who was heard from the address in use, too, is asked at the other only, until it answers there, by a few of the site at a
        time (`welcomes`): its connections from there are then taken for those of a mate. Otherwise both are asked. Whoever only
        answers there, and is heard from elsewhere only, is asked again when a neighbour would be missed.
        """
        for node_id in [node_id for node_id, due_s in self._looks.items() if due_s <= now_s]:
            del self._looks[node_id]
            peer = self._table.get(node_id)
            if peer is None:
                continue
            silent = now_s - peer.here.heard_s >= 3 * BURST_S
            lately = now_s - peer.looked_s < silence_s
            answers_only = peer.here.multicast_s <= peer.looked_s <= peer.here.heard_s
            both = silent and not (lately and answers_only)
            if not both and (silent or lately or not welcomes()):
                continue
            peer.looked_s = now_s
            yield peer, both
