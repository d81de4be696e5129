"""Who is brought together with whom: joins the wish to meet others, and the answer to theirs, with the peers this node knows."""

from __future__ import annotations

import random

from swarm.address import Address
from swarm.discovery.meeting import DIALLED_GAP_S, Dial, Go, Matchmaker, Meet, Meeting, Pace, Wish
from swarm.discovery.peers import sample
from swarm.effects import DialWanted
from swarm.presence import Presence
from swarm.server import worth_telling
from swarm.settings import SwarmSettings

Sends = list[tuple[Address, Meeting]]


class Meetings:
    """Of one node. Every method returns whom to send what."""

    def __init__(self, presence: Presence, settings: SwarmSettings, rng: random.Random) -> None:
        self._presence = presence
        self._rng = rng
        self._matchmaker = Matchmaker(rng)
        self._wish = Wish(settings.far_peers_wanted)
        self._dialled = Pace(DIALLED_GAP_S)

    def on_dial(self, dial: Dial, source: Address, now_s: float) -> DialWanted | None:
        """A peer wants to be dialled: who it is, if it is one and does not ask too often."""
        peer = self._presence.table.at(source)
        if peer is None or not self._dialled.allows(source, now_s):
            return None
        return DialWanted(dial.holding, peer.info.node_id, Address(source.host, dial.transfer_port))

    def on_message(self, message: Meet | Go, source: Address, now_s: float) -> Sends:
        """A peer wants to meet others, or tells of some. Only a peer that is known where it speaks from is listened to: nobody
        aims knocks at others with a made-up source."""
        peer = self._presence.table.at(source)
        if peer is None:
            return []
        if isinstance(message, Go):
            self._presence.hear_of(message.addresses, now_s)
            return []
        if peer.guest or source.is_link_local:
            return []  # a knock at the stream it speaks through would reach nobody, nor one at an address of another link
        peers = self._presence.table.all()
        giving = worth_telling([peer for peer in peers if peer.info.gives], source)
        return [*self._matchmaker.introduce(source, worth_telling(peers, source), now_s, giving=giving)]

    def wanted(self, now_s: float) -> Sends:
        """Peers have come or gone, or time has passed: ask one of them to bring this node together with those it knows."""
        wishes = self._presence.speaks and self._wish.due(len(self._presence.far()), now_s)
        return self._ask() if wishes else []

    def missed(self, now_s: float) -> Sends:
        """Somebody is missed: who holds an image that is wanted."""
        return self._ask() if self._wish.seeks(now_s) else []

    def _ask(self) -> Sends:
        return [(peer.info.address, Meet()) for peer in sample(self._presence.far(), 1, self._rng)]
