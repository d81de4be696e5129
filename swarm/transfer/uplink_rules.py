"""When a node may use its site's uplink for images: what an operator set, and what the machine's supply allows. Pure.

A node that may not goes on taking from its site; others of the site are its gateway (`swarm.site`). News is not held up: it is a
few hundred bytes.
"""

from __future__ import annotations

from attrs import frozen

DAY_MIN = 24 * 60


@frozen
class Hours:
    """A time of the day, in minutes since midnight; it may pass over midnight."""

    begin_min: int
    end_min: int

    def hold(self, minute: int) -> bool:
        """Whether this minute of the day lies within."""
        if self.begin_min <= self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min

    def __str__(self) -> str:
        return f"{_clock(self.begin_min)}-{_clock(self.end_min)}"


@frozen
class UplinkRules:
    """What an operator set."""

    hours: Hours | None = None
    """None: at any time."""
    quota_bytes: int = 0
    """In a calendar month, both directions together; 0: no limit."""
    metered: bool = False
    """The uplink costs by the byte: never for images."""
    on_battery: bool = False
    """Also while the machine runs on a battery."""


@frozen
class Supply:
    """How the machine is fed, as far as it can tell."""

    on_battery: bool = False
    undervolted: bool = False


def why_not(rules: UplinkRules, supply: Supply, used_bytes: int, minute: int) -> str | None:
    """Why images may not cross the uplink now, in words that stay the same while the reason does; None where they may.

    Args:
        used_bytes: of the quota, this month.
        minute: of the day, local time.
    """
    if rules.metered:
        return "the uplink is metered"
    if rules.quota_bytes and used_bytes >= rules.quota_bytes:
        return "this month's quota is used up"
    if rules.hours is not None and not rules.hours.hold(minute):
        return f"images cross the uplink from {rules.hours} only"
    if supply.on_battery and not rules.on_battery:
        return "the machine runs on its battery"
    if supply.undervolted:
        return "the machine's supply voltage is too low"
    return None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
