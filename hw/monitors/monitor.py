"""Sets a monitor up and reads it, by an I2C port."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from attrs import frozen

from hw.errors import FrameError, PortError, WrongRequestError
from hw.i2c import ADDRESS_MAX, ADDRESS_MIN, I2cPort
from hw.monitors import registers as r
from hw.monitors.registers import CHIPS, Calibration, Kind, calibration
from hw.readings import Quality, Quantity, Reading, missing


@frozen
class Wiring:
    """What a monitor cannot know about itself."""

    kind: Kind
    address: int
    shunt_ohm: float = 0.1
    """Of each channel. Most breakout boards have 0.1 ohm."""
    amperes_max: float = 3.2


class Monitor:
    """One monitor. `read` gives voltage, current and power for each channel."""

    def __init__(self, port: I2cPort, wiring: Wiring, clock: Callable[[], float] = time.monotonic) -> None:
        """Touches nothing yet.

        Raises:
            WrongRequestError: an address, a shunt or a current that there cannot be.
        """
        if not ADDRESS_MIN <= wiring.address <= ADDRESS_MAX:
            raise WrongRequestError(f"no I2C device has the address {wiring.address:#04x}")
        if not wiring.shunt_ohm > 0:
            raise WrongRequestError(
                f"{wiring.kind.value} at {wiring.address:#04x}: a shunt of {wiring.shunt_ohm} ohm"
            )
        self._port, self._clock = port, clock
        self.wiring = wiring
        self._chip = CHIPS[wiring.kind]
        self._calibration: Calibration | None = (
            calibration(self._chip, wiring.shunt_ohm, wiring.amperes_max) if self._chip.scale else None
        )
        self._ready_s = float("-inf")
        self._last: dict[tuple[Quantity, int], Reading] = {}

    def read(self) -> tuple[Reading, ...]:
        """Voltage, current and power of each channel; stale or without a value where the monitor cannot be read.

        Nothing is raised: a monitor that does not answer is a reading too. One that was just set up has converted nothing yet.
        """
        try:
            if not self._is_set_up():  # new, or it lost its supply, and with it its calibration
                self._set_up()
                self._ready_s = self._clock() + self._chip.conversion_s
            if self._clock() < self._ready_s:
                return self._all_stale()
            channels = [self._read_channel(channel) for channel in range(self._chip.channels)]
        except (PortError, FrameError):
            return self._all_stale()
        for channel, readings in enumerate(channels):
            for reading in readings:
                self._last[reading.quantity, channel] = reading
        return tuple(reading for readings in channels for reading in readings)

    def identify(self) -> None:
        """Make sure that it is what it is said to be, as far as it can tell (an INA219 cannot).

        Raises:
            WrongRequestError: it is another chip. PortError: it does not answer.
        """
        self._is_set_up()
        if self._chip.die is None:
            return
        found = self._get(r.MANUFACTURER), self._get(r.DIE)
        if found != (r.TEXAS_INSTRUMENTS, self._chip.die):
            raise WrongRequestError(
                f"what answers at {self.wiring.address:#04x} is no {self.wiring.kind.value}: "
                f"it calls itself {found[0]:#06x}, {found[1]:#06x}"
            )

    def _is_set_up(self) -> bool:
        if self._get(r.CONFIGURATION) != self._chip.configuration:
            return False
        return self._calibration is None or self._get(r.CALIBRATION) == self._calibration.register

    def _set_up(self) -> None:
        if self._calibration is not None:
            self._put(r.CALIBRATION, self._calibration.register)
        self._put(r.CONFIGURATION, self._chip.configuration)

    def _read_channel(self, channel: int) -> tuple[Reading, ...]:
        chip = self._chip
        shunt = r.shunt_counts(chip, self._get(r.SHUNT_VOLTAGE + 2 * channel))
        bus_register = self._get(r.BUS_VOLTAGE + 2 * channel)
        volts = r.bus_v(chip, bus_register)
        at_limit = abs(shunt) >= chip.shunt_top
        if self._calibration is None:
            amperes = shunt * chip.shunt_lsb_v / self.wiring.shunt_ohm
            watts = volts * amperes
        else:
            amperes = r.signed(self._get(r.CURRENT)) * self._calibration.current_lsb_a
            # The power register has no sign.
            watts = math.copysign(self._get(r.POWER) * self._calibration.power_lsb_w, amperes)
            at_limit = at_limit or self._overflowed(bus_register)
        at_s = self._clock()
        voltage_quality = Quality.GOOD if volts <= chip.bus_v_max else Quality.OUT_OF_RANGE
        current_quality = Quality.OUT_OF_RANGE if at_limit else Quality.GOOD
        both_good = voltage_quality is Quality.GOOD and not at_limit
        power_quality = Quality.GOOD if both_good else Quality.OUT_OF_RANGE
        source = self._source(channel)
        return (
            Reading(Quantity.RAIL_VOLTAGE, volts, voltage_quality, at_s, source),
            Reading(Quantity.RAIL_CURRENT, amperes, current_quality, at_s, source),
            Reading(Quantity.RAIL_POWER, watts, power_quality, at_s, source),
        )

    def _overflowed(self, bus_register: int) -> bool:
        if self._chip.kind is Kind.INA219:
            return bool(bus_register & r.INA219_OVERFLOW)
        return bool(self._get(r.INA226_MASK_ENABLE) & r.INA226_OVERFLOW)

    def _all_stale(self) -> tuple[Reading, ...]:
        now_s = self._clock()
        quantities = (Quantity.RAIL_VOLTAGE, Quantity.RAIL_CURRENT, Quantity.RAIL_POWER)
        return tuple(
            self._last[quantity, channel].grown_stale()
            if (quantity, channel) in self._last
            else missing(quantity, Quality.STALE, now_s, self._source(channel))
            for channel in range(self._chip.channels)
            for quantity in quantities
        )

    def _source(self, channel: int) -> str:
        name = f"{self.wiring.kind.value} {self.wiring.address:#04x}"
        return name if self._chip.channels == 1 else f"{name} channel {channel + 1}"

    def _get(self, register: int) -> int:
        data = self._port.transfer(self.wiring.address, bytes([register]), 2)
        if len(data) != 2:
            raise FrameError(f"a register has 2 bytes, not {len(data)}")
        return int.from_bytes(data, "big")

    def _put(self, register: int, value: int) -> None:
        self._port.transfer(self.wiring.address, bytes([register]) + value.to_bytes(2, "big"), 0)
