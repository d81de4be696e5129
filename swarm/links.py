"""The overlay between sites: few, long-lived links, each kept up from inside by the node that speaks for its site."""

from __future__ import annotations

import random
from collections.abc import Iterable

from swarm.discovery.peers import Peer, sample

LINKS = 2
"""Peers of other sites that the one who speaks for its site keeps talking to; as many keep talking to it. Fewer: one that fails
is felt; more: more traffic over the uplink while nothing happens."""
LINK_LIVES_S = 90.0
"""A peer of another site that asked something this lately keeps a link to this node: what is new reaches it also behind NAT."""


class Links:
    """Of one node."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._links: list[bytes] = []

    def linked(self, far: Iterable[Peer], now_s: float) -> list[Peer]:
        """Of the peers of other sites, those that a datagram reaches most likely: this node talks to them, or they to it."""
        return [
            peer for peer in far if peer.info.node_id in self._links or now_s - peer.knocked_s < LINK_LIVES_S
        ]

    def asked(self, far: Iterable[Peer], rank: int | None) -> list[Peer]:
        """Whom the one that speaks for its site asks in a quiet round: its links, and somebody else now and then.

        Links stay as long as they answer; one that is lost is replaced from those known.

        Args:
            far: the peers of other sites.
            rank: this node's among those that speak for the site; None where it does not.
        """
        known = {peer.info.node_id: peer for peer in far}
        self._links = [node_id for node_id in self._links if node_id in known and not known[node_id].strikes]
        if rank is None:
            return []
        wanted = LINKS if rank == 0 else 0
        others = [peer for node_id, peer in known.items() if node_id not in self._links]
        while len(self._links) < wanted and others:
            chosen = sample(others, 1, self._rng)[0]
            self._links.append(chosen.info.node_id)
            others.remove(chosen)
        asked = [known[node_id] for node_id in self._links[:wanted]]
        if others and self._rng.random() < 0.5:
            asked += sample(others, 1, self._rng)
        return asked
