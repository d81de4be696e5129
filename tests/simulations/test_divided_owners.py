"""Two nodes share the bus of a stack, and cannot hear each other in the swarm: only the bus shows either that there is another.

`FRUIT_STACK_RUNS=200` runs fifty seeds.
"""

from __future__ import annotations

import os
import random

import pytest
from attrs import evolve

from fruitd.power.bus_watch import BusWatch
from simulations.world.checker import Rule
from simulations.world.images import Behaviour
from simulations.world.scenario import BUILT_IN, ReleasePlan
from simulations.world.world import World

pytestmark = pytest.mark.world
RUNS = int(os.environ.get("FRUIT_STACK_RUNS", "12")) // 4
CUT_S = 250.0
TAKEN_S = 440.0
"""By then the other node has taken the bus."""
HEALED_S_MAX = 900.0
SCENARIO = evolve(
    BUILT_IN["stack"],
    nodes=6,
    stack_owners=2,
    stack_owner_in_bay=True,
    releases=(ReleasePlan(30.0),),
    faults_s=HEALED_S_MAX + 50,
)


class Divided:
    """The owners on two sides of a cut; of the other two boards one Pi on each side. A release reaches both sides at once."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"divided {seed}")
        world = self.world = World(SCENARIO, seed)
        sides = {0: (0,), 1: (1,)}
        for node in (2, 4):
            side = rng.randrange(2)
            sides |= {node: (side,), node + 1: (1 - side,)}
        release_s = rng.uniform(300.0, 700.0)
        healed_s = min(max(release_s + rng.uniform(5.0, 300.0), TAKEN_S), HEALED_S_MAX)
        world.heap.at(CUT_S, world.network.set_sides, sides)
        world.heap.at(release_s, self._release)
        world.heap.at(healed_s, world.network.set_sides, {})

    def _release(self) -> None:
        world = self.world
        world._release(2, ReleasePlan(0.0, Behaviour.GOOD, 0.5))
        world._publish(world.surroundings.published[-1], ReleasePlan(0.0, publisher=1))


@pytest.mark.parametrize("seed", range(RUNS))
def test_two_pis_of_a_board_never_update_at_the_same_time(seed: int) -> None:
    """Each side would give a turn to one of them, and a bad release take both down; or nothing go on once the sides have met."""
    report = Divided(seed).world.run()
    assert (report.violations, report.unsettled) == ((), ())


def test_both_owners_are_told_once_what_to_do_and_once_that_it_is_over() -> None:
    """Updates would stand still, and nobody know why."""
    world = World(SCENARIO, 0)
    notes: list[tuple[int, str]] = []
    world.surroundings.on_note = lambda node, what, why: (
        notes.append((node, why)) if what == "power" else None
    )
    world.heap.at(CUT_S, world.network.set_sides, {1: (1,), 3: (1,), 5: (1,)})
    world.run(until_s=TAKEN_S + 200)
    assert [host.has_bus() for host in world.hosts[:2]] == [True, True]
    assert {node for node, why in notes if "another master" in why} == {0, 1}
    assert all("not heard in the swarm: n" in why for _, why in notes)
    assert len(notes) == 2
    world.network.set_sides({})
    world.run(until_s=TAKEN_S + 400)
    (owner,) = [host.number for host in world.hosts[:2] if host.has_bus()]
    assert [node for node, why in notes[2:] if "go on" in why] == [owner]


def test_the_checker_sees_owners_that_do_not_heed_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs above would prove nothing, because no two turns are ever near each other in them."""
    monkeypatch.setattr(BusWatch, "why", lambda *_: "")
    broken = [violation for seed in range(3) for violation in Divided(seed).world.run().violations]
    assert any(str(Rule.TURNS) in violation for violation in broken)
