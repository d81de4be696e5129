"""What sweeps found of each bay, folded into a row for every quarter of an hour. Pure.

A row holds times, and integrals over them: rows add up to longer times without loss, and their joules are those of
`energy.Meter`. What could not be measured has no time, and so no mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from fruitd.power.energy import GAP_S_MAX
from fruitd.power.seen import BaySeen
from swarm.power import Place, held

QUARTER_S = 900
"""Longer: a Pi that was off for a moment is not seen in its row. Shorter: more rows for a day, and more writes to an SD card."""


@define
class Mean:
    """Of one quantity over the time for which it is known."""

    known_s: float = 0.0
    area: float = 0.0
    """Its integral over that time: joules, where it is watts."""

    @property
    def value(self) -> float | None:
        """None: it was never known."""
        return self.area / self.known_s if self.known_s > 0 else None

    def add(self, other: Mean) -> None:
        """The time of the other as well."""
        self.known_s += other.known_s
        self.area += other.area


@define
class Sums:
    """Of one bay over a time."""

    watched_s: float = 0.0
    """Its board answered."""
    volts: Mean = field(factory=Mean)
    """While it had power: what a bay gets that is off says nothing of its supply."""
    amperes: Mean = field(factory=Mean)
    """None flow into a bay that is off; watts likewise."""
    watts: Mean = field(factory=Mean)
    powered: Mean = field(factory=Mean)
    beats: Mean = field(factory=Mean)
    """Its mean, and that of `powered`, is a share of the time, from 0 to 1."""
    volts_min: float | None = None
    watts_max: float | None = None

    @property
    def means(self) -> tuple[Mean, ...]:
        """All five, in the order of their fields."""
        return self.volts, self.amperes, self.watts, self.powered, self.beats

    def read(self, volts: float | None, watts: float | None) -> None:
        """Lowest and highest come from readings alone."""
        if volts is not None:
            self.volts_min = volts if self.volts_min is None else min(self.volts_min, volts)
        if watts is not None:
            self.watts_max = watts if self.watts_max is None else max(self.watts_max, watts)

    def add(self, other: Sums) -> None:
        """The time of the other as well."""
        self.watched_s += other.watched_s
        for mine, its in zip(self.means, other.means, strict=True):
            mine.add(its)
        self.read(other.volts_min, other.watts_max)


@frozen
class Row:
    """One bay in one quarter of an hour, or in several."""

    at_s: int
    """When it began, in seconds since 1970. A daemon that starts begins a row of its own."""
    place: Place
    sums: Sums


_Look = tuple[float, tuple[float | None, ...]]
"""Of a bay whose board answered: when, in steady time, and what was found, in the order of `Sums.means`; None: not known."""


class Averages:
    """Of all bays of a stack; holds the running quarter and nothing else.

    Durations are of steady time. Calendar time, which may be set at any moment, says where quarters end, and dates a row when it
    is finished: a clock that is set in the middle of a quarter dates the whole of it.
    """

    def __init__(self) -> None:
        self._began_s = float("-inf")
        self._last: dict[Place, _Look] = {}
        self._sums: dict[Place, Sums] = {}

    def swept(self, bays: Iterable[BaySeen], now_s: float, wall_s: float) -> list[Row]:
        """A sweep has ended, at a steady and a calendar time; the rows of a quarter that is over."""
        looks = {seen.place: (now_s, _values(seen)) for seen in bays if seen.present}
        if not self._last and not self._sums:
            self._began_s = now_s
        rows: list[Row] = []
        ends_s = self._ends_s(wall_s - now_s)
        if now_s >= ends_s:
            self._count(looks, ends_s)
            rows = self.ended(now_s, wall_s)
            self._began_s = max(ends_s, now_s - _into_quarter_s(wall_s))
        self._count(looks, now_s)
        for place, (_, values) in looks.items():
            self._sums.setdefault(place, Sums()).read(values[0], values[2])
        self._last = looks
        return rows

    def ended(self, now_s: float, wall_s: float) -> list[Row]:
        """The rows of the running quarter, which ends with this, if before its time."""
        at_s = held(round(self._began_s + wall_s - now_s)) if self._sums else 0
        rows = [Row(at_s, place, sums) for place, sums in self._sums.items() if sums.watched_s > 0]
        self._sums = {}
        self._began_s = now_s
        return rows

    def _ends_s(self, offset_s: float) -> float:
        """When the running quarter is over, in steady time; at most `QUARTER_S` after it began."""
        return self._began_s + QUARTER_S - _into_quarter_s(self._began_s + offset_s)

    def _count(self, looks: Mapping[Place, _Look], to_s: float) -> None:
        """The time since the last sweep, as far as it is of the running quarter."""
        for place, (at_s, values) in looks.items():
            last_s, last = self._last.get(place, (at_s, values))
            from_s = max(last_s, self._began_s)
            for_s = to_s - from_s
            if for_s <= 0 or not 0 < at_s - last_s <= GAP_S_MAX:
                continue
            sums = self._sums.setdefault(place, Sums())
            sums.watched_s += for_s
            middle = (from_s + for_s / 2 - last_s) / (at_s - last_s)
            for mean, before, after in zip(sums.means, last, values, strict=True):
                if before is not None and after is not None:
                    mean.add(Mean(for_s, (before + (after - before) * middle) * for_s))


def _into_quarter_s(wall_s: float) -> float:
    """Rounded, or the last bit of a sum would make a quarter of no length."""
    return round(wall_s, 3) % QUARTER_S


def _values(seen: BaySeen) -> tuple[float | None, ...]:
    volts, amperes, watts = (figure.good for figure in seen.figures[:3])
    if not seen.powered:
        drawn = None if seen.powered is None else 0.0
        volts, amperes, watts = None, drawn, drawn
    return volts, amperes, watts, _share(seen.powered), _share(seen.heartbeat)


def _share(state: bool | None) -> float | None:
    return None if state is None else float(state)
