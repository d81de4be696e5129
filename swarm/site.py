"""The site of this node: who belongs to it, who of them is alive, and who speaks to the outside for what.

Joins the table of peers, the membership and the choice of gateways. Nodes of a site hear each other's multicast, or were given
the same name for it; a node that knows of no other is its own site.
"""

from __future__ import annotations

import random

from swarm.discovery.gateway import NEWS, ranked
from swarm.discovery.membership import Do, Membership, State
from swarm.discovery.peers import Peer, PeerTable
from swarm.transfer.way_out import Place

NEWS_GATEWAYS = 2
"""Nodes of a site that keep up the talk with others: one that does it, and one that would notice if it did not. More: more
traffic over the uplink while nothing happens; one alone would leave its site without news until it is missed."""
WANTED_MAX = 16
"""Images that were wanted and are remembered; a node works on one."""
SILENT_S = 3.0
"""By then everybody of a site has heard of a release and says whether it wants it; whoever does not is not its gateway."""


class Site:
    """Who is in this node's site. `able`: this node could speak to the outside (see `Hello.able`)."""

    def __init__(self, node_id: bytes, table: PeerTable, rng: random.Random, now_s: float) -> None:
        self.able = True
        self.membership = Membership(rng, now_s)
        self._node_id = node_id
        self._table = table
        self._wanted_s: dict[bytes, float] = {}

    # ------------------------------------------------------------------ who is here

    def mates(self) -> list[Peer]:
        """The other nodes of the site that are alive, in no order that means anything."""
        return [peer for peer in self._table.site_mates() if self.membership.counts(peer.info.node_id)]

    def heard(self, peer: Peer, *, answered: bool) -> None:
        """A hello of this peer came; `answered` where it is the answer to a ping of this node."""
        if not peer.info.same_site:
            return
        if answered:
            self.membership.answered(peer.info.node_id)
        else:
            self.membership.seen(peer.info.node_id)

    def state(self, node_id: bytes) -> State | None:
        """What is thought of a node of the site; None for others and for those that are gone."""
        return self.membership.state(node_id)

    def unanswered(self, peer: Peer, now_s: float) -> list[Do]:
        """A ping to a node of the site was given up."""
        return self.membership.unanswered(peer.info.node_id, now_s)

    # ------------------------------------------------------------------ who speaks

    def news_order(self) -> list[bytes]:
        """Who speaks for the site about news, the first first, then who would.

        Those who are able come first; where nobody is, the others do it: news is small, and no limit of images holds it up.
        """
        able = {peer.info.node_id: peer.info.able for peer in self.mates()} | {self._node_id: self.able}
        return [
            *ranked(NEWS, [node_id for node_id, is_able in able.items() if is_able]),
            *ranked(NEWS, [node_id for node_id, is_able in able.items() if not is_able]),
        ]

    def news_rank(self) -> int | None:
        """This node's place among those that talk to other sites; None: it leaves that to others."""
        first = self.news_order()[:NEWS_GATEWAYS]
        return first.index(self._node_id) if self._node_id in first else None

    def news_gateways(self) -> list[Peer]:
        """The others that do."""
        peers = [self._table.get(node_id) for node_id in self.news_order()[:NEWS_GATEWAYS]]
        return [peer for peer in peers if peer is not None]

    def wants(self, holding: bytes, now_s: float, *, afresh: bool = False) -> None:
        """This node wants an image, or something that belongs to it; `afresh`: everybody may say anew that it does."""
        if afresh or holding not in self._wanted_s:
            self._wanted_s.pop(holding, None)
            self._wanted_s[holding] = now_s
            while len(self._wanted_s) > WANTED_MAX:
                del self._wanted_s[next(iter(self._wanted_s))]

    def wanted_for_s(self, holding: bytes, now_s: float) -> float:
        """How long it has wanted it; infinity if it does not."""
        return now_s - self._wanted_s.get(holding, float("-inf"))

    def place(self, holding: bytes, now_s: float) -> Place:
        """Where this node stands for an image it wants. One that is not able stands behind all that are."""
        order = self._candidates(holding, now_s)
        rank = order.index(self._node_id) if self._node_id in order else len(order)
        mates = self.mates()
        return Place(rank, len(mates), any(peer.info.holds_whole(holding) for peer in mates))

    def gateway(self, holding: bytes, now_s: float) -> bytes | None:
        """Who is the gateway of an image, this node or another; None where nobody is able."""
        order = self._candidates(holding, now_s)
        return order[0] if order else None

    def _candidates(self, holding: bytes, now_s: float) -> list[bytes]:
        """Those who may be its gateway, in order.

        At first everybody who is able: nobody can have said yet that it wants the image. Whoever has not said so after
        `SILENT_S` does not want it.
        """
        early = self.wanted_for_s(holding, now_s) < SILENT_S
        infos = [peer.info for peer in self.mates()]
        able = [i.node_id for i in infos if i.able and (early or i.wants_or_holds(holding))]
        return ranked(holding, [*able, self._node_id] if self.able else able)
