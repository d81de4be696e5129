"""The node with the bus: who sits where, operators' commands, supplies and what it tells others."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.errors import RefusedError
from fruitd.power.document import EVENTS_MAX, PowerDocument
from fruitd.power.effects import Say, Step
from swarm.power import BayPower, Beat, PauseAsked
from swarm.switching import Action
from tests.fruitd.power.bench import PLACES, STACK, A, B, C, Rig, figures

HERE = PLACES[C]


@pytest.mark.parametrize(
    ("action", "steps"),
    [(Action.OFF, [Step.OFF]), (Action.CYCLE, [Step.OFF, Step.ON]), (Action.ON, [Step.ON])],
)
def test_an_operators_command_is_carried_out_once(action: Action, steps: list[Step]) -> None:
    """`fruit stack off` would do nothing, or be done again and again."""
    rig = Rig()
    rig.sweep()
    rig.command(action, HERE, sequence=5)
    for _ in range(10):
        rig.sweep()
        rig.command(action, HERE, sequence=5)
    assert [step for _, step in rig.switched] == steps
    assert rig.shown(HERE).done == 5
    assert any("by olga: because" in note for note in rig.notes)
    again = Rig(PowerDocument.decode(rig.kept[-1]))
    again.bay(HERE, powered=action is not Action.OFF)
    again.sweep()
    again.command(action, HERE, sequence=5)
    for _ in range(10):
        again.sweep()
    assert again.switched == []


def test_what_an_operator_switched_off_stays_off() -> None:
    """A node under somebody's screwdriver would be switched on by its neighbour."""
    rig = Rig()
    rig.sweep()
    rig.command(Action.OFF, HERE)
    for _ in range(100):
        rig.sweep()
    assert rig.switched == [(HERE, Step.OFF)]
    assert rig.shown(HERE).doing == "off"


def test_a_pi_that_does_not_shut_down_loses_its_power_all_the_same() -> None:
    """An "off" that a hung Pi does not hear would do nothing."""
    rig = Rig()
    rig.sweep()
    rig.command(Action.OFF, HERE)
    rig.sweep()
    rig.bay(HERE, powered=True)
    assert rig.sweep_until(Step.CUT) == HERE


@pytest.mark.parametrize(
    ("why", "changes", "settings"),
    [
        ("has expired", {"expires_at_s": 1}, {}),
        ("another node sits there", {"node_id": A}, {}),
        ("the bay of the node that has the bus", {}, {"bays": {HERE: b"m" * 20}, "beats": True}),
    ],
)
def test_commands_that_must_not_be_carried_out(
    why: str, changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Power would be taken late, from somebody else, or from the node that would have to give it back."""
    rig = Rig(**settings)
    rig.sweep()
    rig.command(Action.OFF, HERE, sequence=3, **changes)
    rig.sweep()
    assert rig.switched == []
    assert any(why in note and "not done" in note for note in rig.notes)
    assert rig.shown(HERE).done == 3
    assert rig.shown(HERE).why.startswith("not done")


def test_a_command_waits_while_the_other_bay_is_switched_or_a_boot_environment_written() -> None:
    """Both Pis of a board would be dark, or a boot environment cut short, by an operator who could not know."""
    rig = Rig()
    rig.sweep()
    rig.command(Action.CYCLE, PLACES[A])
    rig.command(Action.CYCLE, PLACES[B])
    rig.health(C, writing=True)
    rig.command(Action.OFF, HERE)
    rig.sweep()
    assert rig.switched == [(PLACES[A], Step.OFF)]
    rig.health(C, writing=False)
    rig.sweep()
    assert (HERE, Step.OFF) in rig.switched


def test_commands_for_other_stacks_are_others_business() -> None:
    """One "off" would be carried out in every rack."""
    rig = Rig()
    rig.sweep()
    rig.command(Action.OFF, HERE, stack="elsewhere")
    rig.sweep()
    assert rig.switched == []
    assert rig.shown(HERE).done == 0


def test_another_owner_goes_on_where_the_first_left_off() -> None:
    """A bay would stay dark because the node that was cycling it died, or an old command be carried out again."""
    first = Rig()
    first.sweep()
    first.command(Action.CYCLE, HERE, sequence=9)
    first.health(A, wish=7)
    first.sweep()
    second = Rig()
    second.owner.adopt(first.owner.bays(first.now_s), second.now_s)
    second.bay(HERE, powered=False, heartbeat=False)
    second.health(A, wish=7)
    second.health(B, wish=8)
    assert second.sweep_until(Step.ON, at_most=3) == HERE
    second.command(Action.CYCLE, HERE, sequence=9)
    second.sweep()
    assert [step for _, step in second.switched] == [Step.ON]
    assert second.shown(PLACES[B]).turn == 0


def test_an_owner_that_gets_the_bus_back_gives_no_turn_that_it_gave_before() -> None:
    """Both Pis of a board would update at once. Found in the world, seed 45."""
    first = Rig()
    first.health(A, wish=7)
    first.sweep()
    second = Rig()
    second.health(B, wish=8)
    second.sweep()
    again = Rig(PowerDocument.decode(first.kept[-1]))
    again.owner.adopt(second.owner.bays(second.now_s), again.now_s)
    again.health(A, wish=9)
    again.health(B, wish=8)
    again.sweep()
    assert (again.shown(PLACES[A]).turn, again.shown(PLACES[B]).turn) == (0, 8)


def test_another_owner_knows_what_the_first_has_learned() -> None:
    """The first one hangs: it says no more where it sits, and nobody could bring it back."""
    first = Rig()
    first.health(C, place=None)
    _learn(first, C, falls=C)
    second = Rig()
    second.health(C, place=None)
    second.owner.adopt(first.owner.bays(first.now_s), second.now_s)
    second.sweep()
    assert (second.shown(HERE).node_id, second.shown(HERE).known_by) == (C, "learned")
    second.hang(C)
    assert second.sweep_until(Step.OFF) == HERE


def _pause(rig: Rig, node_id: bytes) -> PauseAsked:
    for _ in range(5):
        asked = [e.said for e in rig.sweep() if isinstance(e, Say) and isinstance(e.said, PauseAsked)]
        if asked:
            assert asked[0].node_id == node_id
            return asked[0]
    raise AssertionError("nobody was asked")


def _learn(rig: Rig, node_id: bytes, *, falls: bytes, acknowledged: bool = True) -> None:
    """The node is asked to pause, and some node's bay falls silent."""
    asked = _pause(rig, node_id)
    if acknowledged:
        rig.health(node_id, beat=Beat.PAUSED)
    rig.bay(PLACES[falls], heartbeat=False)
    for _ in range(asked.for_s // 10 + 1):
        rig.sweep()
    rig.bay(PLACES[falls], heartbeat=True)
    rig.health(node_id, beat=Beat.BEATING)
    for _ in range(10):
        rig.sweep()


def test_who_sits_where_is_learned_from_a_heart_that_pauses() -> None:
    """Somebody would have to write every bay's place onto its card."""
    rig = Rig()
    rig.health(C, place=None)
    _learn(rig, C, falls=C)
    power = rig.shown(HERE)
    assert (power.node_id, power.known_by) == (C, "learned")
    assert PowerDocument.decode(rig.kept[-1]).learned == {HERE: C}
    assert rig.switched == []


def test_a_bay_that_falls_silent_for_reasons_of_its_own_is_not_taken_for_somebodys() -> None:
    """The wrong node would be power-cycled from then on."""
    rig = Rig()
    rig.health(C, place=None)
    _learn(rig, C, falls=C, acknowledged=False)
    assert rig.shown(HERE).node_id == b""
    assert any("did not say that it paused" in note for note in rig.notes)


def test_what_speaks_against_something_known_is_looked_at_twice() -> None:
    """One coincidence would move a node in the list."""
    rig = Rig()
    rig.health(C, place=None)
    _learn(rig, C, falls=C)
    rig.owner.learn([C])
    _learn(rig, C, falls=A)
    assert (rig.shown(HERE).node_id, rig.shown(PLACES[A]).node_id) == (C, A)
    rig.owner.learn([C])
    _learn(rig, C, falls=A)
    assert rig.shown(PLACES[A]).node_id == C
    assert any("and not ada as was thought" in note for note in rig.notes)


def test_a_list_that_is_not_true_any_more_is_noticed() -> None:
    """A card that was moved to another bay would be power-cycled for its neighbour's sake."""
    rig = Rig()
    rig.sweep()
    rig.command(Action.OFF, HERE)
    for _ in range(30):
        rig.sweep()
    assert "is heard although this bay has no power" in rig.shown(HERE).why
    assert rig.shown(HERE).known_by == "in doubt"


def test_two_that_claim_one_bay_are_both_left_alone() -> None:
    """A liar could have another's bay switched, or protect it."""
    rig = Rig()
    rig.health(A, place=HERE)
    rig.sweep()
    assert (rig.shown(HERE).node_id, rig.shown(HERE).known_by) == (b"", "in doubt")


def test_a_failing_supply_is_told() -> None:
    """Updates would go on until the voltage breaks down in the middle of one."""
    rig = Rig(input_v_min=11.0)
    rig.bay(HERE, figures=figures(bay_v=4.4))
    rig.bay(PLACES[A], figures=figures(input_v=10.2))
    rig.sweep()
    assert "4.40 V" in rig.shown(HERE).supply_why
    assert "10.2 V" in rig.shown(PLACES[A]).supply_why
    assert rig.shown(PLACES[B]).supply_why == ""


def test_an_unchanged_stack_says_little() -> None:
    """Every sweep of every bay would go to every node of the swarm."""
    rig = Rig()
    rig.sweep()
    said = [e for _ in range(100) for e in rig.sweep(15.0) if isinstance(e, Say)]
    assert said == []
    rig.bay(HERE, figures=figures(bay_w=3.5))
    assert any(isinstance(e, Say) for _ in range(3) for e in rig.sweep(150.0))


def test_the_history_is_bounded_and_what_is_kept_is_read_as_it_was_kept() -> None:
    """A bay that flaps for a year would fill the disk."""
    rig = Rig()
    rig.sweep()
    for sequence in range(1, 2 * EVENTS_MAX):
        rig.command(Action.ON, HERE, sequence=sequence)
        rig.sweep(100.0)
    assert len(rig.owner.events) == EVENTS_MAX
    document = PowerDocument.decode(rig.kept[-1])
    assert document.encode() == rig.kept[-1]
    assert document.done == {HERE: 2 * EVENTS_MAX - 1}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_what_was_not_kept_by_us_is_refused(data: bytes) -> None:
    """A damaged disk would end the daemon."""
    with pytest.raises(RefusedError):
        PowerDocument.decode(data)


def test_the_bench_shows_what_is_said() -> None:
    """The tests above would look at something else than other nodes do."""
    rig = Rig()
    effects = rig.sweep()
    said = {e.said.place: e.said for e in effects if isinstance(e, Say) and isinstance(e.said, BayPower)}
    assert [evolve(power, at_s=0) for power in rig.owner.bays(rig.now_s)] == [
        evolve(said[place], at_s=0) for place in sorted(said)
    ]
    assert {power.stack for power in said.values()} == {STACK}
