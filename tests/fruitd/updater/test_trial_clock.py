"""If one of these failed, a clock set in the middle of a trial would pass a bad release or roll a good one back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fruitd.updater.settings import UpdateSettings
from fruitd.updater.trial_clock import GAP_INTERVALS_MAX, TrialClock

SETTINGS = UpdateSettings(
    health_interval_s=10.0, health_sustain_s=60.0, health_samples=5, trial_deadline_s=200.0
)


def test_health_must_last() -> None:
    """A release would be kept at its first good moment."""
    clock = TrialClock(SETTINGS, 0.0)
    for second in range(0, 60, 10):
        clock.sample(True, "well", float(second))
        assert not clock.passed
    clock.sample(True, "well", 60.0)
    assert clock.passed


def test_one_bad_sample_begins_it_anew() -> None:
    """A release that fails now and then would be kept."""
    clock = TrialClock(SETTINGS, 0.0)
    for second in range(0, 60, 10):
        clock.sample(True, "well", float(second))
    clock.sample(False, "a hiccup", 60.0)
    clock.sample(True, "well", 70.0)
    assert not clock.passed
    assert clock.failed_why is None


def test_bad_samples_in_a_row_end_it_with_their_reason() -> None:
    """Nobody would learn why a release was rolled back."""
    clock = TrialClock(SETTINGS, 0.0)
    for second in (0.0, 10.0, 20.0):
        clock.sample(False, "no network", second)
    assert "no network" in str(clock.failed_why)


def test_silence_is_not_health() -> None:
    """A few good samples and then silence would do for a commit."""
    clock = TrialClock(SETTINGS, 0.0)
    for second in range(0, 50, 10):
        clock.sample(True, "well", float(second))
    for second in range(50, 150, 10):
        clock.look(float(second))
    clock.sample(True, "well", 150.0)
    assert "healthy for 70 of 60 s" in clock.words  # 40 s between samples, and 30 s at most for the silence


def test_the_deadline_ends_a_trial_that_never_speaks() -> None:
    """A release whose health cannot be told would stay on trial for ever."""
    clock = TrialClock(SETTINGS, 0.0)
    for second in range(0, 190, 10):
        clock.look(float(second))
        assert clock.failed_why is None
    clock.look(201.0)
    assert clock.failed_why is not None


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans()), min_size=1, max_size=40))
def test_leaps_of_the_clock_count_for_little(leaps: list[tuple[float, bool]]) -> None:
    """NTP sets a Pi's clock from 1970 to today within a trial: that is neither health nor a deadline."""
    clock = TrialClock(SETTINGS, 0.0)
    now_s, streak, bound_s = 0.0, 0, GAP_INTERVALS_MAX * SETTINGS.health_interval_s
    for count, (leap_s, ok) in enumerate(leaps, start=1):
        now_s += leap_s
        clock.sample(ok, "", now_s)
        streak = streak + 1 if ok else 0
        if clock.passed:
            assert streak >= SETTINGS.health_samples
            assert (streak - 1) * bound_s >= SETTINGS.health_sustain_s
        if clock.failed_why is not None and "within" in clock.failed_why:
            assert count * bound_s >= SETTINGS.trial_deadline_s
