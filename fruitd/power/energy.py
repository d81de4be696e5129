"""Joules: watts summed over time, for each bay. What was not measured is not counted."""

from __future__ import annotations

from attrs import define

GAP_S_MAX = 300.0
"""Two readings further apart than this say nothing about the time between them."""


@define
class Meter:
    """Of one bay."""

    joules: float = 0.0
    _watts: float | None = None
    _at_s: float = 0.0
    _since: tuple[float, float] | None = None

    def read(self, watts: float | None, now_s: float) -> None:
        """The bay draws so much now; None where it could not be measured."""
        passed_s = now_s - self._at_s
        if watts is not None and self._watts is not None and 0 <= passed_s <= GAP_S_MAX:
            self.joules += (watts + self._watts) / 2 * passed_s
        self._watts, self._at_s = watts, now_s

    def begin(self, now_s: float) -> None:
        """An update begins."""
        self._since = (self.joules, now_s)

    def end(self, now_s: float) -> tuple[int, int] | None:
        """Joules and seconds since it began; None where that was not seen."""
        if self._since is None:
            return None
        (joules, began_s), self._since = self._since, None
        return round(self.joules - joules), round(now_s - began_s)
