"""Time has a floor (design D8): a Pi has no clock battery and may wake up in 1970.

``now = max(system clock, build time, last persisted, newest verified signed time)``. Expiry is judged
against it. It may stop an automatic install; it never stops the acceptance of newer signed metadata.
"""

from __future__ import annotations

PERSIST_STEP_S = 6 * 3600.0
"""The floor is written to disk when it has moved this far. Smaller wears the SD card; larger lets a node
that restarts without network fall back further."""
PERSIST_AHEAD_S_MAX = 366 * 86_400.0
"""A floor taken from the system clock alone is persisted at most this far beyond what was signed or built,
so that a clock that once ran wild cannot make a node believe for ever that everything has expired. Smaller
would lose real time on a node in a swarm that published nothing for that long; larger keeps a wrong year
for longer."""


class FlooredClock:
    """The lower bound of time on one node. All times are seconds since 1970 (UTC).

    Args:
        build_time_s: when this software was built: it cannot run before it was made.
        persisted_s: what `to_persist` last returned and the shell kept; 0 if nothing.
    """

    def __init__(self, build_time_s: float, persisted_s: float = 0.0) -> None:
        self._evidence_s = build_time_s
        self._persisted_s = persisted_s

    @property
    def floor_s(self) -> float:
        """It is certainly not earlier than this."""
        return max(self._evidence_s, self._persisted_s)

    def now_s(self, system_s: float) -> float:
        """The time to judge by, given what the system clock says. Never below the floor."""
        return max(system_s, self.floor_s)

    def clock_ok(self, system_s: float) -> bool:
        """False while the system clock is behind what must be true: it has not been set yet."""
        return system_s >= self.floor_s

    def saw_signed_time(self, at_s: float) -> None:
        """A fact signed by a threshold of role keys says that it was `at_s`.

        Call it for verified facts only.
        """
        self._evidence_s = max(self._evidence_s, at_s)

    def to_persist(self, system_s: float) -> float | None:
        """What to keep on disk now; None while that would save too little to be worth a write."""
        believable_s = min(self.now_s(system_s), self._evidence_s + PERSIST_AHEAD_S_MAX)
        if believable_s < self._persisted_s + PERSIST_STEP_S:
            return None
        self._persisted_s = believable_s
        return believable_s
