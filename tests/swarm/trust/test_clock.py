"""The clock's floor: if it failed, a node that wakes up in 1970 would believe old news to be fresh."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm.trust.clock import PERSIST_AHEAD_S_MAX, PERSIST_STEP_S, FlooredClock

BUILD_S = 1_800_000_000.0


def test_a_node_that_wakes_up_in_1970_knows_better():
    """If this failed, a Pi without a clock battery would judge expiry by 1970."""
    clock = FlooredClock(BUILD_S, persisted_s=BUILD_S + 50)
    assert clock.now_s(0.0) == BUILD_S + 50
    assert not clock.clock_ok(0.0)
    clock.saw_signed_time(BUILD_S + 900)
    assert clock.now_s(0.0) == clock.floor_s == BUILD_S + 900
    assert clock.now_s(BUILD_S + 1000) == BUILD_S + 1000
    assert clock.clock_ok(BUILD_S + 1000)


@given(st.lists(st.tuples(st.sampled_from(["signed", "persist"]), st.floats(0, 4e9)), max_size=30))
def test_the_floor_never_goes_back_and_survives_a_restart(steps):
    """If this failed, a reboot would let an attacker replay what had already expired."""
    clock, persisted = FlooredClock(BUILD_S), 0.0
    for what, at_s in steps:
        before = clock.floor_s
        if what == "signed":
            clock.saw_signed_time(at_s)
        else:
            persisted = clock.to_persist(at_s) or persisted
        assert clock.floor_s >= before
        assert clock.now_s(at_s) >= at_s
    assert FlooredClock(BUILD_S, persisted).floor_s <= clock.floor_s
    assert clock.floor_s - FlooredClock(BUILD_S, clock.to_persist(0) or persisted).floor_s < PERSIST_STEP_S


def test_the_floor_is_written_rarely():
    """If this failed, an SD card would be worn by a clock."""
    clock = FlooredClock(BUILD_S)
    writes = [s for s in range(0, 86_400, 60) if clock.to_persist(BUILD_S + s) is not None]
    assert len(writes) == 86_400 / PERSIST_STEP_S


def test_a_clock_that_ran_wild_does_not_poison_the_floor_for_ever():
    """If this failed, one boot in the year 2106 would make everything look expired for eighty years."""
    clock = FlooredClock(BUILD_S)
    assert clock.to_persist(4e9) == BUILD_S + PERSIST_AHEAD_S_MAX
