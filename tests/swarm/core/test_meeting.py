"""Nodes behind translators are brought together by a peer that both know."""

from __future__ import annotations

import random

import pytest

from simulations.world.heap import Dice, Heap
from simulations.world.network import MAPPING_S, Network, Weather
from simulations.world.trace import Trace
from swarm.address import Address
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.discovery.meeting import ANSWER_GAP_S, INTRODUCED_MAX, Go, Matchmaker, Meet
from swarm.effects import OpenStream, SendDatagram, SwarmEffect
from swarm.news.store import RecordStore
from tests.swarm.core.village import KEYRING, PORT, manifest, node_id, verdict


class Dweller:
    """A swarm core on the world's network."""

    def __init__(self, town: Town, number: int, site: int, contacts: tuple[Address, ...]) -> None:
        self.town = town
        self.number = number
        self.address = town.network.attach(number, site, PORT, self)
        self.store = RecordStore(verdict)
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

    def do(self, effects: list[SwarmEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendDatagram):
                self.town.network.send(self.number, effect.destination, effect.data)
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
    """An open helper, and sites behind translators with one node each."""

    def __init__(self, seed: int, sites: int, loss: float) -> None:
        self.heap = Heap()
        dice = Dice(seed)
        self.network = Network(self.heap, dice, Trace(), Weather(loss=loss))
        self.helper = Dweller(self, 0, self.network.add_site(translated=False), ())
        self.nodes = [
            Dweller(self, n, self.network.add_site(translated=True), (self.helper.address,))
            for n in range(1, sites + 1)
        ]

    def run_until(self, end_s: float) -> None:
        self.heap.run_until(end_s)


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_nodes_behind_translators_meet_by_a_peer_that_knows_both(loss: float) -> None:
    """Each site would know the helper alone, and all news and all knowledge of who holds what would hang on it."""
    for seed in range(3):
        town = Town(seed, 4, loss)
        town.run_until(60.0)
        assert all(a.knows(b) for a in town.nodes for b in town.nodes if a is not b)


def test_news_passes_between_them_when_the_helper_is_gone() -> None:
    """The helper would be somebody in charge."""
    town = Town(1, 3, 0.0)
    town.run_until(60.0)
    town.network.set_sides({0: (9,)})
    first = town.nodes[0]
    first.do(first.core.publish(manifest(7), town.heap.now_s))
    town.run_until(65.0)
    held = [node.store.get("manifest", b"stable") for node in town.nodes]
    assert all(entry is not None and entry.sequence == 7 for entry in held)


def test_nobody_is_brought_together_for_a_stranger() -> None:
    """Somebody with a made-up source would have eight nodes knock at a victim."""
    town = Town(1, 3, 0.0)
    town.run_until(30.0)
    helper, victim = town.helper, Address("203.0.113.9", 4)
    sealed = helper.core.say(Meet(), victim).data
    assert helper.core.on_datagram(sealed, victim, town.heap.now_s) == []
    told = helper.core.say(Go((victim,)), victim).data
    node = town.nodes[0]
    assert node.core.on_datagram(told, victim, town.heap.now_s) == []


def test_a_peer_that_asks_without_end_is_answered_once_in_a_while() -> None:
    """One node could have everybody knock at everybody all the time."""
    matchmaker = Matchmaker(random.Random(1))
    asker = Address("192.0.2.1", 1)
    others = [Address(f"198.51.100.{n}", 1) for n in range(30)] + [Address("192.0.2.1", 2)]
    told = matchmaker.introduce(asker, others, 0.0)
    assert told[0] == (asker, Go(tuple(whom for whom, _ in told[1:])))
    assert len(told) == 1 + INTRODUCED_MAX
    assert all(go == Go((asker,)) for _, go in told[1:])
    assert all(whom.host != asker.host for whom, _ in told[1:])
    assert matchmaker.introduce(asker, others, ANSWER_GAP_S / 2) == []
    assert matchmaker.introduce(asker, others, ANSWER_GAP_S * 1.5)
    assert MAPPING_S > ANSWER_GAP_S
