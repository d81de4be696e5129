"""If one of these failed, a power cut or a kill at one certain moment would brick a node, or leave it stuck for ever.

Exhaustive: the run is repeated with a crash before its first effect, its second, and so on to its last; then with two.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fruitd.updater import effects as do
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
        if crash == "power cut" and machine.journal.state is State.QUARANTINED:
            # Both tries ended before anything was seen of the release: nobody can tell it from one that does not come up.
            assert machine.journal.attempts == machine.settings.max_attempts
            assert machine.journal.cut_off == 0
        else:
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
    assert machine.trial_boots[R2.infohash] == machine.settings.max_attempts == 2
    assert machine.runs(R1)
    assert machine.journal.state is State.QUARANTINED


@pytest.mark.parametrize("cuts", [1, 2, 3, 4, 5])
def test_a_good_release_that_is_cut_off_again_and_again_is_kept_in_the_end(cuts: int) -> None:
    """Three power cuts in an afternoon, each in a trial that went well, would get a good release quarantined."""
    machine = _start(GOOD)
    machine.feed(on.Offered(R2))
    done = 0
    for _ in range(4_000):
        seen = machine.active != machine.default and len(machine.good_streak) > 1 and not machine.todo
        if seen and done < cuts:
            done += 1
            machine.power_cut()
        elif not machine.step() and not machine.tick():
            break
    assert done == cuts
    if cuts < machine.settings.cut_offs_max:
        assert machine.runs(R2)
    else:
        assert machine.runs(R1)
        assert machine.trial_boots[R2.infohash] == cuts
        assert "cut off while all was well" in machine.journal.why


def test_an_unhealthy_release_gets_no_more_tries_by_power_cuts() -> None:
    """Power cuts would let a bad release be tried six times instead of twice."""
    machine = _start(SICK)
    machine.feed(on.Offered(R2))
    for _ in range(4_000):
        if machine.active != machine.default and machine.updater.journal.seen_well is False:
            machine.power_cut()
        elif not machine.step() and not machine.tick():
            break
    assert machine.trial_boots[R2.infohash] == machine.settings.max_attempts
    assert machine.runs(R1)


def test_a_daemon_that_dies_at_its_work_again_and_again_pauses() -> None:
    """A fault that ends the daemon would wear the card and the uplink without end."""
    machine = _start(GOOD)
    machine.feed(on.Offered(R2))
    for _ in range(machine.settings.starts_max + 5):
        while machine.updater.journal.state is not State.FETCHING and machine.updater.journal.retry_at_s == 0:
            machine.step()
        machine.kill()
    assert machine.updater.journal.state is State.WAITING
    assert "times during the work" in machine.updater.journal.why
    machine.run()
    assert machine.runs(R2)


def test_a_restart_that_never_comes_is_not_waited_for_for_ever() -> None:
    """A daemon that dies whenever it asks for the restart would be started again and again."""
    machine = _start(GOOD)
    machine.feed(on.Offered(R2))
    while machine.journal.state is not State.ARMED:
        machine.step()
    for _ in range(machine.settings.starts_max + 1):
        while isinstance(machine.todo[0], do.Note | do.Seed | do.SaveJournal):
            machine.step()
        machine.kill()
    assert machine.updater.journal.state is State.WAITING
    machine.run()
    assert machine.runs(R2)


def test_what_nobody_can_judge_is_neither_kept_nor_condemned() -> None:
    """A site without its uplink would lose a good release, or keep one that broke the network."""
    machine = _start(GOOD)
    machine.silence = True
    machine.feed(on.Offered(R2))
    while not (
        machine.todo and isinstance(machine.todo[0], do.RestartNode) and machine.active != machine.default
    ):
        if not machine.step():
            machine.tick()
    assert machine.journal.quarantine_of(R2.infohash) is None
    machine.silence = False
    machine.run()
    assert machine.runs(R2)


def test_a_release_that_was_healthy_here_is_never_quarantined_by_the_node() -> None:
    """A card that wears out would get the one good release condemned: the way back would be gone."""
    machine = with_release(_start(GOOD), R2)
    assert machine.runs(R2)
    machine.rot_default()  # and from now on it does not come up any more
    machine.behaviours[R2.infohash] = DEAD
    machine.feed(on.Offered(R2))
    machine.run()
    assert machine.runs(R1)
    assert machine.journal.quarantined == ()
    assert machine.trial_boots[R2.infohash] == machine.settings.max_attempts
    assert machine.journal.state is State.REFUSED
    machine.kill()
    machine.run()
    with_release(machine, R2, DEAD)
    assert machine.trial_boots[R2.infohash] == machine.settings.max_attempts, (
        "a start of the daemon gave new tries"
    )
    machine.behaviours[R2.infohash] = GOOD
    machine.trial_boots.clear()
    machine.feed(on.Lift(2, "new card"))
    machine.run()
    assert machine.runs(R2)


def test_an_operator_lifts_a_quarantine() -> None:
    """A release that failed for another's fault could never be installed on the node again."""
    machine = _start(SICK)
    machine.feed(on.Offered(R2))
    machine.run()
    assert machine.journal.state is State.QUARANTINED
    machine.feed(on.Lift(7, "a slip"))
    assert machine.todo[0] == do.Note("lift refused", "release 7 is not quarantined on this node")
    machine.behaviours[R2.infohash] = GOOD
    machine.trial_boots.clear()
    machine.feed(on.Lift(2, "the camera is plugged in again"))
    machine.run()
    assert machine.runs(R2)
    assert machine.journal.quarantined == ()


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
    assert kills <= machine.settings.starts_max
