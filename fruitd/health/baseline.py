"""How the node was before an update: every check and what was heard, kept outside the slots until the trial has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from attrs import asdict, field, frozen

from fruitd.errors import RefusedError
from fruitd.health.hearing import Hearing
from fruitd.health.verdict import Result
from swarm.trust.times import TIME_S_MAX

VERSION = 1
BYTES_MAX = 32 * 1024
CHECKS_MAX = 128
NAME_CHARS_MAX = 200


@frozen
class Baseline:
    """What was so before `infohash` was armed."""

    infohash: str = ""
    checks: Mapping[str, bool] = field(factory=dict)
    hearing: Hearing = field(factory=Hearing)
    clock_s: float = float("inf")
    """What the system clock said, seconds since 1970; infinity where that is not known."""

    def encode(self) -> bytes:
        """A small JSON document."""
        document = {
            "version": VERSION,
            "infohash": self.infohash,
            "checks": dict(self.checks),
            "hearing": asdict(self.hearing),
        }
        if isfinite(self.clock_s):
            document["clock_s"] = self.clock_s
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Baseline:
        """Read a document; raises `RefusedError` on anything `encode` could not have written."""
        try:
            if len(data) > BYTES_MAX:
                raise RefusedError(f"it has {len(data)} bytes, the limit is {BYTES_MAX}")
            value = json.loads(data)
            if not isinstance(value, dict) or value.pop("version", None) != VERSION:
                raise RefusedError(f"it is not of version {VERSION}")
            return cls(
                _text(value.pop("infohash")),
                _checks(value.pop("checks")),
                _hearing(value.pop("hearing")),
                _seconds(value.pop("clock_s", None)),  # software of before did not write it
            )
        except (ValueError, KeyError, TypeError, RecursionError, RefusedError) as error:
            raise RefusedError(f"the baseline of the trial cannot be read: {error}") from error


def checks_before(looks: Sequence[Sequence[Result]]) -> dict[str, bool]:
    """From a few looks in a row: a check that was good in any of them was good. What fails now and then is no fault of old."""
    before: dict[str, bool] = {}
    for results in looks:
        for result in results[:CHECKS_MAX]:
            name = result.name[:NAME_CHARS_MAX]
            before[name] = before.get(name, False) or result.ok
    return before


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > NAME_CHARS_MAX:
        raise ValueError(f"{value!r:.60} is no short text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.60} is not true or false")
    return value


def _seconds(value: Any) -> float:
    if value is None:
        return float("inf")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= TIME_S_MAX:
        raise ValueError("its clock is no time")
    return float(value)


def _checks(value: Any) -> dict[str, bool]:
    if not isinstance(value, dict) or len(value) > CHECKS_MAX:
        raise ValueError("its checks are no bounded table")
    return {_text(name): _flag(ok) for name, ok in value.items()}


def _hearing(value: Any) -> Hearing:
    if not isinstance(value, dict):
        raise TypeError("what was heard is no table")
    gateway = value.pop("gateway", None)
    known = {name: _flag(value[name]) for name in ("mates", "far", "news", "interface")}
    return Hearing(**known, gateway=None if gateway is None else _flag(gateway))
