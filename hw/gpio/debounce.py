"""When a line has really changed. Pure: edges and time in, stable levels out."""

from __future__ import annotations

SETTLE_S = 0.02
"""A level counts once it has stood so long. A Pi announces itself with 0.2 s; the width of the board's signal is a setting whose
unit is not documented. Larger misses short signals, smaller takes a relay's bounce or a spike for one."""


class Debouncer:
    """Knows the level that a line has settled at."""

    def __init__(self, level: bool, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self.level = level
        self._candidate: bool | None = None
        self._since_s = 0.0

    def edge(self, level: bool, now_s: float) -> bool | None:
        """The line is now at this level (reported again, or after a change); the new level, if an earlier one had settled."""
        settled = self.advance(now_s)
        if level is self.level:
            self._candidate = None
        elif self._candidate is None:
            self._candidate, self._since_s = level, now_s
        return settled

    def advance(self, now_s: float) -> bool | None:
        """The new level, if one has settled since; None where nothing changed."""
        if self._candidate is None or now_s < self._since_s + self._settle_s:
            return None
        self.level, self._candidate = self._candidate, None
        return self.level

    @property
    def due_s(self) -> float | None:
        """When to look again, if no edge comes before."""
        return None if self._candidate is None else self._since_s + self._settle_s
