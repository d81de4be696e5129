"""Boards and power monitors behind the I2C port. Pure: time is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hw.emulator.bus import ANSWER_S
from hw.emulator.stack import EmulatedStack
from hw.errors import PortError
from hw.i2c import NoAcknowledgeError
from hw.monitors import registers as r
from hw.monitors.registers import CHIPS, Kind
from hw.pistack.i2c_wire import BASE


class Device(Protocol):
    """What is at one address."""

    def written(self, data: bytes) -> None:
        """The host wrote this."""
        ...

    def read(self, size: int) -> bytes:
        """The host reads so much."""
        ...


class EmulatedI2c:
    """An `I2cPort` with devices on it."""

    def __init__(self) -> None:
        self.devices: dict[int, Device] = {}
        self.broken = False
        """The bus is stuck: every transfer fails."""

    def transfer(self, address: int, written: bytes, read_bytes: int) -> bytes:
        """See `I2cPort`."""
        if self.broken:
            raise PortError("the emulated I2C bus is stuck")
        device = self.devices.get(address)
        if device is None:
            raise NoAcknowledgeError(f"nothing answers at {address:#04x} on the emulated bus")
        if written:
            device.written(written)
        return device.read(read_bytes) if read_bytes else b""

    def close(self) -> None:
        """See `I2cPort`."""


class BoardOnI2c:
    """One board of a stack, by the convention of hw/pistack/i2c_wire.py."""

    def __init__(self, stack: EmulatedStack, address: int, clock: Callable[[], float]) -> None:
        self._stack, self._address, self._clock = stack, address, clock
        self._reply = b""
        self._ready_s = 0.0

    def written(self, data: bytes) -> None:
        """See `Device`."""
        now_s = self._clock()
        self._stack.advance(now_s)
        self._reply = self._stack.board(self._address).answer(data) or b""
        self._ready_s = now_s + ANSWER_S

    def read(self, size: int) -> bytes:
        """See `Device`."""
        if self._clock() < self._ready_s:
            return b"\xff" * size
        data, self._reply = self._reply[:size], self._reply[size:]
        return data.ljust(size, b"\xff")


def boards_on_i2c(stack: EmulatedStack, clock: Callable[[], float]) -> EmulatedI2c:
    """All boards of a stack on one bus."""
    bus = EmulatedI2c()
    for board in stack.boards:
        bus.devices[BASE + board.switches] = BoardOnI2c(stack, board.address, clock)
    return bus


class EmulatedMonitor:
    """INA219, INA226 or INA3221, with what it measures told by `volts` and `amperes` (of a channel)."""

    def __init__(
        self, kind: Kind, shunt_ohm: float, volts: Callable[[int], float], amperes: Callable[[int], float]
    ) -> None:
        self._chip = CHIPS[kind]
        self._shunt_ohm, self._volts, self._amperes = shunt_ohm, volts, amperes
        self._pointer = 0
        self.registers: dict[int, int] = {}
        self.lose_power()

    def lose_power(self) -> None:
        """For a moment: everything is forgotten."""
        self.registers = {r.CONFIGURATION: self._chip.reset}

    def written(self, data: bytes) -> None:
        """See `Device`."""
        self._pointer = data[0]
        if len(data) == 3:
            value = int.from_bytes(data[1:], "big")
            if self._pointer == r.CONFIGURATION and value & 0x8000:
                self.lose_power()
            elif self._pointer in (r.CONFIGURATION, r.CALIBRATION):
                self.registers[self._pointer] = value

    def read(self, size: int) -> bytes:
        """See `Device`."""
        return (self._value(self._pointer) & 0xFFFF).to_bytes(2, "big")[:size].ljust(size, b"\xff")

    def _value(self, register: int) -> int:
        chip = self._chip
        if register in self.registers:
            return self.registers[register]
        if register in (r.MANUFACTURER, r.DIE) and chip.die is not None:
            return chip.die if register == r.DIE else r.TEXAS_INSTRUMENTS
        if chip.channels > 1:
            channel, is_bus = (register - 1) // 2, register % 2 == 0
            if not 0 <= channel < chip.channels:
                return 0
            return self._bus(channel) if is_bus else self._shunt(channel) << chip.shunt_shift
        overflow = abs(self._shunt(0) * self.registers.get(r.CALIBRATION, 0)) >> self._shift > 0x7FFF
        match register:
            case r.SHUNT_VOLTAGE:
                return self._shunt(0)
            case r.BUS_VOLTAGE:
                return self._bus(0) | (overflow if chip.kind is Kind.INA219 else 0)
            case r.CURRENT:
                return self._current()
            case r.POWER:
                divisor = 5000 if chip.kind is Kind.INA219 else 20000
                return abs(self._current()) * (self._bus(0) >> chip.bus_shift) // divisor
            case r.INA226_MASK_ENABLE if chip.kind is Kind.INA226:
                return r.INA226_OVERFLOW if overflow else 0
            case _:
                return 0

    @property
    def _shift(self) -> int:
        return 12 if self._chip.kind is Kind.INA219 else 11

    def _current(self) -> int:
        # Equations of the data sheets: shunt x calibration / 4096 (INA219), / 2048 (INA226).
        counts = int(self._shunt(0) * self.registers.get(r.CALIBRATION, 0) / (1 << self._shift))
        return max(-0x8000, min(0x7FFF, counts))

    def _shunt(self, channel: int) -> int:
        counts = round(self._amperes(channel) * self._shunt_ohm / self._chip.shunt_lsb_v)
        return max(-self._chip.shunt_top, min(self._chip.shunt_top, counts))

    def _bus(self, channel: int) -> int:
        counts = max(0, round(self._volts(channel) / self._chip.bus_lsb_v))
        return min(counts, 0xFFFF >> self._chip.bus_shift) << self._chip.bus_shift
