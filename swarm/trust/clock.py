"""Time has a floor (design D8): a Pi has no clock battery and may wake up in 1970.

``now = max(system clock, build time, last persisted, newest verified signed time)``. Expiry is judged
against it. It may stop an automatic install; it never stops the acceptance of newer signed metadata.

The signed time is that of the facts which are believed *now*: a time in the future, signed by a key that was abused or by a
maintainer whose clock was wrong, is gone once a newer fact or a newer trust root takes its place. So it is not persisted
either: the records that say it are.
"""

from __future__ import annotations

PERSIST_STEP_S = 6 * 3600.0
"""The floor is written to disk when it has moved this far. Smaller wears the SD card; larger lets a node
that restarts without network fall back further."""
PERSIST_AHEAD_S_MAX = 366 * 86_400.0
"""A floor taken from the system clock alone counts at most this far beyond what was signed or built,
so that a clock that once ran wild cannot make a node believe for ever that everything has expired. Smaller
would lose real time on a node in a swarm that published nothing for that long; larger keeps a wrong year
for longer."""
SIGNED_AHEAD_S_MAX = 10 * 366 * 86_400.0
"""A signed time counts at most this far beyond the build time. Smaller would leave a node that lay in a drawer for longer behind;
larger lets one abused key lead clocks further astray until it is rotated out."""


class FlooredClock:
    """The lower bound of time on one node. All times are seconds since 1970 (UTC).

    Args:
        build_time_s: when this software was built: it cannot run before it was made.
        persisted_s: what `to_persist` last returned and the shell kept; 0 if nothing.
    """

    def __init__(self, build_time_s: float, persisted_s: float = 0.0) -> None:
        self._build_s = build_time_s
        self._persisted_s = persisted_s
        self._signed_s = 0.0
        self._most_s = float("inf")
        self._lived: tuple[float, float, float] | None = None
        """The floor, what has become of it since it was learnt, and the steady time of that."""

    @property
    def _evidence_s(self) -> float:
        return max(self._build_s, min(self._signed_s, self._build_s + SIGNED_AHEAD_S_MAX))

    @property
    def floor_s(self) -> float:
        """It is certainly not earlier than this, as far as is known now."""
        return max(self._evidence_s, min(self._persisted_s, self._evidence_s + PERSIST_AHEAD_S_MAX))

    def now_s(self, system_s: float, steady_s: float | None = None) -> float:
        """The time to judge by, given what the system clock says. Never below the floor.

        `steady_s`: a time of any origin that never jumps. With it the floor goes on from when it was learnt: time would stand
        still where no clock is ever set, and who keeps a node from its peers can keep it from NTP too.
        """
        return max(system_s, self.floor_s if steady_s is None else self._lived_s(steady_s))

    def _lived_s(self, steady_s: float) -> float:
        floor_s = self.floor_s
        lived_s = floor_s
        if self._lived is not None:
            seen_s, before_s, at_s = self._lived
            if floor_s >= seen_s:  # lower: what it was taken from is believed no more, nor what came of it
                lived_s = max(floor_s, min(before_s + steady_s - at_s, self._most_s))
        self._lived = floor_s, lived_s, steady_s
        return lived_s

    def clock_ok(self, system_s: float) -> bool:
        """False while the system clock is behind what must be true: it has not been set yet."""
        return system_s >= self.floor_s

    def signed_time(self, at_s: float, most_s: float = float("inf")) -> None:
        """The newest time that a fact says which is signed by a threshold of role keys and believed now; 0 for none.

        `most_s`: as far as the floor may go by itself, from there only the system clock.
        """
        self._signed_s, self._most_s = at_s, most_s

    def to_persist(self, system_s: float) -> float | None:
        """What to keep on disk now; None while that would save too little to be worth a write."""
        believable_s = min(max(system_s, self._build_s), self._evidence_s + PERSIST_AHEAD_S_MAX)
        if believable_s < self._persisted_s + PERSIST_STEP_S:
            return None
        self._persisted_s = believable_s
        return believable_s
