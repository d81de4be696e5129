"""If one of these failed, some order of offers, faults and operators would break a promise that no single test thought of.

A seeded walk over everything that can happen, checked by the model at every effect. When the faults stop, a new good release
must be installed. A seed that ever failed stays in `KEPT_SEEDS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fruitd.updater import effects as do
from fruitd.updater import events as on
from tests.fruitd.updater.machine_model import Behaviour, Machine, ViolationError, target

KEPT_SEEDS = (
    *((seed, 1_500) for seed in (24, 102, 123, 205, 380, 536, 584, 807, 1367, 2521, 2647, 2812)),
    (10_623, 1_200),
)
"""Seed and steps."""
SEEDS = 120
STEPS = 700


def _offer(machine: Machine, rng: random.Random, newest: int) -> int:
    """Offer a new release, the same again, an older one, or another one under a number that was used."""
    kind = rng.choices(("new", "same", "old", "reused"), (4, 3, 1, 1))[0]
    if kind == "new" or newest == 0:
        newest += rng.randint(1, 2)
        release = target(newest)
    elif kind == "same":
        release = target(newest)
    elif kind == "old":
        release = target(rng.randint(1, newest))
    else:
        release = target(newest, rng.randint(1, 2))
    machine.behaviours.setdefault(
        release.infohash,
        rng.choices((Behaviour(), Behaviour(healthy=False), Behaviour(boots=False)), (5, 2, 1))[0],
    )
    machine.feed(on.Offered(release))
    return newest


def _step_faults(machine: Machine, rng: random.Random) -> None:
    machine.step_fault, machine.rot = rng.choice(((0.0, 0.0), (0.3, 0.0), (0.0, 0.5), (0.2, 0.2)))
    machine.refuse = rng.choice((0.0, 0.0, 0.2))


def _set_clock(machine: Machine, rng: random.Random) -> None:
    machine.clock_ahead_s += rng.choice((0.1, 5.0, 300.0, 1e8, -1e5))


def _toggle_disk(machine: Machine, _rng: random.Random) -> None:
    machine.disk_full = not machine.disk_full


def _toggle_environment(machine: Machine, _rng: random.Random) -> None:
    machine.env_broken = not machine.env_broken


def _stale(machine: Machine, rng: random.Random) -> None:
    machine.feed(
        on.StepFailed("ff" * 32, "an answer about something long given up", final=rng.random() < 0.5)
    )


ANY_TIME: tuple[tuple[float, Callable[[Machine, random.Random], None]], ...] = (
    (4, lambda m, _: m.kill()),
    (4, lambda m, _: m.power_cut()),
    (1, lambda m, _: m.feed(on.Hold("a reason"))),
    (3, lambda m, _: m.feed(on.Resume())),
    (4, lambda m, _: m.feed(on.Rollback("a reason"))),
    (1, lambda m, _: m.feed(on.Disputed("two manifests"))),
    (1, lambda m, _: m.rot_default()),
    (0.5, lambda m, _: m.lose_state()),
    (2, _set_clock),
    (1, _toggle_disk),
    (1, _toggle_environment),
    (1, _step_faults),
    (2, _stale),
)


def _something(machine: Machine, rng: random.Random, newest: int) -> int:
    """One thing that may happen at any time."""
    if rng.random() < 0.3:
        return _offer(machine, rng, newest)
    rng.choices([act for _, act in ANY_TIME], [weight for weight, _ in ANY_TIME])[0](machine, rng)
    return newest


def walk(seed: int, steps: int = STEPS) -> Machine:
    """One life, full of trouble, and then a quiet end with a good release."""
    rng = random.Random(seed)
    machine = Machine(random.Random(seed + 1))
    machine.boot()
    newest = 0
    for _ in range(steps):
        if rng.random() < 0.1:
            newest = _something(machine, rng, newest)
        elif not machine.step():
            machine.tick()
    machine.disk_full = machine.env_broken = False
    machine.step_fault = machine.rot = machine.refuse = 0.0
    machine.run()
    machine.feed(on.Resume())
    machine.run()
    last = target(newest + 1)
    machine.feed(on.Offered(last))
    machine.run()
    if not machine.runs(last):
        machine.violation(f"release {last.release} was not installed: {machine.updater.describe()}")
    return machine


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_order_of_events_breaks_a_promise(first: int) -> None:
    """A node would brick, loop, downgrade or get stuck under some order of faults."""
    for seed in range(first, first + 20):
        try:
            walk(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_seeds_that_once_failed_pass() -> None:
    """A mistake that was mended would come back."""
    for seed, steps in KEPT_SEEDS:
        walk(seed, steps)


def test_the_walks_reach_what_they_are_for() -> None:
    """The walks would pass because nothing ever happened in them."""
    seen: set[str] = set()
    for seed in range(24):
        machine = walk(seed)
        seen |= {note.what for note in machine.notes}
    assert {
        "committed",
        "rolled back",
        "trial lost",
        "waiting",
        "rollback",
        "hold",
        "state not saved",
    } <= seen


def test_the_model_sees_a_commit_without_a_trial() -> None:
    """The checker itself would be blind: every walk would pass whatever the updater did."""
    machine = Machine(random.Random(0))
    machine.boot()
    for effect in (
        do.CommitSlot("b"),
        do.ArmSlot("b", "00"),
        do.PrepareSlot(target(1), "a"),
        do.Seed(target(1), "a"),
    ):
        machine.todo = [effect]
        with pytest.raises(ViolationError):
            machine.carry_out_next()
