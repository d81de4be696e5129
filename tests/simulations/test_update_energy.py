"""What an update draws, in a world of emulated boards: if it failed, people would be told joules that nothing ever drew."""

from __future__ import annotations

import pytest
from attrs import evolve, mutable

from fruitd.updater.journal import State
from fruitd.updater.table import RESTING
from simulations.world.host import Host
from simulations.world.images import Behaviour
from simulations.world.scenario import BUILT_IN, ReleasePlan, Scenario
from simulations.world.stack import SWEEP_S
from simulations.world.world import World

pytestmark = pytest.mark.world
STEP_S = 0.5
IDLE_A, BUSY_A, OFF_A = 0.45, 0.85, 0.15
"""Drawn by a Pi that waits, one that updates, and one between its systems."""
PUBLISHED_S = 900.0
CALM = evolve(
    BUILT_IN["stack"],
    nodes=3,
    stack_boards=1,
    quick=False,
    releases=(ReleasePlan(PUBLISHED_S),),
    faults_s=1000.0,
)


@mutable
class Truth:
    """What a bay has given while its node updated, looked at every `STEP_S`."""

    joules: float = 0.0
    above_j: float = 0.0
    for_s: float = 0.0
    away_s: float = 0.0
    """Of that, no daemon ran."""


class Draw:
    """Has each bay draw by what its node does, and sums up what it got."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.truths: dict[int, Truth] = {}
        world.heap.at(0.0, self._step)

    def _step(self) -> None:
        stack = self._world.stack
        assert stack is not None
        for place, host in stack._hosts.items():
            board = stack._boards[place.address]
            bay, state = board.bays[place.bay], _state(host)
            truth = self.truths.setdefault(host.number, Truth())
            updating = state not in (*RESTING, State.OFFERED, State.WAITING)
            away = updating and not host.listening()
            bay.outside_amperes = OFF_A if away else BUSY_A if updating else IDLE_A
            if updating:
                watts = bay.amperes * board.rail_v
                truth.joules += watts * STEP_S
                truth.above_j += (watts - IDLE_A * board.rail_v) * STEP_S
                truth.for_s += STEP_S
                truth.away_s += STEP_S if away else 0.0
        self._world.heap.after(STEP_S, self._step)


def _state(host: Host) -> State:
    journal = host.machine.disk.journal
    return journal.state if journal is not None else State.IDLE


def _updated(scenario: Scenario, *hosts: int, owner_too: bool = False) -> tuple[World, Draw]:
    """A world in which the updates of these nodes are over."""
    world = World(scenario, 1)
    if owner_too:
        hardware = world.hosts[1].plan.hardware
        world.hosts[0].plan = evolve(world.hosts[0].plan, hardware=hardware)
        world.checker._nodes[0].hardware = hardware
    draw = Draw(world)
    until_s = PUBLISHED_S
    while not all(world.hosts[number].used for number in hosts):
        until_s += 100.0
        assert until_s < 4000.0
        world.run(until_s=until_s)
        assert world.checker.violations == []
    return world, draw


def test_every_node_of_a_stack_is_told_what_its_update_drew() -> None:
    """The node that updates sees no bus; what the one with the bus tells it would be another update's, or none's."""
    world, draw = _updated(CALM, 1, 2)
    for host in world.hosts[1:]:
        (used,), truth = host.used, draw.truths[host.number]
        assert truth.away_s > 2
        assert used.joules == pytest.approx(truth.joules, rel=0.03)
        assert used.known_s == pytest.approx(truth.for_s, rel=0.03)
        assert used.idle_w is None  # it is not told that


def test_the_node_with_the_bus_goes_on_counting_after_its_own_restart() -> None:
    """What it drew before its trial would be forgotten, and the time in which nobody measured be counted or kept quiet."""
    world, draw = _updated(evolve(CALM, nodes=2, stack_owner_in_bay=True), 0, owner_too=True)
    (used,), truth = world.hosts[0].used, draw.truths[0]
    assert _state(world.hosts[0]) is State.COMMITTED
    missing_s = truth.for_s - used.known_s
    assert truth.away_s - STEP_S <= missing_s <= truth.away_s + 2 * SWEEP_S
    assert used.joules == pytest.approx(truth.joules, rel=0.03)
    assert used.above_idle_j == pytest.approx(truth.above_j, rel=0.05)


def test_an_update_that_is_not_kept_is_told_too() -> None:
    """Joules of a bad release would be those of the next good one."""
    bad = evolve(CALM, nodes=2, releases=(ReleasePlan(PUBLISHED_S, Behaviour.UNHEALTHY),))
    world, draw = _updated(bad, 1)
    (used,), truth = world.hosts[1].used, draw.truths[1]
    assert _state(world.hosts[1]) is State.QUARANTINED
    assert used.joules == pytest.approx(
        truth.joules, rel=0.12
    )  # three quarters of a minute, looked at every ten seconds
    assert used.known_s == pytest.approx(truth.for_s, rel=0.12)
