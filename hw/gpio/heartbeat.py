"""When the heartbeat line is high. Pure.

The board expects a pulse of 0.2 s every 5.2 s. A daemon that is unhealthy must fall silent as a dead one would, and so must one
that hangs while some thread of it still runs: so health is lent, and runs out.
"""

from __future__ import annotations

PULSE_S = 0.2
PAUSE_S = 5.0
LENT_S_MAX = 30.0
"""Longest time for which health may be lent. Larger keeps a hung daemon's heart beating longer, smaller makes one that is only
slow skip beats."""


class Heartbeat:
    """Beats while healthy, ends a pulse that has begun, and is low at all other times."""

    def __init__(self) -> None:
        self._healthy_until_s = float("-inf")
        self._next_s = float("-inf")
        self._high_since_s: float | None = None
        self._paused_until_s = float("-inf")

    def healthy(self, now_s: float, lent_s: float = LENT_S_MAX) -> None:
        """All is well, and may be taken to be so for a while."""
        self._healthy_until_s = now_s + min(lent_s, LENT_S_MAX)

    def unhealthy(self) -> None:
        """Beat no more until told otherwise."""
        self._healthy_until_s = float("-inf")

    def pause(self, until_s: float) -> None:
        """Skip beats until then, healthy or not: so that somebody can see which bay falls silent."""
        self._paused_until_s = until_s

    def advance(self, now_s: float) -> tuple[bool, float]:
        """Whether the line is high now, and when to look again."""
        if self._high_since_s is not None:
            end_s = self._high_since_s + PULSE_S
            if now_s < end_s:
                return True, end_s
            self._high_since_s = None
            self._next_s = now_s + PAUSE_S
        if now_s >= max(self._next_s, self._paused_until_s) and now_s < self._healthy_until_s:
            self._high_since_s = now_s
            return True, now_s + PULSE_S
        soonest_s = max(self._next_s, self._paused_until_s)
        # Unhealthy: there is nothing to do until told otherwise; looking once a pause is looking often enough.
        return False, soonest_s if soonest_s > now_s else now_s + PAUSE_S
