"""Time for the cores: calendar time at the start, never below the floor, then steady (docs/adr/0005-time.md)."""

from __future__ import annotations

import time

from swarm.trust.clock import FlooredClock

ADJUST_S_MIN = 1.0
"""Differences below it are drift, not a clock that was set; following them would change nothing anyone sees."""


class SteadyTime:
    """`now_s()` never jumps; `wall_offset_s` follows the system clock once it is set."""

    def __init__(self, clock: FlooredClock) -> None:
        self._clock = clock
        self._began_monotonic_s = time.monotonic()
        self._began_s = clock.now_s(time.time(), self._began_monotonic_s)
        self.wall_offset_s = 0.0

    def now_s(self) -> float:
        """Steady seconds; about calendar time, if the clock was right at the start."""
        return self._began_s + time.monotonic() - self._began_monotonic_s

    def signed_time(self, at_s: float, most_s: float) -> None:
        """See `FlooredClock`; `adjust` then follows it."""
        self._clock.signed_time(at_s, most_s)

    def to_persist(self) -> float | None:
        """The floor to keep on disk now; None while it has hardly moved."""
        return self._clock.to_persist(time.time())

    def adjust(self) -> bool:
        """Look at the system clock again; True if it has been set since."""
        offset_s = self._clock.now_s(time.time(), time.monotonic()) - self.now_s()
        if abs(offset_s - self.wall_offset_s) < ADJUST_S_MIN:
            return False
        self.wall_offset_s = offset_s
        return True

    def wall_s(self) -> float:
        """Calendar time, never below the floor."""
        return self.now_s() + self.wall_offset_s

    @property
    def system_s(self) -> float:
        """What the system clock says."""
        return time.time()

    @property
    def clock_ok(self) -> bool:
        """False while the system clock is behind what must be true."""
        return self._clock.clock_ok(time.time())

    @property
    def floor_s(self) -> float:
        """The lower bound of calendar time."""
        return self._clock.floor_s
