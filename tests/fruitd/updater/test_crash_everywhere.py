"""If one of these failed, a power cut or a kill at one certain moment would brick a node, or leave it stuck for ever.

Exhaustive: the run is repeated with a crash before its first effect, its second, and so on to its last; then with two.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fruitd.updater import events as on
from fruitd.updater.journal import State
from tests.fruitd.updater.machine_model import Behaviour, Machine, fresh, target, with_release

R1, R2, R3 = target(1), target(2), target(3)
GOOD, SICK, DEAD = Behaviour(), Behaviour(healthy=False), Behaviour(boots=False)
CRASHES: dict[str, Callable[[Machine], None]] = {"kill": Machine.kill, "power cut": Machine.power_cut}


def _start(behaviour: Behaviour) -> Machine:
    """A machine that runs release 1 from its second slot, and is offered release 2."""
    machine = with_release(fresh(), R1)
    machine.behaviours[R2.infohash] = behaviour
    machine.carried_out = 0
    return machine


def _run(machine: Machine, crash_at: list[int], crash: Callable[[Machine], None], end: int = 4_000) -> None:
    """Offer release 2 and run to rest, crashing before the effects with these numbers."""
    machine.feed(on.Offered(R2))
    left = list(crash_at)
    for _ in range(end):
        if left and machine.todo and machine.carried_out >= left[0]:
            left.pop(0)
            crash(machine)
            if machine.journal.target != R2:
                machine.feed(on.Offered(R2))  # as the node core does at every start
        elif not machine.step() and not machine.tick():
            return
    raise AssertionError(f"not at rest: {machine.updater.describe()}")


def _length(behaviour: Behaviour) -> int:
    machine = _start(behaviour)
    _run(machine, [], Machine.kill)
    return machine.carried_out


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_any_effect_of_a_good_release_ends_with_it_committed(crash: str) -> None:
    """A node that loses power once during an update would never finish it."""
    length = _length(GOOD)
    assert length > 20
    for at in range(length):
        machine = _start(GOOD)
        _run(machine, [at], CRASHES[crash])
        assert machine.runs(R2), (at, machine.updater.describe())


@pytest.mark.parametrize("behaviour", [SICK, DEAD], ids=["unhealthy", "does not boot"])
@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_any_effect_of_a_bad_release_ends_in_the_old_slot(
    crash: str, behaviour: Behaviour
) -> None:
    """A bad release would be kept, or be tried again and again, if the power went at the right moment."""
    for at in range(_length(behaviour)):
        machine = _start(behaviour)
        _run(machine, [at], CRASHES[crash])
        assert machine.runs(R1), (at, machine.updater.describe())
        assert machine.journal.quarantine_of(R2.infohash) is not None
        with_release(machine, R2, behaviour)
        assert machine.journal.state is State.QUARANTINED
        with_release(machine, R3)
        assert machine.runs(R3), (at, machine.updater.describe())


@pytest.mark.parametrize("crash", CRASHES)
def test_two_crashes_anywhere_leave_a_system_that_can_still_update(crash: str) -> None:
    """The repair after one crash would itself not stand a crash."""
    length = _length(GOOD)
    rng = random.Random(2)
    pairs = [(a, b) for a in range(length) for b in range(a, length + 8)]
    for first, second in rng.sample(pairs, 250):
        machine = _start(GOOD)
        _run(machine, [first, second], CRASHES[crash])
        assert machine.runs(R2), (first, second, machine.updater.describe())
        with_release(machine, R3)
        assert machine.runs(R3)


def test_power_that_goes_at_every_trial_boot_ends_in_quarantine_and_not_in_a_loop() -> None:
    """A release that makes the machine lose power would be booted for ever."""
    machine = _start(GOOD)
    machine.feed(on.Offered(R2))
    for _ in range(2_000):
        if machine.active != machine.default:
            machine.power_cut()
        elif not machine.step() and not machine.tick():
            break
    assert machine.trial_boots[R2.infohash] == machine.settings.max_attempts
    assert machine.runs(R1)
    assert machine.journal.state is State.QUARANTINED


def test_a_daemon_that_crashes_in_every_trial_is_rolled_back() -> None:
    """A release whose daemon crashes again and again would neither be kept nor left."""
    machine = _start(GOOD)
    machine.feed(on.Offered(R2))
    kills = 0
    for _ in range(4_000):
        if machine.active != machine.default and machine.watching and not machine.todo:
            kills += 1
            machine.kill()
        elif not machine.step() and not machine.tick():
            break
    assert machine.runs(R1)
    assert kills <= machine.settings.trial_starts_max
