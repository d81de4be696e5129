"""Counts of a board's converter to volts, amperes and watts, by hardware version.

The factors are those of the resistors that the boards are documented to have; boards differ by their tolerances. Powers are
products of two counts. That the power of a bay goes by the bay's own divider is our reading: on version 3 all 5 V dividers are
the same, on version 2 the original client used that of the rail for powers, a tenth off its own bay voltages.

Source: fruit-testbed/PiStack-interface, pistack/conversions.py at 2794e88, and its README for versions 2 and 3 (facts, not code).
"""

from __future__ import annotations

from collections.abc import Callable

from hw.readings import Quantity

COUNTS_MAX = 65535
_V_PER_COUNT = 3.3 / COUNTS_MAX
_INPUT_DIVIDER = (100_000 + 12_000) / 12_000
_INPUT_A_PER_V = 1 / 20 / 0.039
"""Gain 20 over 0.039 ohm."""
_RAIL_DIVIDER = (3_300 + 3_900) / 3_900
_BAY_DIVIDERS = {2: (2_000 + 3_000) / 3_000, 3: _RAIL_DIVIDER}
"""By hardware version. Of others nothing is known, and nothing is guessed."""
_BAY_A_PER_V = 100 / (0.05 * 3_300)
"""ZXCT1009 over 0.05 ohm, into 3.3 kilohm."""

_FACTORS: dict[Quantity, Callable[[float | None], float | None]] = {
    Quantity.INPUT_VOLTAGE: lambda _: _V_PER_COUNT * _INPUT_DIVIDER,
    Quantity.INPUT_CURRENT: lambda _: _V_PER_COUNT * _INPUT_A_PER_V,
    Quantity.INPUT_POWER: lambda _: _V_PER_COUNT**2 * _INPUT_DIVIDER * _INPUT_A_PER_V,
    Quantity.RAIL_VOLTAGE: lambda _: _V_PER_COUNT * _RAIL_DIVIDER,
    Quantity.RAIL_POWER: lambda bay: bay and _V_PER_COUNT**2 * bay * _BAY_A_PER_V,
    Quantity.BAY_VOLTAGE: lambda bay: bay and _V_PER_COUNT * bay,
    Quantity.BAY_CURRENT: lambda _: _V_PER_COUNT * _BAY_A_PER_V,
    Quantity.BAY_POWER: lambda bay: bay and _V_PER_COUNT**2 * bay * _BAY_A_PER_V,
}


def per_count(quantity: Quantity, hardware_version: int) -> float | None:
    """What one count is worth, in the quantity's unit; 1 for states and counts, None where no conversion is known."""
    factor = _FACTORS.get(quantity)
    return 1.0 if factor is None else factor(_BAY_DIVIDERS.get(hardware_version))
