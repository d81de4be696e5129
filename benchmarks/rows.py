"""One measured promise is one row: name, value, unit, bar, whether it holds, and what it was measured against."""

from __future__ import annotations

import json

from attrs import asdict, frozen


class NotMeasurableError(Exception):
    """This machine lacks something; the message says what to install."""


@frozen
class Row:
    """A promise and what was measured."""

    name: str
    """Stable: scripts compare by it."""
    value: float | None
    """None where it could not be measured; then the row is not ok, and `against` says why."""
    unit: str
    """"x" for ratios."""
    bar: float
    ok: bool
    against: str
    """What the value is relative to, and how it was measured, in words."""


def at_most(name: str, value: float, unit: str, bar: float, against: str) -> Row:
    """A row that holds while the value does not exceed the bar."""
    return Row(name, round(value, 4), unit, bar, value <= bar, against)


def at_least(name: str, value: float, unit: str, bar: float, against: str) -> Row:
    """A row that holds while the value reaches the bar."""
    return Row(name, round(value, 4), unit, bar, value >= bar, against)


def not_measured(name: str, unit: str, bar: float, why: str) -> Row:
    """One row of several that stand for themselves: the others are measured all the same."""
    return Row(name, None, unit, bar, False, f"not measured: {why}")


def as_json(row: Row) -> str:
    """One line."""
    return json.dumps(asdict(row), ensure_ascii=False)


def as_text(row: Row) -> str:
    """One line of a table for people; `HEADING` stands above it."""
    verdict = "ok" if row.ok else "MISSED"
    value = "-" if row.value is None else f"{row.value:g} {row.unit}"
    bar = f"{row.bar:g} {row.unit}"
    return f"{row.name:<34} {value:>14} {bar:>14}  {verdict:<6}  {row.against}"


HEADING = f"{'what':<34} {'measured':>14} {'bar':>14}  {'':<6}  against"
