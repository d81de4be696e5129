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


FAST_FORWARD = 2**40
"""A number no maintainer reaches."""


def _offer(machine: Machine, rng: random.Random, newest: int) -> int:
    """Offer a new release, the same again, an older one, or another one under a number that was used."""
    kind = rng.choices(("new", "same", "old", "reused"), (4, 3, 1, 1))[0]
    mark, key = 16 * machine.keys, machine.key
    if kind == "new" or newest == 0:
        newest += rng.randint(1, 2)
        release = target(newest, mark, key)
    elif kind == "same":
        release = target(newest, mark, key)
    elif kind == "old":
        release = target(rng.randint(1, newest), mark, key)
    else:
        release = target(newest, mark + rng.randint(1, 2), key)
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


def _toggle_silence(machine: Machine, _rng: random.Random) -> None:
    machine.silence = not machine.silence


def _lift(machine: Machine, rng: random.Random) -> None:
    """An operator wants a release back that this node has given up, or one that it never heard of."""
    before = machine.updater.journal
    releases = [q.release for q in before.quarantined] + [before.target.release if before.target else 1]
    machine.feed(on.Lift(rng.choice(releases), "mended"))
    for entry in set(before.quarantined) - set(machine.updater.journal.quarantined):
        machine.trial_boots.pop(entry.infohash, None)
    if before.target is not None and machine.updater.journal.attempts < before.attempts:
        machine.trial_boots.pop(before.target.infohash, None)


def _stale(machine: Machine, rng: random.Random) -> None:
    machine.feed(
        on.StepFailed("ff" * 32, "an answer about something long given up", final=rng.random() < 0.5)
    )


ANY_TIME: tuple[tuple[float, Callable[[Machine, random.Random], None]], ...] = (
    (4, lambda m, _: m.kill()),
    (4, lambda m, _: m.power_cut()),
    (1, lambda m, _: m.feed(on.Hold("a reason"))),
    (3, lambda m, _: m.feed(on.Resume())),
    (1, lambda m, _: m.feed(on.HeldBack("its supply fails"))),
    (3, lambda m, _: m.feed(on.FreeAgain())),
    (4, lambda m, _: m.feed(on.Rollback("a reason"))),
    (1, lambda m, _: m.feed(on.Disputed("two manifests"))),
    (1, lambda m, _: m.rot_default()),
    (2, lambda m, rng: _lift(m, rng)),
    (1, _toggle_silence),
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


def _abuse_and_rotate(machine: Machine, rng: random.Random, newest: int) -> int:
    """The key pushes the numbers up, and is taken away; the next one begins low. Or one of the two, or a contradiction ends."""
    match rng.randrange(4):
        case 0:
            machine.feed(on.Settled())
        case 1:
            machine.feed(on.Offered(target(FAST_FORWARD + rng.randrange(3), 16 * machine.keys, machine.key)))
        case 2:
            machine.feed(on.Withdrawn("its manifest is not believed any more"))
        case 3:
            machine.rotate()
            return 0
    return newest


def walk(seed: int, steps: int = STEPS, *, rotating: bool = False, way_lost: float = 0.0) -> Machine:
    """One life, full of trouble, and then a quiet end with a good release."""
    rng = random.Random(seed)
    machine = Machine(random.Random(seed + 1), way_lost=way_lost)
    machine.boot()
    newest = 0
    for _ in range(steps):
        if rng.random() < 0.1:
            newest = _something(machine, rng, newest)
        elif rotating and rng.random() < 0.02:
            newest = _abuse_and_rotate(machine, rng, newest)
        elif not machine.step():
            machine.tick()
    machine.disk_full = machine.env_broken = machine.silence = False
    machine.step_fault = machine.rot = machine.refuse = 0.0
    machine.run()
    machine.feed(on.Resume())
    machine.feed(on.FreeAgain())
    machine.run()
    if rotating:
        machine.rotate()
        newest = 0
    last = target(newest + 1, 16 * machine.keys, machine.key)
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


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_abuse_of_a_key_outlasts_its_rotation(first: int) -> None:
    """A stolen key could leave nodes that take no release any more, by pushing numbers up under some order of faults."""
    for seed in range(first, first + 20):
        try:
            walk(seed, rotating=True)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_no_way_that_is_lost_breaks_a_promise() -> None:
    """A parcel that leads no further, under some order of faults, would leave a slot that the journal calls whole."""
    lost = 0
    for seed in range(20):
        try:
            machine = walk(seed, way_lost=0.4)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        lost += sum(note.what == "another way" for note in machine.notes)
    assert lost > 20


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
