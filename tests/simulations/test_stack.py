"""Boards in the world: a node that hangs for good is noticed, power-cycled and back in its old slot, whatever else goes wrong.

A short form; `FRUIT_STACK_RUNS=200 pytest tests/simulations/test_stack.py` is the long one, a second and a half for each run.
"""

from __future__ import annotations

import os

import pytest
from attrs import evolve

from fruitd.updater.journal import Journal, State
from simulations.world.checker import SOUND_S, Rule
from simulations.world.images import Behaviour
from simulations.world.scenario import BUILT_IN, ReleasePlan, random_stack_scenario
from simulations.world.stack import stack_places
from simulations.world.world import World
from swarm.power import Place
from swarm.switching import Action

pytestmark = pytest.mark.world
RUNS = int(os.environ.get("FRUIT_STACK_RUNS", "12"))
AT_ONCE = 4
ONCE_FAILED = (97, 138)
"""Nodes that came up for a moment between two hangs were taken for alive from then on. They failed without the faults below."""
ONCE_FAILED_SINCE = (31, 35, 45, 56, 67, 116, 135)
"""The last word of an owner that had hung, about a supply that was mended since, held every update back; nodes that started took
the bus before they could hear who had it, forgot who sits where, and gave a second turn; a bay was cycled while an operator had
the other switched off; the end of an update could not be written down on a full disk, and its turn was given back all the same;
a cycle was resumed after a blackout though the node beat again; an owner that got the bus back held a bay off that another had
switched on."""
QUIET = evolve(BUILT_IN["stack"], releases=(ReleasePlan(30.0),), faults_s=500.0)
"""Nothing hangs."""


@pytest.mark.parametrize("first", range(0, RUNS, AT_ONCE))
def test_random_stacks_recover_every_time(first: int) -> None:
    """A rack in the field would meet this order of events some day, and stay dark."""
    wrong = []
    for seed in range(first, min(first + AT_ONCE, RUNS)):
        world = World(random_stack_scenario(seed), seed)
        report = world.run()
        wrong += [f"seed {seed}: {words}" for words in (*report.violations, *report.unsettled)]
    assert wrong == []


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_failed_once_stays_mended(seed: int) -> None:
    """A bug that was found would come back."""
    scenario = evolve(
        random_stack_scenario(seed), stack_owners=1, stack_owner_hangs=0, stack_brown_outs=0, stack_orders=0
    )
    report = World(scenario, seed).run()
    assert (report.violations, report.unsettled) == ((), ())


@pytest.mark.parametrize("seed", ONCE_FAILED_SINCE)
def test_what_failed_once_with_all_faults_stays_mended(seed: int) -> None:
    """The same."""
    report = World(random_stack_scenario(seed), seed).run()
    assert (report.violations, report.unsettled) == ((), ())


def test_a_brown_out_takes_nodes_down_and_they_come_back() -> None:
    """The runs above would prove nothing, because no supply fails in them."""
    world = World(QUIET, 1)
    assert world.stack is not None
    for at_s, volts in ((150.0, 5.4), (220.0, 0.0)):
        world.heap.at(at_s, world.stack.supply, volts, 20.0)
    world.run(until_s=160.0)
    assert not any(host.listening() for host in world.hosts[1:])
    assert world.hosts[0].listening()  # it has a supply of its own
    world.run(until_s=230.0)
    assert not any(host.firmware.fed for host in world.hosts[1:])
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    assert set(world.stack.brown_outs) == set(range(1, 7))
    assert world.stack.cycles == {}


def test_a_low_supply_holds_updates_back_until_it_is_good_again() -> None:
    """Nodes would write their slots and start on trial while the voltage breaks down."""
    world = World(QUIET, 1)
    assert world.stack is not None
    world.heap.at(5.0, world.stack.supply, 6.0, 195.0)
    world.run(until_s=200.0)
    for host in world.hosts[1:]:
        journal = host.machine.disk.journal
        assert journal is not None
        assert journal.state is State.WAITING
        assert "supply" in journal.why
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())


def test_an_operator_switches_bays_and_a_stranger_does_not() -> None:
    """The runs above would prove nothing, because nothing is ordered in them, or anybody's order is carried out."""
    world = World(QUIET, 1)
    assert world.stack is not None
    assert world.operator is not None
    world.heap.at(200.0, world.operator.order, 3, Action.OFF)
    world.heap.at(210.0, world.operator.order, 5, Action.CYCLE)
    world.run(until_s=340.0)
    assert not world.hosts[3].firmware.fed
    assert world.stack.cycles == {3: 1, 5: 1}
    assert world.operator.done == [Action.OFF, Action.CYCLE]
    world.heap.at(350.0, world.operator.order, 3, Action.ON)
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    assert world.hosts[3].listening()
    assert world.operator.refused == len(world.operator.done) == 3


def test_where_the_node_with_the_bus_hangs_another_takes_it_and_brings_it_back() -> None:
    """The node that watches all others would be watched by nobody."""
    world = World(evolve(QUIET, stack_owners=2, stack_owner_in_bay=True, nodes=6), 1)
    assert world.stack is not None
    world.run(until_s=200.0)
    (owner,) = [host for host in world.hosts if host.has_bus()]
    (other,) = [host for host in world.hosts[:2] if host is not owner]
    world.stack.owner_hangs_now()
    world.run(until_s=210.0)
    assert not owner.listening()
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    assert world.stack.owner_hangs == 1
    assert world.stack.cycles == {owner.number: 1}
    assert (other.has_bus(), owner.has_bus(), owner.listening()) == (True, False, True)


def test_random_stacks_are_varied() -> None:
    """A fault that never happens would be called survived two hundred times."""
    many = [random_stack_scenario(seed) for seed in range(200)]
    assert {s.stack_owners for s in many} == {1, 2}
    for name in ("stack_owner_hangs", "stack_brown_outs", "stack_orders", "stack_noise", "kills"):
        assert {getattr(s, name) > 0 for s in many} == {True, False}, name


def test_every_node_that_hangs_is_cycled_and_back_in_its_old_slot() -> None:
    """The runs above would prove nothing, because nobody hangs in them."""
    world = World(BUILT_IN["stack"], 1)
    notes: list[tuple[int, str, str]] = []
    world.surroundings.on_note = lambda node, what, why: notes.append((node, what, why))
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    assert world.stack is not None
    hung = {node for node, what, _ in notes if what == "trial lost"}
    assert hung == set(world.stack.cycles) == set(range(1, 7))
    cycled = [why for node, what, why in notes if node == 0 and what == "power" and "power cycle" in why]
    assert len(cycled) == sum(world.stack.cycles.values())
    for host in world.hosts[1:]:
        journal = host.machine.disk.journal
        assert journal is not None
        assert journal.state is State.COMMITTED
        assert [q.release for q in journal.quarantined] == [2]


def test_the_same_seed_tells_the_same_story() -> None:
    """A failure could not be looked at again."""
    traces = {World(random_stack_scenario(3), 3).run().trace for _ in range(2)}
    assert len(traces) == 1


def _world() -> World:
    world = World(BUILT_IN["stack"], 1)
    world.run(until_s=20.0)
    return world


def test_the_checker_sees_a_bay_that_is_switched_while_its_node_writes() -> None:
    """A rule that cannot fail would call every policy safe."""
    world = _world()
    world.checker.environment(1, writing=True)
    world.checker.bay_switched(1, 0, 0.0)
    assert [v.rule for v in world.checker.violations] == [Rule.WRITING]


def test_the_checker_sees_the_owner_switch_itself_off() -> None:
    """The same."""
    world = _world()
    world.checker.bay_switched(0, 0, 0.0)
    assert [v.rule for v in world.checker.violations] == [Rule.OWN_BAY]


def test_the_checker_sees_a_sound_node_switched_off_and_knows_who_may() -> None:
    """The same."""
    world = _world()
    world.checker.bay_switched(1, 0, SOUND_S - 1)
    world.checker.bay_ordered(1, Action.OFF, world.heap.now_s + 60)
    world.checker.bay_switched(1, 0, SOUND_S)
    assert world.checker.violations == []
    world.checker.bay_switched(2, 0, SOUND_S)
    world.checker.bay_ordered(1, Action.ON, world.heap.now_s + 60)
    world.checker.bay_switched(1, 0, SOUND_S)
    assert [(v.rule, v.node) for v in world.checker.violations] == [(Rule.SOUND, 2), (Rule.SOUND, 1)]


@pytest.mark.parametrize(
    ("ordered", "by_supply", "broken"),
    [(None, False, True), (Action.CYCLE, False, True), (Action.OFF, False, False), (None, True, False)],
)
def test_the_checker_sees_a_dark_board(ordered: Action | None, by_supply: bool, broken: bool) -> None:
    """The same."""
    world = _world()
    if ordered is not None:
        world.checker.bay_ordered(1, ordered, world.heap.now_s + 60)
    for node in (1, 2):
        world.checker.bay_power(node, on=False, by_supply=by_supply)
    assert [v.rule for v in world.checker.violations] == ([Rule.BOTH_BAYS] if broken else [])


def test_the_checker_sees_two_updates_on_one_board() -> None:
    """The same."""
    world = _world()
    for node in (1, 2):
        journal = Journal(State.FETCHING)
        world.hosts[node].machine.disk.journal = journal
        world.checker.journal_saved(node, journal)
    assert [v.rule for v in world.checker.violations] == [Rule.TURNS]


def test_two_nodes_share_each_board() -> None:
    """The rules about boards would look at nothing."""
    places = stack_places(BUILT_IN["stack"])
    assert places == {n: Place((n - 1) // 2, (n - 1) % 2) for n in range(1, 7)}
    assert any(r.behaviour is Behaviour.HANGS_FOR_GOOD for r in BUILT_IN["stack"].releases)
