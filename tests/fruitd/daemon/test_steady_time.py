"""The daemon's calendar time, on clocks that are set late or never."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fruitd.daemon import steady_time
from fruitd.daemon.steady_time import SteadyTime
from swarm.trust.clock import FlooredClock

BUILD_S = 1_800_000_000.0


def test_calendar_time_goes_on_without_a_clock_and_follows_one_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that woke up in 1970 and is kept from NTP would live in one minute for ever, and never find its news old."""
    clock = SimpleNamespace(up_s=100.0, ahead_s=0.0)
    fake = SimpleNamespace(time=lambda: clock.up_s + clock.ahead_s, monotonic=lambda: clock.up_s)
    monkeypatch.setattr(steady_time, "time", fake)
    time = SteadyTime(FlooredClock(BUILD_S))
    for _ in range(100):
        clock.up_s += 60.0
        assert not time.adjust()
    assert time.wall_s() == BUILD_S + 6000.0
    assert not time.clock_ok
    clock.ahead_s = BUILD_S + 1e6
    assert time.adjust()
    assert time.wall_s() == clock.up_s + clock.ahead_s
