"""The clock's floor: if it failed, a node that wakes up in 1970 would believe old news to be fresh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.trust.clock import PERSIST_AHEAD_S_MAX, PERSIST_STEP_S, SIGNED_AHEAD_S_MAX, FlooredClock
from swarm.trust.times import TIME_S_MAX

BUILD_S = 1_800_000_000.0
YEAR_2038_S = 2.0**31


def test_a_node_that_wakes_up_in_1970_knows_better():
    """If this failed, a Pi without a clock battery would judge expiry by 1970."""
    clock = FlooredClock(BUILD_S, persisted_s=BUILD_S + 50)
    assert clock.now_s(0.0) == BUILD_S + 50
    assert not clock.clock_ok(0.0)
    clock.signed_time(BUILD_S + 900)
    assert clock.now_s(0.0) == clock.floor_s == BUILD_S + 900
    assert clock.now_s(BUILD_S + 1000) == BUILD_S + 1000
    assert clock.clock_ok(BUILD_S + 1000)


@given(st.lists(st.floats(0, 4e9), max_size=30))
def test_what_passes_without_news_never_takes_the_floor_back_and_survives_a_restart(systems):
    """If this failed, a reboot would let an attacker replay what had already expired."""
    clock, persisted = FlooredClock(BUILD_S), 0.0
    for system_s in systems:
        before = clock.floor_s
        persisted = clock.to_persist(system_s) or persisted
        assert clock.floor_s >= before
        assert clock.now_s(system_s) >= system_s
        believed_s = min(max(system_s, BUILD_S), BUILD_S + PERSIST_AHEAD_S_MAX)
        assert FlooredClock(BUILD_S, persisted).floor_s > believed_s - PERSIST_STEP_S


def test_the_floor_is_written_rarely():
    """If this failed, an SD card would be worn by a clock."""
    clock = FlooredClock(BUILD_S)
    writes = [s for s in range(0, 86_400, 60) if clock.to_persist(BUILD_S + s) is not None]
    assert len(writes) == 86_400 / PERSIST_STEP_S


def test_a_clock_that_ran_wild_does_not_poison_the_floor_for_ever():
    """If this failed, one boot in the year 2106 would make everything look expired for eighty years."""
    clock = FlooredClock(BUILD_S)
    assert clock.to_persist(4e9) == BUILD_S + PERSIST_AHEAD_S_MAX


def test_a_future_that_an_abused_key_signed_ends_when_it_is_believed_no_more():
    """If this failed, one stolen key could stop the installs of a swarm for ever, even after it was rotated out."""
    clock = FlooredClock(BUILD_S)
    clock.signed_time(float(TIME_S_MAX))
    assert clock.floor_s == BUILD_S + SIGNED_AHEAD_S_MAX
    persisted = clock.to_persist(BUILD_S + 86_400.0)
    clock.signed_time(BUILD_S + 7.0)
    assert clock.now_s(BUILD_S + 86_400.0) == BUILD_S + 86_400.0
    assert clock.clock_ok(BUILD_S + 86_400.0)
    again = FlooredClock(BUILD_S, persisted)
    again.signed_time(BUILD_S + 7.0)
    assert again.floor_s == BUILD_S + 86_400.0


def test_what_was_persisted_under_a_false_future_is_cut_once_that_is_gone():
    """If this failed, a wild system clock and a stolen key together would do what neither can alone."""
    clock = FlooredClock(BUILD_S)
    clock.signed_time(float(TIME_S_MAX))
    persisted = clock.to_persist(1e12)
    again = FlooredClock(BUILD_S, persisted)
    assert again.floor_s == BUILD_S + PERSIST_AHEAD_S_MAX


@pytest.mark.parametrize("at_s", [YEAR_2038_S - 1, YEAR_2038_S, YEAR_2038_S + 1, 2.0**32, 2.0**32 + 1])
def test_2038_and_2106_are_times_like_others(at_s):
    """If this failed, every node would stop believing anything on one January morning."""
    clock = FlooredClock(at_s - 86_400.0)
    clock.signed_time(at_s)
    assert clock.now_s(0.0) == at_s
    assert clock.now_s(at_s + 1.0) == at_s + 1.0
    assert clock.to_persist(at_s + 7 * 3600.0) == at_s + 7 * 3600.0


def test_time_goes_on_where_no_clock_is_ever_set():
    """If this failed, who keeps a node from its peers and from NTP would keep it from noticing that its news is old."""
    clock = FlooredClock(BUILD_S)
    clock.signed_time(BUILD_S + 900)
    for minute in range(0, 86_400 * 30, 60):
        assert clock.now_s(float(minute), 5.0 + minute) == BUILD_S + 900 + minute
    assert clock.now_s(BUILD_S + 1e8, 86_400.0 * 30) == BUILD_S + 1e8
    clock.signed_time(BUILD_S + 86_400 * 31)
    assert clock.now_s(0.0, 86_400.0 * 30) == BUILD_S + 86_400 * 31


def test_time_that_went_on_from_a_false_future_ends_with_it_and_never_passes_its_bound():
    """If this failed, what an abused key began would go on after the key was rotated out, or make a root expire."""
    clock = FlooredClock(BUILD_S)
    clock.signed_time(BUILD_S + 1e6, BUILD_S + 1e6 + 50)
    assert clock.now_s(0.0, 1000.0) == BUILD_S + 1e6
    assert clock.now_s(0.0, 1040.0) == BUILD_S + 1e6 + 40
    assert clock.now_s(0.0, 9000.0) == BUILD_S + 1e6 + 50
    clock.signed_time(BUILD_S + 7.0)
    assert clock.now_s(0.0, 9001.0) == BUILD_S + 7.0
    assert clock.now_s(0.0, 9003.0) == BUILD_S + 9.0
