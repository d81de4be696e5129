"""The range of signed times."""

from __future__ import annotations

TIME_S_MAX = 253_402_300_799
"""The last second of the year 9999: what calendars on every system can still show. Later times are mistakes or attacks."""
