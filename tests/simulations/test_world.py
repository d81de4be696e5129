"""The cores that run on a Pi, run in a swarm of them: what a person would see on their bench, in a second."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from attrs import evolve

from fruitd.updater import effects as do
from fruitd.updater.machine import Updater
from simulations.world.checker import Rule
from simulations.world.faults import StrikeKind
from simulations.world.host import Cut
from simulations.world.images import Behaviour
from simulations.world.report import Report, spread
from simulations.world.scenario import ReleasePlan, Scenario
from simulations.world.surroundings import Verdicts
from simulations.world.world import World
from swarm.news.record import Record
from swarm.trust.trusted_set import TrustedSet

SMALL = Scenario(
    "small", nodes=4, sites=2, translated_sites=0, image_blocks=16, start_spread_s=2.0,
    releases=(ReleasePlan(10.0),), faults_s=60.0, settle_s=600.0,
)  # fmt: skip


def _run(scenario: Scenario, seed: int = 1) -> Report:
    return World(scenario, seed).run()


def _ok(report: Report) -> None:
    assert report.violations == ()
    assert report.unsettled == ()


def test_a_release_reaches_every_node() -> None:
    """The one thing the project is for would not happen."""
    report = _run(SMALL)
    _ok(report)
    (release,) = report.releases
    assert release.manifest.reached == release.installed.reached == 4
    assert report.image_bytes > 0


@pytest.mark.parametrize("behaviour", [Behaviour.UNHEALTHY, Behaviour.UNBOOTABLE, Behaviour.HANGS])
def test_a_bad_release_is_rolled_back_and_quarantined_everywhere(behaviour: Behaviour) -> None:
    """A mistake of a maintainer would be the end of the swarm."""
    releases = (ReleasePlan(10.0), ReleasePlan(80.0, behaviour))
    world = World(evolve(SMALL, releases=releases, faults_s=120.0), 3)
    _ok(world.run())
    good = world.surroundings.published[0]
    for host in world.hosts:
        assert host.machine.active is not None
        assert host.machine.holds(host.machine.active, good.image.blocks)
        journal = host.machine.disk.journal
        assert journal is not None
        assert [q.release for q in journal.quarantined] == [2]


def test_other_hardware_is_left_alone() -> None:
    """A node would boot an image for another board."""
    world = World(evolve(SMALL, other_hardware=2), 5)
    _ok(world.run())
    foreign = [host for host in world.hosts if "pi-other" in host.plan.hardware]
    assert len(foreign) == 2
    for host in foreign:
        assert host.machine.active == "a"
        assert host.machine.written_blocks == 0


def test_liars_change_nothing_and_are_counted() -> None:
    """One bad peer with the swarm key could stop or take over the rest."""
    report = _run(evolve(SMALL, nodes=6, liars=2), 2)
    _ok(report)
    refused = {what for what, _, _ in report.refused}
    assert {"record", "datagram"} <= refused


def test_the_publisher_may_leave_once_somebody_runs_its_release() -> None:
    """The publisher would be a server after all."""
    scenario = evolve(SMALL, nodes=6, publisher_leaves=True, late_nodes=2, translated_sites=1)
    world = World(scenario, 4)
    _ok(world.run())
    assert world.hosts[0].firmware.gone
    assert all(h.machine.disk.journal is not None for h in world.hosts)


@pytest.mark.parametrize("behaviour", [Behaviour.GOOD, Behaviour.UNHEALTHY])
@pytest.mark.parametrize("kind", ["power cut", "kill", "full disk"])
def test_struck_at_every_effect_of_an_update(kind: StrikeKind, behaviour: Behaviour) -> None:
    """There would be one moment at which pulling the plug leaves a node that does not come back or does not go on."""
    releases = (ReleasePlan(10.0, behaviour),)
    scenario = evolve(SMALL, nodes=2, sites=1, image_blocks=8, releases=releases)
    moments = set()
    for step in range(0, 100, 2):
        world = World(scenario, 1, keep_trail=True)
        world.heap.at(10.0, world.hosts[1].light_fuse, Cut(kind, step, 3.0))
        report = world.run()
        assert (step, report.violations, report.unsettled) == (step, (), ())
        moments |= {line.at_s for line in world.trace.lines if line.what == kind and line.node == 1}
    assert len(moments) > 10


BY_PARCEL = evolve(
    SMALL, parcels=2, image_blocks=48, releases=(ReleasePlan(10.0), ReleasePlan(80.0)), faults_s=120.0
)


def test_releases_travel_as_parcels_and_cost_less() -> None:
    """Nodes would fetch blocks although a parcel is named, or parcels on top of blocks."""
    world = World(BY_PARCEL, 2, keep_trail=True)
    report = world.run()
    _ok(report)
    begun = [
        line.what for line in world.trace.lines if line.what in ("FetchParcel", "MakeSegment", "StartFetch")
    ]
    assert begun.count("FetchParcel") >= 3
    assert begun.count("MakeSegment") >= 3 * 48 // 8
    by_blocks = _run(evolve(BY_PARCEL, parcels=0), 2)
    assert report.image_bytes < 0.75 * by_blocks.image_bytes


@pytest.mark.parametrize("kind", ["power cut", "kill", "full disk"])
def test_struck_at_every_effect_of_an_update_by_parcel(kind: StrikeKind) -> None:
    """There would be one moment between two segments at which pulling the plug leaves a node behind, or with half an image."""
    scenario = evolve(BY_PARCEL, nodes=2, sites=1, image_blocks=24)
    moments = set()
    for step in range(0, 90, 3):
        world = World(scenario, 1, keep_trail=True)
        world.heap.at(80.0, world.hosts[1].light_fuse, Cut(kind, step, 3.0))
        report = world.run()
        assert (step, report.violations, report.unsettled) == (step, (), ())
        moments |= {line.at_s for line in world.trace.lines if line.what == kind and line.node == 1}
    assert len(moments) > 8


def test_same_seed_same_story_in_another_process() -> None:
    """A failing seed from CI could not be looked at anywhere else."""
    code = (
        "from simulations.world.scenario import random_scenario\n"
        "from simulations.world.world import World\n"
        "print(World(random_scenario(7), 7).run().trace)\n"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0].strip()) == 64


def test_the_trace_tells_runs_apart() -> None:
    """Two different runs would be taken for one."""
    assert _run(SMALL, 1).trace == _run(SMALL, 1).trace
    assert _run(SMALL, 1).trace != _run(SMALL, 2).trace
    kept = World(SMALL, 1, keep_trail=True)
    assert kept.run().trace == _run(SMALL, 1).trace
    assert any(line.what == "boot" for line in kept.trace.lines)


def test_a_world_that_cannot_agree_says_who_lacks_what() -> None:
    """A swarm that never converges would be reported as fine."""
    world = World(evolve(SMALL, settle_s=30.0), 1)
    world.heap.at(5.0, world.network.set_sides, {3: (1,)})
    report = world.run()
    assert not report.ok
    assert report.settled_at_s is None
    assert any("node 3" in line for line in report.unsettled)


def test_a_node_that_stays_down_is_missed() -> None:
    """A dead daemon would count as converged."""
    world = World(evolve(SMALL, settle_s=30.0), 1)
    world.heap.at(70.0, world.hosts[2].stop_daemon)
    assert "node 2 is not running" in world.run().unsettled


def test_a_core_that_skips_the_read_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world would let through the very core it was built to stop."""
    honest = Updater.handle

    def hasty(self: Updater, event: object, now_s: float) -> list[do.Effect]:
        effects: list[do.Effect] = []
        for effect in honest(self, event, now_s):  # type: ignore[arg-type]
            effects.append(effect)
            if isinstance(effect, do.ReadBack):
                effects.append(do.ArmSlot(effect.slot, effect.target.infohash))
        return effects

    monkeypatch.setattr(Updater, "handle", hasty)
    report = _run(SMALL)
    assert any(str(Rule.READ_BACK) in violation for violation in report.violations)


def test_a_store_that_believes_liars_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for signatures."""

    def gullible(self: Verdicts, trusted: TrustedSet, record: Record) -> None:
        pass

    monkeypatch.setattr(Verdicts, "verdict", gullible)
    report = _run(evolve(SMALL, nodes=5, liars=1), 2)
    assert any(str(Rule.NEWS) in violation for violation in report.violations)


def test_percentiles_are_of_what_was_reached() -> None:
    """The table would show better times than there were."""
    assert spread([], 3).p50_s is None
    figures = spread([float(n) for n in range(1, 101)], 120)
    assert (figures.reached, figures.of) == (100, 120)
    assert (figures.p50_s, figures.p99_s, figures.max_s) == (50.0, 99.0, 100.0)
    assert spread([2.0], 1).p99_s == 2.0
