"""Stolen keys and long sleep in the world: real cores, real signatures, virtual time."""

from __future__ import annotations

import pytest
from attrs import evolve

from simulations.world.images import Behaviour
from simulations.world.maintainer import CALENDAR_S, FAST_FORWARD
from simulations.world.scenario import BUILT_IN, ReleasePlan, Scenario, TheftPlan, random_scenario
from simulations.world.world import World

pytestmark = pytest.mark.world

DAY_S = 86_400
SEEDS = 40
AT_ONCE = 10


def test_a_swarm_recovers_from_stolen_keys() -> None:
    """A theft of the release keys would end a swarm: nodes would take nothing any more, or go on believing the thief."""
    world = World(BUILT_IN["stolen-keys"], 5)
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    abuse = next(release for release in report.releases if release.release == FAST_FORWARD)
    assert abuse.installed.reached > 3, "the abuse reached nobody: nothing was shown"
    assert {host.node.trusted.root.version for host in world.hosts if host.node} == {2}


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_random_swarms_recover_from_stolen_keys(first: int) -> None:
    """Some order of losses, cuts and kills would keep a node with the thief for ever."""
    failures = []
    for seed in range(first, first + AT_ONCE):
        report = World(_with_theft(random_scenario(seed), seed), seed).run()
        failures += [f"seed {seed}: {wrong}" for wrong in (*report.violations, *report.unsettled)]
    assert failures == []


def _with_theft(scenario: Scenario, seed: int) -> Scenario:
    """The same story with a theft in it, and a good release after the rotation."""
    stolen_s = 20.0 + 17.0 * (seed % 11)
    rotated_s = stolen_s + 10.0 * (1 + seed % 5)
    before = tuple(plan for plan in scenario.releases if plan.at_s < stolen_s)
    after = ReleasePlan(rotated_s + 5.0, Behaviour.GOOD, 0.3)
    return evolve(
        scenario,
        releases=(*before, after),
        theft=TheftPlan(stolen_s, rotated_s),
        publisher_leaves=False,
        faults_s=max(scenario.faults_s, rotated_s + 10.0),
    )


def test_a_node_from_a_drawer_with_a_clock_in_1970_ends_on_the_newest_release() -> None:
    """After a year without power a node would be lost: six rotations missed, its root expired, and no idea what year it is."""
    scenario = Scenario(
        nodes=6, sites=2, translated_sites=0, late_nodes=1, releases=(ReleasePlan(40.0),), faults_s=120.0
    )
    world = World(scenario, 11)
    maintainer = world.surroundings.maintainer
    for months_ago in range(10, -2, -2):
        root = maintainer.rotate(expires_at_s=int(CALENDAR_S) - (months_ago - 3) * 30 * DAY_S)
        world.surroundings.checker.add_genuine(root)
    sleeper = world.hosts[-1]
    for host in world.hosts[:-1]:
        for record in maintainer.roots[1:]:
            host.machine.disk.keep_record(record)
    sleeper.firmware.clock_ahead_s = 0.0
    sleeper.firmware.clock_dead = True
    world.heap.at(80.0, _say_current, world)
    report = world.run()
    assert (report.violations, report.unsettled) == ((), ())
    assert sleeper.node is not None
    assert sleeper.node.trusted.root.version == 7
    assert sleeper.machine.holds(sleeper.machine.active or "", world.surroundings.published[-1].image.blocks)
    assert sleeper.firmware.clock_ahead_s < CALENDAR_S - 300 * DAY_S, "its clock was set: nothing was shown"
    standing = sleeper.node.standing(sleeper.steady_s())
    assert standing.held_back is None
    assert standing.current_at_s is not None
    assert standing.current_at_s > CALENDAR_S


def _say_current(world: World) -> None:
    """The cron job of a maintainer."""
    host = world.hosts[1]
    assert host.core is not None
    manifest = world.surroundings.published[-1].manifest
    fresh = world.surroundings.maintainer.says_current(manifest, CALENDAR_S + world.heap.now_s)
    world.surroundings.checker.add_genuine(fresh)
    host.carry_out(host.core.offer(fresh, host.steady_s())[1])
