"""Another master on the bus: two nodes would act on one stack, or one stand still for nothing, and nobody know why."""

from __future__ import annotations

from typing import Any

import pytest

from fruitd.power.bus_watch import GRACE_S, BusWatch
from fruitd.power.effects import Step, SwitchBay, Tell
from fruitd.power.seen import BaySeen
from fruitd.power.turns import Turns
from swarm.power import BayPower, NodeHealth, Place, said_record
from swarm.switching import Action
from tests.fruitd.power.bench import PLACES, STACK, WALL_S, A, B, C, Rig
from tests.fruitd.power.test_part import HIGH, LOW, NODE, Node

QUIET_S = 120.0
HERE = PLACES[C]


class Shared(Rig):
    """Another master is heard in every sweep while `other`."""

    other = False

    def sweep(self, passed_s: float = 10.0) -> list[Any]:
        if self.other:
            self.owner.bus.swept(self.now_s + passed_s, self.now_s + passed_s)
        return super().sweep(passed_s)


def test_no_turn_is_given_while_another_master_is_heard_nor_taken_away() -> None:
    """Each of two owners would give a turn to one of the two Pis of a board."""
    rig = Shared()
    rig.health(A, wish=7)
    rig.sweep()
    rig.other = True
    rig.health(B, wish=8)
    rig.health(C, wish=9)
    rig.sweep()
    assert [rig.shown(PLACES[n]).turn for n in (A, B, C)] == [7, 0, 0]
    rig.owner.heard(rig.fellows, rig.now_s + 1, rig.wall_s + 1)
    assert rig.shown(HERE).turn == 0
    rig.health(A, wish=0)
    rig.sweep()
    assert [rig.shown(PLACES[n]).turn for n in (A, B, C)] == [0, 0, 0]
    rig.other = False
    for _ in range(int(QUIET_S / 10) - 1):
        rig.sweep()
        assert rig.shown(HERE).turn == 0
    rig.sweep()
    assert [rig.shown(PLACES[n]).turn for n in (A, B, C)] == [0, 8, 9]


def test_a_number_that_was_not_granted_is_not_granted_by_the_way() -> None:
    """A turn that was given before would let its node begin anew, while the other owner gives one to its mate."""
    turns = Turns()
    turns.step({A: 1}, PLACES.get, 0.0)
    turns.step({A: 2, B: 5}, PLACES.get, 1.0, give=False)
    assert (turns.of(A), turns.of(B)) == (1, 0)
    turns.step({A: 2, B: 5}, PLACES.get, 1e6, give=False)
    assert turns.of(A) == 1


def test_a_silent_bay_is_not_cycled_and_says_why() -> None:
    """Two owners would cut each other's cycles short, one in each bay of a board."""
    rig = Shared()
    rig.sweep()
    rig.other = True
    rig.hang(C)
    for _ in range(30):
        rig.sweep()
    assert rig.switched == []
    assert "not cycled: another master asks" in rig.shown(HERE).why
    assert sum("not cycled: another master" in note for note in rig.notes) == 1
    rig.other = False
    assert rig.sweep_until(Step.OFF) == HERE


def test_a_cycle_that_is_under_way_ends_with_power() -> None:
    """A bay would stay dark because somebody looked at its board with a program of his own."""
    rig = Shared()
    rig.sweep()
    rig.hang(C)
    rig.sweep_until(Step.OFF)
    rig.other = True
    assert rig.sweep_until(Step.ON) == HERE


def test_an_operators_command_waits_says_why_and_expires() -> None:
    """What two masters do to a bay would depend on who is later; or a command be gone without a word."""
    rig = Shared()
    rig.sweep()
    rig.other = True
    rig.command(Action.OFF, HERE, sequence=3)
    for _ in range(5):
        rig.sweep()
    assert rig.switched == []
    assert rig.shown(HERE).why == "off waits: another master asks the boards of this bus"
    rig.hang(C)  # so that there are two things to say of this bay
    for _ in range(60):
        rig.sweep()
    assert [sum(words in note for note in rig.notes) for words in ("off waits", "not cycled")] == [1, 1]
    assert rig.shown(HERE).done == 3
    assert any("not done: it has expired: another master asks" in note for note in rig.notes)
    rig.revive(C)
    rig.other = False
    rig.command(Action.OFF, PLACES[A], sequence=4)
    for _ in range(int(QUIET_S / 10) + 1):
        rig.sweep()
    assert rig.switched == [(PLACES[A], Step.OFF)]


def test_a_hand_over_is_no_trouble_and_two_masters_are() -> None:
    """People would be called for what passes by itself, or not for what does not."""
    watch = BusWatch(QUIET_S, 0.0)
    for now_s in (10.0, 40.0, 10 + GRACE_S - 1):
        watch.swept(now_s, now_s)
        assert watch.why(now_s)
        assert watch.trouble(now_s) == ""
    watch.swept(10 + GRACE_S, 10 + GRACE_S)
    assert "look for another program on the bus" in watch.trouble(10 + GRACE_S)
    watch.unheard = ("ada", "bob")
    assert "not heard in the swarm: ada, bob" in watch.trouble(10 + GRACE_S)
    told = [e.why for now_s in (100.0, 150.0, 300.0, 310.0) for e in watch.news(now_s) if isinstance(e, Tell)]
    assert ["another master" in why for why in told] == [True, False]
    watch.swept(10 + GRACE_S, 310.0)  # the same as before: it is not heard again
    assert watch.why(310.0) == ""


def test_words_of_trouble_fit_the_history() -> None:
    """The end of the sentence, which says what to do, would be cut off."""
    watch = BusWatch(QUIET_S, 0.0)
    for now_s in (1.0, 100.0):
        watch.swept(now_s, now_s)
    watch.unheard = tuple("0123abcd" for _ in range(5))
    assert len(watch.trouble(100.0)) <= 200


def part() -> Node:
    """One whose bus another may have, with a node in its first bay that wants to update."""
    node = Node(HIGH)
    wishes = said_record(NodeHealth(0, STACK, Place(0, 0), wish=5), NODE, WALL_S)
    list(node.part.heard(wishes, 1.0, WALL_S))
    return node


def _turn(node: Node) -> int:
    assert node.part.owner is not None
    return node.part.owner.turns.of(NODE.node_id)


@pytest.mark.parametrize(("heard", "given"), [(False, False), (True, True)])
def test_whoever_takes_a_bus_listens_first_unless_the_other_says_that_it_has_it_not(
    heard: bool, given: bool
) -> None:
    """The first sweep after a take-over would give a turn, before the one that still has the bus was heard on it."""
    node = part()
    bays = [BaySeen(Place(0, 0), True, True, True)]
    for now_s in range(200, 320, 10):
        if heard:
            node.hears(LOW, float(now_s), owns=False)
        list(node.part.swept(bays, float(now_s), WALL_S + now_s))
        assert bool(_turn(node)) is given, now_s
    list(node.part.swept(bays, 320.0, WALL_S + 320))
    assert _turn(node) == 5


def test_who_has_the_bus_says_what_is_wrong_with_it() -> None:
    """`fruit stack show` would show a sound stack on which nothing happens."""
    node = part()
    for now_s in range(200, 400, 10):
        list(node.part.swept([], float(now_s), WALL_S + now_s, 1.0))
    assert f"not heard in the swarm: {LOW.node_id.hex()[:8]}" in node.part.trouble
    assert node.part.owner is not None
    assert [why for _, why in node.part.owner.events] == [node.part.trouble]


def test_a_turn_that_the_other_owner_gave_counts_when_it_is_heard_again() -> None:
    """The one that keeps the bus would give the mate a turn while the other's grant is being used."""
    for wish, turns in ((7, (0, 7)), (9, (8, 0))):
        rig = Rig()
        rig.health(A, wish=8)
        rig.health(B, wish=wish)
        rig.owner.beside(BayPower(0, STACK, PLACES[B], node_id=B, turn=7))
        rig.sweep()
        assert (rig.shown(PLACES[A]).turn, rig.shown(PLACES[B]).turn) == turns


def test_what_the_other_owner_has_done_is_not_done_again() -> None:
    """A bay would be cycled twice for one command."""
    rig = Shared()
    rig.sweep()
    rig.other = True
    rig.command(Action.CYCLE, HERE, sequence=5)
    rig.sweep()
    rig.owner.beside(BayPower(0, STACK, HERE, node_id=C, done=5))
    rig.other = False
    for _ in range(20):
        rig.sweep()
    assert rig.switched == []


def test_what_another_began_is_left_to_it_until_it_is_gone() -> None:
    """Whoever takes the bus would cut the power of a bay that the other is bringing up."""
    first = Rig()
    first.hang(C)
    first.sweep_until(Step.OFF)
    second = Shared()
    second.hang(C)
    second.other = True
    second.owner.adopt(first.owner.bays(first.now_s), second.now_s)
    for _ in range(30):
        effects = second.sweep()
        assert not [e for e in effects if isinstance(e, SwitchBay)]
    second.other = False
    assert second.sweep_until(Step.CUT) == HERE
