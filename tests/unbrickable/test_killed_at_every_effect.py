"""If one of these failed, a kill or a power cut at one certain moment of an update would brick a node, or leave it behind.

Exhaustive, on the node's whole core with its journal, records and torrents: the world runs a publisher and a node, and the node
is killed, or loses its power, after each journal it saves and between every two effects that it carries out, those left out that
only send something.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from fruitd.node.effects import NodeEffect
from fruitd.updater.journal import Journal
from simulations.world.faults import StrikeKind
from simulations.world.host import Cut, Host
from simulations.world.images import Behaviour
from simulations.world.scenario import ReleasePlan, Scenario
from simulations.world.world import World
from swarm.effects import OpenStream, SendDatagram

TWO = Scenario(
    "two", nodes=2, sites=1, translated_sites=0, image_blocks=16, start_spread_s=1.0,
    releases=(ReleasePlan(10.0),), faults_s=60.0, settle_s=600.0,
)  # fmt: skip
NODE = 1
SEED = 7
BAD = (ReleasePlan(10.0), ReleasePlan(60.0, Behaviour.UNHEALTHY))
DEAD = (ReleasePlan(10.0), ReleasePlan(60.0, Behaviour.UNBOOTABLE))


class Counted:
    """Counts the effects of one node that leave something behind, and ends its daemon after one of them."""

    def __init__(self, world: World, after: int | None, kind: StrikeKind) -> None:
        self.seen = 0
        self.struck = False
        self.after = after
        self.kind = kind
        self.world = world
        self._host = world.hosts[NODE]
        self._inner = self._host._carry_out_one
        self._host._carry_out_one = self._carry_out_one  # type: ignore[method-assign]
        self._save = self._host._save
        self._host._save = self._save_one  # type: ignore[method-assign]

    def _save_one(self, journal: Journal) -> None:
        self._save(journal)
        self._count()

    def _carry_out_one(self, effect: NodeEffect) -> None:
        self._inner(effect)
        if not isinstance(effect, SendDatagram | OpenStream):
            self._count()

    def _count(self) -> None:
        self.seen += 1
        if self.seen - 1 == self.after:
            self.struck = True
            self._host._fuse = Cut(self.kind, 0, 2.0)


def _run(scenario: Scenario, after: int | None, kind: StrikeKind) -> Counted:
    world = World(scenario, SEED)
    counted = Counted(world, after, kind)
    report = world.run()
    assert report.violations == (), (after, report.violations)
    assert report.unsettled == (), (after, report.unsettled)
    return counted


def _holds(host: Host, world: World, release: int) -> bool:
    machine = host.machine
    published = world.surroundings.published[release - 1]
    return machine.active == machine.default and machine.holds(machine.active or "", published.image.blocks)


@pytest.mark.world
@pytest.mark.parametrize("kind", ["kill", "power cut"])
@pytest.mark.parametrize(
    "releases", [TWO.releases, BAD, DEAD], ids=["good", "then an unhealthy one", "then a dead one"]
)
def test_whatever_the_moment_the_node_ends_on_the_good_release(
    kind: StrikeKind, releases: tuple[ReleasePlan, ...]
) -> None:
    """As this file says."""
    scenario = evolve(TWO, releases=releases, faults_s=60.0 * len(releases))
    count = _run(scenario, None, kind).seen
    assert count > 30 * len(releases)
    first = (
        0 if releases == TWO.releases else _run(TWO, None, kind).seen
    )  # up to there it is the same as with the good one
    for after in range(first, count):
        counted = _run(scenario, after, kind)
        assert counted.struck
        assert _holds(counted.world.hosts[NODE], counted.world, 1), after
    print(f"{count - first} moments")


def test_the_strikes_are_real() -> None:
    """These tests would pass because nothing was ever struck."""
    quiet, struck = _run(TWO, None, "power cut"), _run(TWO, 20, "power cut")
    assert not quiet.struck
    assert struck.struck
    assert struck.world.hosts[NODE].machine.booted > quiet.world.hosts[NODE].machine.booted
