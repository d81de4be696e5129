"""Recovery by power: if one of these failed, a hung node would stay away, or a sound one lose its power."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from fruitd.power.document import PowerDocument
from fruitd.power.effects import KeepPower, Step, SwitchBay
from swarm.power import Beat, Place
from tests.fruitd.power.bench import LIMITS, ME, PLACES, A, B, C, Rig


def test_a_hung_node_is_noticed_cycled_and_beats_again() -> None:
    """A Pi that hangs in a field would wait for somebody with a car."""
    rig = Rig()
    rig.sweep()
    rig.hang(C)
    began_s = rig.now_s
    assert rig.sweep_until(Step.OFF) == PLACES[C]
    assert LIMITS.silent_s <= rig.now_s - began_s <= LIMITS.silent_s + 20
    assert rig.sweep_until(Step.ON) == PLACES[C]
    for _ in range(3):
        rig.revive(C)
        rig.sweep()
    assert rig.switched == [(PLACES[C], Step.OFF), (PLACES[C], Step.ON)]
    assert any("cat" in note and "power cycle 1 of 2" in note for note in rig.notes)
    assert any("cat" in note and "beats again" in note for note in rig.notes)


def test_what_is_done_is_durable_before_it_is_done() -> None:
    """A power cut between off and on would leave the bay dark for ever."""
    rig = Rig()
    rig.sweep()
    rig.hang(C)
    while not rig.switched:
        effects = rig.sweep()
    kinds = [type(effect) for effect in effects]
    assert kinds.index(KeepPower) < kinds.index(SwitchBay)
    again = Rig(PowerDocument.decode(rig.kept[-1]))
    again.hang(C)
    again.bay(PLACES[C], powered=False)
    assert again.sweep_until(Step.ON, at_most=3) == PLACES[C]


def test_tries_are_bounded_and_further_apart_each_time() -> None:
    """A Pi with a broken card would be power-cycled until its board wears out."""
    rig = Rig()
    rig.sweep()
    times = []
    for _ in range(400):
        rig.hang(C)
        rig.bay(PLACES[C], heartbeat=False)
        before = len(rig.switched)
        rig.sweep()
        times += [rig.now_s for _, step in rig.switched[before:] if step is Step.OFF]
    assert len(times) == LIMITS.tries_max
    assert times[1] - times[0] >= LIMITS.cool_down_s
    assert rig.shown(PLACES[C]).doing == "given up"
    rig.revive(C)
    rig.sweep()
    assert rig.shown(PLACES[C]).doing == ""


def test_both_bays_of_a_board_are_never_without_power_at_once() -> None:
    """Two Pis that back each other up would go down together."""
    rig = Rig()
    rig.sweep()
    rig.hang(A)
    rig.hang(B)
    dark = []
    for _ in range(40):
        rig.sweep(5.0)
        dark.append([place for place in (PLACES[A], PLACES[B]) if not rig.bays[place].powered])
        for node_id in (A, B):
            rig.bay(PLACES[node_id], heartbeat=False)
    assert max(map(len, dark)) == 1
    assert {place for places in dark for place in places} == {PLACES[A], PLACES[B]}


@pytest.mark.parametrize("told", [True, False])
def test_the_owners_own_bay_is_never_cycled(told: bool) -> None:
    """The node that has the bus would switch itself off, and nobody would switch it on again."""
    bays = {PLACES[C]: ME} if told else {}
    rig = Rig(beats=True, bays=bays)
    rig.fellows[ME] = rig.fellows.pop(C)
    rig.sweep()
    rig.bay(PLACES[C], heartbeat=False)
    if not told:
        rig.health(ME, place=None)
        rig.hang(A)  # where it sits itself is not known: it might be there
    for _ in range(60):
        rig.sweep()
    assert rig.switched == []


def test_no_power_is_taken_while_a_boot_environment_is_written() -> None:
    """The one moment in which a power cut has to be survived would be brought about by us."""
    rig = Rig()
    rig.sweep()
    rig.health(C, writing=True)
    rig.hang(C)
    for _ in range(20):
        rig.sweep()
    assert rig.switched == []
    assert any("boot environment" in note for note in rig.notes)
    rig.health(C, writing=False)
    assert rig.sweep_until(Step.OFF) == PLACES[C]


def test_a_node_that_is_heard_and_beats_keeps_its_power() -> None:
    """A broken wire, or a wrong list of who sits where, would cost a sound node its power again and again."""
    rig = Rig()
    rig.sweep()
    rig.bay(PLACES[C], heartbeat=False)
    for _ in range(60):
        rig.sweep()
    assert rig.switched == []
    assert "its node is heard" in rig.shown(PLACES[C]).why


def test_a_node_that_came_up_for_a_moment_and_hung_again_is_cycled() -> None:
    """It was heard while its bay was silent, and would be taken for alive for ever. Found in the world, seed 138."""
    rig = Rig()
    rig.sweep()
    rig.hang(C)
    for _ in range(4):
        rig.sweep()
    heard_s = rig.now_s
    for _ in range(60):
        rig.fellows[C] = evolve(rig.fellows[C], heard_s_ago=rig.now_s + 10.0 - heard_s)
        rig.sweep()
    assert rig.switched[0] == (PLACES[C], Step.OFF)


def test_an_unwell_node_that_is_heard_is_cycled() -> None:
    """A daemon that knows that its machine is sick would keep it from being helped."""
    rig = Rig()
    rig.sweep()
    rig.health(C, beat=Beat.SILENT, well=False)
    rig.bay(PLACES[C], heartbeat=False)
    assert rig.sweep_until(Step.OFF) == PLACES[C]


def test_a_bay_whose_node_is_not_known_is_left_alone() -> None:
    """Nobody could know what is being written there."""
    rig = Rig()
    rig.sweep()
    rig.health(C, place=None)
    rig.bay(PLACES[C], heartbeat=False)
    for _ in range(30):
        rig.sweep()
    assert rig.switched == []


def test_what_was_not_read_means_nothing() -> None:
    """Noise on the bus would take a node's power."""
    rig = Rig()
    rig.sweep()
    for number in range(60):
        rig.bay(PLACES[C], heartbeat=False if number % 7 == 0 else None if number % 7 < 6 else True)
        rig.sweep()
    assert rig.switched == []


def test_a_bay_that_could_not_be_read_again_is_not_cycled_for_what_was_read_before() -> None:
    """A node that came back while the bus was noisy would lose its power for a heartbeat it had lost before."""
    rig = Rig()
    rig.sweep()
    rig.hang(C)
    rig.sweep()
    rig.sweep()
    rig.bay(PLACES[C], heartbeat=None)
    for _ in range(30):
        rig.sweep()
    assert rig.switched == []
    rig.bay(PLACES[C], heartbeat=False)
    assert rig.sweep_until(Step.OFF, at_most=1) == PLACES[C]


def test_switched_off_for_good_without_a_configured_policy() -> None:
    """An owner who wants no power cycles would get them."""
    rig = Rig(recovery=None)
    rig.sweep()
    rig.hang(C)
    for _ in range(60):
        rig.sweep()
    assert rig.switched == []


def test_random_lives_keep_the_rules() -> None:
    """Some order of hangs, noise and returns would break one of them."""
    for seed in range(30):
        rng = random.Random(seed)
        rig = Rig()
        rig.sweep()
        for _ in range(150):
            node_id = rng.choice((A, B, C))
            place = PLACES[node_id]
            match rng.randrange(4):
                case 0:
                    rig.hang(node_id)
                case 1 if rig.bays[place].powered:
                    rig.revive(node_id)
                case 2:
                    rig.bay(place, heartbeat=None)
            rig.sweep(rng.choice((2.0, 10.0, 40.0)))
            assert rig.bays[Place(0, 0)].powered or rig.bays[Place(0, 1)].powered
        for _ in range(400):
            for node_id in (A, B, C):
                if rig.bays[PLACES[node_id]].powered:
                    rig.revive(node_id)
            rig.sweep()
        assert all(bay.powered for bay in rig.bays.values()), seed
