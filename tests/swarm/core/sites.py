"""Swarm cores on the world's network: nodes in sites that are open, behind translators, or shut in."""

from __future__ import annotations

import random

from simulations.world.heap import Dice, Heap
from simulations.world.network import Network, Weather
from simulations.world.trace import Trace
from swarm.address import Address
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.effects import CarryTunnel, CloseTunnel, OpenStream, OpenTunnel, SendDatagram, SwarmEffect
from swarm.news.store import RecordStore
from tests.swarm.core.village import KEYRING, PORT, node_id, verdict


class Dweller:
    """A swarm core on the world's network."""

    def __init__(self, town: Town, number: int, site: int, contacts: tuple[Address, ...]) -> None:
        self.town = town
        self.number = number
        self.address = town.network.attach(number, site, PORT, self)
        self.store = RecordStore(verdict)
        self.tunnels_opened = 0
        me = Me(node_id(number), f"n{number}", f"site-{site}", PORT, 0)
        settings = SwarmSettings(beacon=False, contacts=contacts)
        rng = random.Random(number)
        self.core = SwarmCore(me, settings, KEYRING, self.store, lambda _k, _i: None, rng, town.heap.now_s)
        self.plan()

    def listening(self) -> bool:
        return True

    def powered(self) -> bool:
        return True

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        self.do(self.core.on_datagram(data, source, self.town.heap.now_s, multicast=multicast))

    def answer(self, request: bytes, source: Address) -> bytes | None:
        reply, effects = self.core.answer(request, source, self.town.heap.now_s)
        self.do(effects)
        return reply

    def carries(self, request: bytes, source: Address) -> bool:
        _, effects = self.core.answer(request, source, self.town.heap.now_s)
        return effects == [CarryTunnel(source)]

    def receive_tunnelled(self, data: bytes, source: Address) -> None:
        self.do(self.core.on_datagram(data, source, self.town.heap.now_s, tunnelled=True))

    def do(self, effects: list[SwarmEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendDatagram):
                self.town.network.send(self.number, effect.destination, effect.data, plain=effect.plain)
            elif isinstance(effect, OpenTunnel):
                self.tunnels_opened += 1
                self.town.network.open_tunnel(self.number, effect.peer, effect.request, effect.first)
            elif isinstance(effect, CloseTunnel):
                self.town.network.close_tunnel(self.number, effect.peer)
            elif isinstance(effect, OpenStream):
                self.open(effect)
        self.plan()

    def open(self, effect: OpenStream) -> None:
        def done(reply: bytes | None, why: str) -> None:
            now_s = self.town.heap.now_s
            if reply is None:
                self.do(self.core.on_stream_failed(effect.token, why, now_s))
            else:
                self.do(self.core.on_stream_reply(effect.token, reply, now_s))

        self.town.network.open_stream(self.number, effect.peer, effect.request, effect.timeout_s, done)

    def plan(self) -> None:
        self.town.heap.at(max(self.town.heap.now_s + 0.001, self.core.next_wakeup_s()), self.wake)

    def wake(self) -> None:
        if self.core.next_wakeup_s() <= self.town.heap.now_s:
            self.do(self.core.on_wakeup(self.town.heap.now_s))

    def knows(self, other: Dweller) -> bool:
        return other.core.me.node_id in {peer.node_id for peer in self.core.peers()}


class Town:
    """An open helper, and sites behind translators with one node each; from the end `shut_in` of them let no datagrams out."""

    def __init__(self, seed: int, sites: int, loss: float = 0.0, shut_in: int = 0) -> None:
        self.heap = Heap()
        self.dice = Dice(seed)
        self.network = Network(self.heap, self.dice, Trace(), Weather(loss=loss))
        self.helper = Dweller(self, 0, self.network.add_site(translated=False), ())
        self.nodes = [
            Dweller(
                self,
                number,
                self.network.add_site(translated=True, shut_in=number > sites - shut_in),
                (self.helper.address,),
            )
            for number in range(1, sites + 1)
        ]

    def run_until(self, end_s: float) -> None:
        self.heap.run_until(end_s)
