"""Until when something signed is to count, as people say it. Pure.

3y  90d  12h      from now; years and days end at midnight (UTC), so that people can say which day it is
2027-01-31        at the beginning of that day (UTC)
never
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fruitd.errors import UsageError

NEVER = 0
DAY_S = 86_400
YEAR_S = 365 * DAY_S
EARLIEST_S = 1_750_000_000
"""Mid-2025: no clock that was set shows less. A Pi without a clock battery wakes up in 1970."""
LATEST_S = 253_402_300_799
"""The last second of the year 9999: later ones have no date that people could read."""
_UNITS = {"y": YEAR_S, "d": DAY_S, "h": 3600}


def parse_expiry(words: str, now_s: float) -> int:
    """Seconds since 1970, or `NEVER`; raises `UsageError` for what lies in the past or cannot be meant."""
    if words == "never":
        return NEVER
    if match := re.fullmatch(r"([1-9][0-9]{0,5})([ydh])", words):
        if now_s < EARLIEST_S:
            raise UsageError(
                f"this machine's clock says {day(now_s)}, which cannot be: set it, or give a date such as 2030-01-31"
            )
        at_s = int(now_s) + int(match[1]) * _UNITS[match[2]]
        if match[2] != "h":
            at_s = -(-at_s // DAY_S) * DAY_S
    else:
        try:
            at_s = int(datetime.strptime(words, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
        except (ValueError, OverflowError) as error:
            raise UsageError(
                f"{words!r} is no expiry; say 3y, 90d, 12h, a date such as 2030-01-31, or never"
            ) from error
    if not now_s < at_s <= LATEST_S:
        raise UsageError(f"{words!r} would expire on {day(at_s)}; this machine's clock says {day(now_s)}")
    return at_s


def day(at_s: float) -> str:
    """The day of a moment (UTC), such as 2030-01-31."""
    if not 0 <= at_s <= LATEST_S:
        return "a day beyond the calendar"
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
