"""A bus that several nodes share: if it failed, two masters would talk at once, nobody look after it, or an old word count."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from fruitd.power.effects import KeepEnergy, PowerEffect, SwitchBay
from fruitd.power.energy import Account, decode
from fruitd.power.part import LISTEN_S, TAKEOVER_S, PowerPart, Surroundings
from fruitd.power.seen import BaySeen
from fruitd.power.settings import PowerSettings
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.power import BayPower, Beat, NodeHealth, Place, said_record
from swarm.trust.keys import SecretKey
from tests.fruitd.power.bench import STACK, WALL_S, figures

LOW, HIGH = sorted((SecretKey(bytes([n]) * 32, "node") for n in (1, 2)), key=lambda key: key.node_id)
NODE = SecretKey(bytes(32), "node")
OWNERS = frozenset({LOW.node_id, HIGH.node_id})


class Node:
    """A part, and when it heard which other node."""

    def __init__(
        self,
        key: SecretKey,
        *,
        has_port: bool = True,
        owners: frozenset[bytes] = OWNERS,
        beats: bool = False,
        held: Iterable[Record] = (),
    ) -> None:
        self.heard_s: dict[bytes, float] = {}
        around = Surroundings(lambda: dict(self.heard_s), lambda _: "", lambda _: "")
        settings = PowerSettings(stack=STACK, has_port=has_port, owners=owners, beats=beats)
        store = RecordStore(lambda _: None)
        for record in held:
            store.offer(record)
        self.part = PowerPart(settings, key.node_id, store, around, random.Random(1), 0.0)

    def hears(self, other: SecretKey, now_s: float, *, owns: bool) -> None:
        self.heard_s[other.node_id] = now_s
        said = NodeHealth(int(WALL_S + now_s), STACK, owns=owns)
        list(self.part.heard(said_record(said, other, WALL_S + now_s), now_s, WALL_S + now_s))


def test_a_node_with_a_bus_of_its_own_has_it_at_once_and_one_without_a_port_never() -> None:
    """No stack would ever be looked after; or a node without a device complain for ever."""
    assert Node(LOW, owners=frozenset()).part.may_have_bus(0.0)
    assert not Node(LOW, has_port=False).part.may_have_bus(10 * TAKEOVER_S)


def test_the_bus_of_a_node_that_falls_silent_is_taken_by_another() -> None:
    """The board whose owner hangs would be watched by nobody, and its nodes hang for ever."""
    node = Node(HIGH)
    for now_s in range(0, 1000, 10):
        node.hears(LOW, float(now_s), owns=True)
        assert not node.part.may_have_bus(float(now_s))
    assert not node.part.may_have_bus(990.0 + TAKEOVER_S - 1)
    assert node.part.may_have_bus(990.0 + TAKEOVER_S)


def test_whoever_starts_again_does_not_take_the_bus_before_it_could_hear_who_has_it() -> None:
    """Two masters would talk at once after each restart. Found in the world, seed 31."""
    says = said_record(NodeHealth(int(WALL_S), STACK, owns=True), LOW, WALL_S)
    for held in ([], [says]):
        node = Node(HIGH, held=held)
        assert not node.part.may_have_bus(0.0)
        assert not node.part.may_have_bus(TAKEOVER_S - 1)
        assert node.part.may_have_bus(TAKEOVER_S)
    says = said_record(NodeHealth(int(WALL_S), STACK, owns=True), HIGH, WALL_S)
    assert not Node(LOW, held=[says]).part.may_have_bus(0.0)
    assert not Node(LOW).part.may_have_bus(LISTEN_S - 1)  # it may not have heard yet
    assert Node(LOW).part.may_have_bus(LISTEN_S)


def test_who_has_the_bus_keeps_it_when_the_other_comes_back() -> None:
    """The bus would change hands at each restart, in the middle of a power cycle."""
    taken, back = Node(HIGH), Node(LOW)
    list(taken.part.swept([], 300.0, WALL_S))
    taken.hears(LOW, 310.0, owns=False)
    assert taken.part.may_have_bus(310.0)
    back.hears(HIGH, 310.0, owns=True)
    assert not back.part.may_have_bus(310.0)


def test_of_two_that_have_the_bus_the_higher_id_lets_go() -> None:
    """Two masters would talk at once until somebody came by: after both started, or when a cut of the network ends."""
    low, high = Node(LOW), Node(HIGH)
    for node, other in ((low, HIGH), (high, LOW)):
        list(node.part.swept([], 300.0, WALL_S))
        node.hears(other, 310.0, owns=True)
    assert low.part.may_have_bus(310.0)
    assert not high.part.may_have_bus(310.0)
    high.part.bus_lost("", 310.0)
    assert not high.part.own.owns
    assert high.part.owner is None


def test_at_the_start_the_lower_id_goes_first() -> None:
    """Both would begin at once, and answers of the boards collide."""
    low, high = Node(LOW), Node(HIGH)
    low.hears(HIGH, 5.0, owns=False)
    high.hears(LOW, 5.0, owns=False)
    assert low.part.may_have_bus(LISTEN_S)
    assert not high.part.may_have_bus(LISTEN_S)


def said(by: SecretKey, at_s: float, **changes: Any) -> Record:
    """What one that has the bus says of bay 0:0."""
    power = BayPower(int(WALL_S + at_s), STACK, Place(0, 0), node_id=NODE.node_id, powered=True, **changes)
    return said_record(power, by, WALL_S + at_s)


def test_what_another_owner_said_before_holds_nothing_back() -> None:
    """A node would wait hours for a supply that is mended: its first owner hangs. Found in the world, seed 31."""
    node = Node(NODE, has_port=False, beats=True)
    list(node.part.heard(said(LOW, 10.0, supply_why="the bay gets 4.41 V"), 10.0, WALL_S + 10))
    assert "4.41 V" in str(node.part.own.hold_back)
    list(node.part.heard(said(HIGH, 300.0), 300.0, WALL_S + 300))
    list(node.part.on_time(400.0, WALL_S + 400))
    assert "4.41 V" not in str(node.part.own.hold_back)


def test_an_owner_that_starts_again_does_not_go_on_with_what_another_did_long_ago() -> None:
    """A sound bay would lose its power because of a power cycle that ended well, hours before."""
    old, own = said(HIGH, 100.0, doing="turning off"), said(LOW, 5000.0)
    for held, heartbeat, goes_on in (([old], None, True), ([old], True, False), ([old, own], None, False)):
        node = Node(LOW, held=held)
        switched = []
        for now_s in range(0, 300, 10):
            bays = [BaySeen(Place(0, 0), True, True, heartbeat)]
            effects = node.part.swept(bays, float(now_s), WALL_S + 6000 + now_s)
            switched += [effect for effect in effects if isinstance(effect, SwitchBay)]
        assert bool(switched) is goes_on


def test_what_was_on_disk_at_the_start_is_known_for_that() -> None:
    """As `test_a_word_of_before_the_owners_restart_ends_no_turn`."""
    before = said_record(NodeHealth(int(WALL_S), STACK), NODE, WALL_S)
    node = Node(LOW, held=[before])
    assert node.part._fellows(1.0)[NODE.node_id].of_before
    node.hears(NODE, 2.0, owns=False)
    assert not node.part._fellows(3.0)[NODE.node_id].of_before


def test_what_updates_draw_is_kept_now_and_then_and_let_go_when_they_are_over() -> None:
    """A power cut at the node with the bus would take all of it; a card be written at every sweep; or an update that is over be
    counted with the next."""
    node = Node(LOW, owners=frozenset())
    bays = [BaySeen(Place(0, 0), True, True, True, figures())]
    kept: list[dict[bytes, Account]] = []

    def note(effects: Iterable[PowerEffect]) -> None:
        kept.extend(decode(effect.document) for effect in effects if isinstance(effect, KeepEnergy))

    for now_s, wish in ((0.0, 7), (700.0, 0)):
        health = NodeHealth(int(WALL_S + now_s), STACK, Place(0, 0), Beat.BEATING, wish=wish)
        note(node.part.heard(said_record(health, NODE, WALL_S + now_s), now_s, WALL_S + now_s))
        for passed_s in range(0, 700, 10):
            at_s = now_s + passed_s
            note(node.part.swept(bays, at_s, WALL_S + at_s))
    assert [account[NODE.node_id].meter.joules for account in kept[:-1]] == [600.0, 1200.0]  # 2 W
    assert kept[-1] == {}
