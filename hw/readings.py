"""One measured value, whatever measured it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import evolve, frozen


class Unit(Enum):
    """What values are in. `ONE` is for states (0 or 1) and counts."""

    VOLT = "V"
    AMPERE = "A"
    WATT = "W"
    CELSIUS = "°C"
    SECOND = "s"
    ONE = "1"


class Quantity(Enum):
    """What is measured, with its unit. The names are stable: JSON and history use them."""

    INPUT_VOLTAGE = "input_voltage", Unit.VOLT
    INPUT_CURRENT = "input_current", Unit.AMPERE
    INPUT_POWER = "input_power", Unit.WATT
    RAIL_VOLTAGE = "rail_voltage", Unit.VOLT
    """Of a board's 5 V regulator, or the bus voltage at a monitor."""
    RAIL_CURRENT = "rail_current", Unit.AMPERE
    RAIL_POWER = "rail_power", Unit.WATT
    BAY_VOLTAGE = "bay_voltage", Unit.VOLT
    BAY_CURRENT = "bay_current", Unit.AMPERE
    BAY_POWER = "bay_power", Unit.WATT
    POWERED = "powered", Unit.ONE
    HEARTBEAT = "heartbeat", Unit.ONE
    """1 where the board has no lost heartbeat to report."""
    BOARD_ERRORS = "board_errors", Unit.ONE
    BOARD_BOOTS = "board_boots", Unit.ONE
    UNDERVOLTAGE = "undervoltage", Unit.ONE
    UNDERVOLTAGE_SINCE_BOOT = "undervoltage_since_boot", Unit.ONE
    FREQUENCY_CAPPED = "frequency_capped", Unit.ONE
    FREQUENCY_CAPPED_SINCE_BOOT = "frequency_capped_since_boot", Unit.ONE
    THROTTLED = "throttled", Unit.ONE
    THROTTLED_SINCE_BOOT = "throttled_since_boot", Unit.ONE
    SOFT_TEMPERATURE_LIMIT = "soft_temperature_limit", Unit.ONE
    SOFT_TEMPERATURE_LIMIT_SINCE_BOOT = "soft_temperature_limit_since_boot", Unit.ONE
    TEMPERATURE = "temperature", Unit.CELSIUS
    UPTIME = "uptime", Unit.SECOND

    @property
    def label(self) -> str:
        """The stable name."""
        return self.value[0]

    @property
    def unit(self) -> Unit:
        """What its values are in."""
        return self.value[1]


class Quality(Enum):
    """How far a value may be relied on."""

    GOOD = "good"
    STALE = "stale"
    """It could not be read this time. The value is the last one that could, or None where there never was one."""
    OUT_OF_RANGE = "out of range"
    """The sensor was at its limit, or told what cannot be: shown, never to be acted on."""
    NO_SENSOR = "no sensor"
    """This hardware or firmware cannot measure it, or not in a way whose conversion is known. The value is None."""


@frozen
class Reading:
    """A value, and everything needed to judge it."""

    quantity: Quantity
    value: float | None
    quality: Quality
    at_s: float
    """When it was measured, on the clock of whoever asked: the time of the value, not of the attempt."""
    source: str
    """Where from, e.g. `pistack 0x04 bay 1`, `ina219 0x40`, `rpi_volt`."""

    @property
    def unit(self) -> Unit:
        """What the value is in."""
        return self.quantity.unit

    @property
    def good(self) -> bool:
        """True where the value may be acted on."""
        return self.quality is Quality.GOOD

    def grown_stale(self) -> Reading:
        """The same value, which could not be read again."""
        return evolve(self, quality=Quality.STALE) if self.quality is not Quality.NO_SENSOR else self

    def as_json(self, now_s: float) -> dict[str, Any]:
        """Stable schema (docs/hardware.md); ages, because clocks of buses are nobody else's."""
        return {
            "quantity": self.quantity.label,
            "value": None if self.value is None else round(self.value, 4),
            "unit": self.unit.value,
            "quality": self.quality.value,
            "age_s": round(max(0.0, now_s - self.at_s), 3),
            "source": self.source,
        }

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.quantity.label}: {self.quality.value}"
        unit = "" if self.unit is Unit.ONE else f" {self.unit.value}"
        doubt = "" if self.good else f" ({self.quality.value})"
        return f"{self.quantity.label}: {self.value:.4g}{unit}{doubt}"


def missing(quantity: Quantity, quality: Quality, at_s: float, source: str) -> Reading:
    """A reading without a value; `quality` says why."""
    return Reading(quantity, None, quality, at_s, source)
