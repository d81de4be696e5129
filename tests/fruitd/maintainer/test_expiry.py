"""Expiry as people say it: if this failed, a swarm would expire at once, or on a day nobody meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fruitd.errors import UsageError
from fruitd.maintainer.expiry import DAY_S, LATEST_S, day, parse_expiry

NOW_S = datetime(2026, 11, 21, 10, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ("3y", datetime(2029, 11, 21, tzinfo=UTC)),
        ("1d", datetime(2026, 11, 23, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 21, 22, 0, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_what_people_say_is_the_day_they_mean(words, at):
    """If this failed, people in two places would not agree on the day."""
    assert parse_expiry(words, NOW_S) == int(at.timestamp())


def test_never_and_midnight():
    """If this failed, `never` would mean 1970, or a day that begins now would be pushed on by one."""
    assert parse_expiry("never", NOW_S) == 0
    midnight_s = NOW_S // DAY_S * DAY_S
    assert parse_expiry("1d", midnight_s) == midnight_s + DAY_S


@pytest.mark.parametrize(
    "words",
    [
        "",
        "0d",
        "3",
        "3m",
        "-1d",
        "1.5y",
        "3 y",
        "2026-11-21",
        "1999-01-01",
        "2027-13-01",
        "01/02/2027",
        "9999999d",
        "99999y",
        "٣y",
    ],
)
def test_what_cannot_be_meant_is_refused(words):
    """If this failed, a slip would make a root that has expired already, or one that no calendar shows."""
    with pytest.raises(UsageError):
        parse_expiry(words, NOW_S)


def test_a_clock_that_was_never_set_is_not_counted_from():
    """If this failed, `3y` on a Pi without a clock would mean 1973."""
    with pytest.raises(UsageError, match="clock says 1970-01-01"):
        parse_expiry("3y", 60.0)
    assert parse_expiry("2030-01-31", 60.0) > NOW_S


def test_every_moment_has_words():
    """If this failed, a root of another program's making would end `show` in a traceback."""
    assert day(LATEST_S) == "9999-12-31"
    assert day(2**53 - 1) == day(-1) == "a day beyond the calendar"
