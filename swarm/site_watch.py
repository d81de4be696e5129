"""Keeping watch over the site: what its membership wants done becomes datagrams, and what mates say about each other goes back.

Nothing here makes this node send to an address that a message names: favours are done for known nodes, at the addresses they
were heard from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swarm.address import Address
from swarm.discovery.membership import Act, Do
from swarm.discovery.peers import Peer, PeerTable
from swarm.effects import SendDatagram
from swarm.envelope import Envelope
from swarm.site import Site
from swarm.wire import PingFor, Suspicion, Word

FAVOURS_MAX = 64
"""Pings under way for others; beyond it the oldest is forgotten."""
ASKERS_MAX = 4
"""Askers told of one ping; the others have asked further nodes."""
TOLD_MAX = 3
"""Mates told of a suspicion one by one where multicast does not reach all."""


class SiteWatch:
    """Carries out what `Site.membership` asks for. `ping` asks a peer to say hello."""

    def __init__(
        self,
        site: Site,
        table: PeerTable,
        envelope: Envelope,
        ping: Callable[[Peer, float], SendDatagram],
        *,
        beacon: bool,
    ) -> None:
        self._site = site
        self._table = table
        self._envelope = envelope
        self._ping = ping
        self._beacon = beacon
        self.deaf = not beacon
        """Multicast does not reach all of the site."""
        self._favours: dict[bytes, dict[Address, None]] = {}

    def carry_out(self, todo: Iterable[Do], now_s: float) -> tuple[list[SendDatagram], list[Peer]]:
        """The datagrams for what is to be done, and the peers that are gone: they have been dropped."""
        sends: list[SendDatagram] = []
        gone: list[Peer] = []
        for each in todo:
            peer = self._table.get(each.node_id)
            if peer is None:
                self._site.membership.forget(each.node_id)
                continue
            match each.act:
                case Act.PROBE:
                    sends.append(self._ping(peer, now_s))
                case Act.ASK:
                    helper = self._table.get(each.helper)
                    if helper is not None:
                        sends.append(self._to(helper.info.address, PingFor(each.node_id)))
                case Act.SUSPECT:
                    sends += self._tell_suspicion(each.node_id)
                case Act.GONE:
                    self._table.drop(each.node_id)
                    gone.append(peer)
        return sends, gone

    def answered(self, node_id: bytes) -> list[SendDatagram]:
        """A node answered: whoever asked for it is told."""
        return self._tell(node_id, answered=True)

    def unanswered(self, node_id: bytes) -> list[SendDatagram]:
        """It did not."""
        return self._tell(node_id, answered=False)

    def on_ping_for(self, asked: PingFor, source: Address, now_s: float) -> list[SendDatagram]:
        """A mate asks this node to ping another."""
        peer = self._table.get(asked.node_id)
        if peer is None or not self._is_mate(source) or not self._site.membership.counts(asked.node_id):
            return []
        askers = self._favours.pop(asked.node_id, {})
        under_way = bool(askers)
        if len(askers) < ASKERS_MAX:
            askers[source] = None
        self._favours[asked.node_id] = askers
        if len(self._favours) > FAVOURS_MAX:
            del self._favours[next(iter(self._favours))]
        return [] if under_way else [self._ping(peer, now_s)]

    def on_word(self, word: Word, source: Address) -> None:
        """A mate says what came of a ping that this node asked for."""
        if self._is_mate(source):
            self._site.membership.word(word.node_id, answered=word.answered)

    def on_suspicion(
        self, suspicion: Suspicion, source: Address, now_s: float
    ) -> tuple[list[SendDatagram], list[Peer]]:
        """A mate tells the site that it suspects another."""
        accuser = self._table.at(source)
        if accuser is None:
            return [], []
        node_id = accuser.info.node_id
        return self.carry_out(self._site.membership.suspected_by(suspicion.node_id, node_id, now_s), now_s)

    def _is_mate(self, source: Address) -> bool:
        peer = self._table.at(source)
        return peer is not None and peer.info.same_site

    def _tell(self, node_id: bytes, *, answered: bool) -> list[SendDatagram]:
        askers = self._favours.pop(node_id, {})
        return [self._to(asker, Word(node_id, answered)) for asker in askers]

    def _tell_suspicion(self, node_id: bytes) -> list[SendDatagram]:
        suspicion = Suspicion(node_id)
        sends = [SendDatagram(None, self._envelope.seal_datagram(suspicion))] if self._beacon else []
        mates = [mate for mate in self._site.mates() if mate.info.node_id != node_id] if self.deaf else []
        return sends + [self._to(mate.info.address, suspicion) for mate in mates[:TOLD_MAX]]

    def _to(self, address: Address, message: PingFor | Word | Suspicion) -> SendDatagram:
        return SendDatagram(address, self._envelope.seal_datagram(message))
