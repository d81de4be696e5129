"""What is kept of sweeps: if it failed, people would read watts and hearts that never were, or miss those that were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.power.averages import QUARTER_S, Averages, Row, Sums
from fruitd.power.energy import GAP_S_MAX, Meter
from fruitd.power.seen import NOTHING, BaySeen
from swarm.power import FIGURES, Figure, Place, Worth
from tests.fruitd.power.bench import WALL_S, figures

PLACE = Place(0, 0)
BEGINS_S = 1000.0
"""Steady time of the first sweep; the calendar says `WALL_S` then, when a quarter begins."""
assert WALL_S % QUARTER_S == 0


def bay(place: Place = PLACE, *, bay_w: float = 2.0, **seen: Any) -> BaySeen:
    return BaySeen(
        place,
        **{"present": True, "powered": True, "heartbeat": True, "figures": figures(bay_w=bay_w), **seen},
    )


class Sweeps:
    """Sweeps one after the other, and what became of them."""

    def __init__(self) -> None:
        self.averages = Averages()
        self.now_s = BEGINS_S
        self.offset_s = WALL_S - BEGINS_S
        self.rows: list[Row] = []

    @property
    def wall_s(self) -> float:
        return self.now_s + self.offset_s

    def sweep(self, *bays: BaySeen, passed_s: float = 0.0) -> list[Row]:
        self.now_s += passed_s
        rows = self.averages.swept(bays, self.now_s, self.wall_s)
        self.rows += rows
        return rows

    def end(self) -> list[Row]:
        self.rows += self.averages.ended(self.now_s, self.wall_s)
        return self.rows


def in_all(rows: list[Row], place: Place = PLACE) -> Sums:
    sums = Sums()
    for row in rows:
        if row.place == place:
            sums.add(row.sums)
    return sums


def test_a_quarter_of_an_hour_becomes_one_row_for_each_bay() -> None:
    """The history would have holes, or ten thousand rows a day."""
    sweeps = Sweeps()
    both = (bay(), bay(Place(0, 1), bay_w=4.0))
    sweeps.sweep(*both)
    for _ in range(4 * 15):
        sweeps.sweep(*both, passed_s=60.0)
    assert [(row.at_s - WALL_S, row.place.bay) for row in sweeps.rows] == [
        (QUARTER_S * quarter, number) for quarter in range(4) for number in range(2)
    ]
    for row in sweeps.rows:
        assert row.sums.watched_s == pytest.approx(QUARTER_S)
        assert row.sums.watts.value == pytest.approx(2.0 if row.place.bay == 0 else 4.0)
        assert (row.sums.powered.value, row.sums.beats.value) == (1.0, 1.0)
        assert (row.sums.volts.value, row.sums.volts_min) == (pytest.approx(5.05), 5.05)


def test_figures_are_weighted_by_time() -> None:
    """A peak of a second would count as much as the hour around it."""
    sweeps = Sweeps()
    for bay_w, passed_s in ((1.0, 0.0), (1.0, 297.0), (9.0, 2.0), (1.0, 1.0), (1.0, 299.0)):
        sweeps.sweep(bay(bay_w=bay_w), passed_s=passed_s)
    (row,) = sweeps.end()
    assert row.sums.watts.value == pytest.approx((297 + 10 + 5 + 299) / 599)
    assert row.sums.watts_max == 9.0


def test_what_was_not_measured_is_nothing_and_not_zero() -> None:
    """A broken sensor would show a Pi that draws nothing; a board that is not read, a heart that stands still."""
    doubtful = (Figure(9999, Worth.STALE), Figure(9999, Worth.OUT_OF_RANGE), Figure(), *NOTHING[3:])
    assert len(doubtful) == len(FIGURES)
    sweeps = Sweeps()
    for _ in range(3):
        sweeps.sweep(bay(figures=doubtful, heartbeat=None), passed_s=60.0)
    (row,) = sweeps.end()
    sums = row.sums
    assert (sums.watched_s, sums.powered.value) == (120.0, 1.0)
    nothing = (sums.volts.value, sums.amperes.value, sums.watts.value, sums.beats.value)
    assert (nothing, sums.volts_min, sums.watts_max) == ((None,) * 4, None, None)


def test_a_bay_that_is_off_draws_nothing_and_says_nothing_of_its_volts() -> None:
    """Every bay that was ever off would look as if its supply had failed."""
    sweeps = Sweeps()
    for _ in range(2):
        sweeps.sweep(bay(), passed_s=100.0)
    for _ in range(2):
        sweeps.sweep(bay(powered=False, heartbeat=False, figures=figures(0.02, 0.0)), passed_s=100.0)
    (row,) = sweeps.end()
    assert row.sums.volts_min == 5.05
    assert row.sums.volts.known_s == 100.0
    assert row.sums.watts.area == pytest.approx(200.0 + 100.0)
    assert row.sums.powered.value == pytest.approx(0.5)
    assert row.sums.beats.value == pytest.approx(0.5)


@pytest.mark.parametrize("passed_s", [GAP_S_MAX + 1, 5 * QUARTER_S + 7, 1_000_000.0])
def test_a_gap_counts_for_nothing(passed_s: float) -> None:
    """A bus that was away for a day would have measured that day."""
    sweeps = Sweeps()
    for gap_s in (0.0, 60.0, passed_s, 60.0):
        sweeps.sweep(bay(), passed_s=gap_s)
    rows = sweeps.end()
    assert in_all(rows).watched_s == 120.0
    assert [row.sums.watched_s for row in rows] == ([120.0] if passed_s < QUARTER_S else [60.0, 60.0])
    assert rows[0].at_s == WALL_S
    assert rows[-1].at_s >= WALL_S + (passed_s - QUARTER_S if len(rows) > 1 else 0)


def test_a_board_that_does_not_answer_has_no_rows() -> None:
    """Fourteen boards that do not exist would fill the disk; one that went would draw power for ever."""
    sweeps = Sweeps()
    gone = BaySeen(Place(7, 0), present=False)
    for _ in range(60):
        sweeps.sweep(gone, bay(present=False, powered=None, heartbeat=None, figures=NOTHING), passed_s=60.0)
    assert sweeps.end() == []
    sweeps.sweep(bay(), gone, passed_s=60.0)
    sweeps.sweep(bay(), gone, passed_s=60.0)
    sweeps.sweep(gone, passed_s=60.0)
    sweeps.sweep(bay(), gone, passed_s=60.0)
    assert [(row.place, row.sums.watched_s) for row in sweeps.end()] == [(PLACE, 60.0)]


def test_a_clock_that_is_set_dates_the_running_quarter() -> None:
    """A Pi that starts in 1970 would keep its first quarter of an hour there, as the oldest."""
    sweeps = Sweeps()
    sweeps.offset_s = 10.0 - BEGINS_S
    for _ in range(5):
        sweeps.sweep(bay(), passed_s=60.0)
    sweeps.offset_s = WALL_S + 450 - sweeps.now_s
    for _ in range(20):
        sweeps.sweep(bay(), passed_s=60.0)
    rows = sweeps.end()
    assert [row.at_s - WALL_S for row in rows] == [210, 900]
    assert [round(row.sums.watched_s) for row in rows] == [240 + 450, 750]


sweep = st.tuples(
    st.one_of(st.floats(0.0, 70.0), st.floats(0.0, 4000.0)),
    st.sampled_from([True, True, True, False, None]),
    st.sampled_from([True, True, True, False]),
    st.integers(0, 20_000),
    st.sampled_from([Worth.GOOD, Worth.GOOD, Worth.STALE, Worth.NO_SENSOR]),
    st.one_of(st.just(0.0), st.just(0.0), st.floats(-3e6, 3e6)),
)


@settings(max_examples=60)
@given(st.floats(0.0, 4e9), st.lists(sweep, max_size=120))
def test_rows_hold_the_joules_of_the_meter_whatever_the_clock_does(began_s: float, swept: list[Any]) -> None:
    """What the history says an update cost would not be what the picture of the stack says."""
    sweeps, meter = Sweeps(), Meter()
    sweeps.offset_s = began_s - BEGINS_S
    for passed_s, powered, present, milliwatts, worth, jump_s in swept:
        sweeps.offset_s += jump_s
        seen = bay(
            powered=powered if present else None,
            present=present,
            figures=(Figure(5000, worth), Figure(400, worth), Figure(milliwatts, worth), *NOTHING[3:]),
        )
        sweeps.sweep(seen, passed_s=passed_s)
        watts = seen.figures[2].good if seen.powered else None
        meter.read(0.0 if seen.powered is False else watts, sweeps.now_s)
    rows = sweeps.end()
    assert in_all(rows).watts.area == pytest.approx(meter.joules, rel=1e-6, abs=1e-3)
    assert all(row.at_s >= 0 for row in rows)
    for row in rows:
        sums = row.sums
        assert 0 < sums.watched_s <= QUARTER_S + 0.01
        assert all(mean.known_s <= sums.watched_s + 0.01 for mean in sums.means)
        assert all(-1e-6 <= share.value <= 1 + 1e-6 for share in sums.means[3:] if share.value is not None)
        assert sums.watts.value is None or sums.watts.value <= 20.0 + 1e-6
