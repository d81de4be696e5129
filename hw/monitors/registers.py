"""What the registers of the monitors mean. Pure.

Sources, Texas Instruments: INA219, SBOS448G (August 2008, revised December 2015); INA226, SBOS547A (June 2011, revised August
2015); INA3221, SBOS576B (May 2012, revised March 2016). All registers are 16 bits, high byte first.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from hw.errors import WrongRequestError

CONFIGURATION, SHUNT_VOLTAGE, BUS_VOLTAGE, POWER, CURRENT, CALIBRATION = range(6)
"""Of INA219 and INA226. The INA3221 has shunt and bus voltage of its channels 1, 2, 3 in registers 1 to 6."""
INA226_MASK_ENABLE = 0x06
INA226_OVERFLOW = 1 << 2
MANUFACTURER, DIE = 0xFE, 0xFF
"""Of INA226 and INA3221. The INA219 has no such registers."""
TEXAS_INSTRUMENTS = 0x5449
INA219_OVERFLOW = 1 << 0
"""In its bus voltage register, which holds the voltage from bit 3 upwards."""
_CALIBRATION_MAX = 0xFFFE


class Kind(Enum):
    """Which monitor."""

    INA219 = "ina219"
    INA226 = "ina226"
    INA3221 = "ina3221"


@frozen
class Chip:
    """What differs between them."""

    kind: Kind
    channels: int
    shunt_lsb_v: float
    shunt_shift: int
    """Bits below the shunt voltage in its register."""
    shunt_top: int
    """Largest magnitude of the shunt voltage, in its LSBs: a converter at its limit."""
    bus_lsb_v: float
    bus_shift: int
    bus_v_max: float
    """What it may measure; more, and it is being damaged, or its wires are."""
    scale: float
    """Calibration = scale / (current LSB x shunt); 0 where it does not calculate."""
    power_factor: int
    """Power LSB = this x current LSB."""
    reset: int
    """Configuration after power came."""
    configuration: int
    """Ours: continuous, and averaged."""
    die: int | None
    conversion_s: float
    """Until all channels have been converted once with our configuration, a tenth for the oscillator included."""


CHIPS: dict[Kind, Chip] = {
    # 32 V range, gain 1/8 (320 mV), 8 samples of 12 bits (4.26 ms) each, continuous. Table 5, table 6.
    Kind.INA219: Chip(
        Kind.INA219, 1, 10e-6, 0, 32_000, 4e-3, 3, 26.0, 0.04096, 20, 0x399F, 0x3DDF, None, 0.0094
    ),
    # 16 averages, 1.1 ms each, continuous. Tables 6 to 9.
    Kind.INA226: Chip(
        Kind.INA226, 1, 2.5e-6, 0, 0x7FFF, 1.25e-3, 0, 36.0, 0.00512, 25, 0x4127, 0x4527, 0x2260, 0.039
    ),
    # All channels, 16 averages, 1.1 ms each, continuous. Section 8.6.2.1; it has no current or power registers.
    Kind.INA3221: Chip(
        Kind.INA3221, 3, 40e-6, 3, 0x0FFF, 8e-3, 3, 26.0, 0.0, 0, 0x7127, 0x7527, 0x3220, 0.117
    ),
}


@frozen
class Calibration:
    """What makes INA219 and INA226 calculate in amperes."""

    register: int
    current_lsb_a: float
    """After rounding: what one count of the current register is worth."""
    power_lsb_w: float


def calibration(chip: Chip, shunt_ohm: float, amperes_max: float) -> Calibration:
    """For this shunt and the largest current expected.

    Raises:
        WrongRequestError: no such shunt or current, or none that this chip can be calibrated for.
    """
    if not 0 < shunt_ohm <= 100 or not 0 < amperes_max <= 1000 or not chip.scale:
        raise WrongRequestError(f"{chip.kind.value}: no calibration for {shunt_ohm} ohm and {amperes_max} A")
    # Bit 0 of INA219's register is not used; an even number suits both.
    register = int(chip.scale / (amperes_max / 0x8000 * shunt_ohm)) & ~1
    if not 2 <= register <= _CALIBRATION_MAX:
        limit_a = chip.scale * 0x8000 / shunt_ohm / _CALIBRATION_MAX
        raise WrongRequestError(
            f"{chip.kind.value}: {shunt_ohm} ohm cannot be calibrated for {amperes_max} A (at least {limit_a:.3g} A)"
        )
    current_lsb_a = chip.scale / (register * shunt_ohm)
    return Calibration(register, current_lsb_a, chip.power_factor * current_lsb_a)


def signed(register: int) -> int:
    """Two's complement."""
    return register - 0x10000 if register & 0x8000 else register


def shunt_counts(chip: Chip, register: int) -> int:
    """The shunt voltage in LSBs of the chip."""
    return signed(register) >> chip.shunt_shift


def bus_v(chip: Chip, register: int) -> float:
    """The bus voltage."""
    return (register >> chip.bus_shift) * chip.bus_lsb_v
