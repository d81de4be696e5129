"""I2C: what devices are reached by, and smbus2 behind it."""

from __future__ import annotations

from typing import Any, Protocol

from hw.errors import ExtraMissingError, PortError

ADDRESS_MIN, ADDRESS_MAX = 0x08, 0x77
"""Seven-bit addresses that the I2C specification does not reserve."""


class NoAcknowledgeError(PortError):
    """No device answers at this address (it does not acknowledge)."""


class I2cPort(Protocol):
    """One bus."""

    def transfer(self, address: int, written: bytes, read_bytes: int) -> bytes:
        """Write, then read with a repeated start; either may be nothing.

        Raises:
            NoAcknowledgeError: nothing there. PortError: the bus itself fails.
        """
        ...

    def close(self) -> None:
        """Give the bus back."""
        ...


_NO_ACKNOWLEDGE = frozenset({5, 6, 121})
"""EIO, ENXIO, EREMOTEIO: what bus drivers say when a device does not acknowledge."""


class SmbusPort:
    """/dev/i2c-N by smbus2."""

    def __init__(self, bus: int | str) -> None:
        """Raises `ExtraMissingError` without smbus2, `PortError` where the bus cannot be had."""
        try:
            import smbus2
        except ImportError as error:
            raise ExtraMissingError.of("smbus2", "an I2C bus") from error
        self._message: Any = smbus2.i2c_msg
        self.bus = bus
        try:
            self._bus = smbus2.SMBus(bus)
        except (OSError, TypeError) as error:
            raise PortError(
                f"I2C bus {bus} cannot be opened ({error}); is it switched on in config.txt?"
            ) from error

    def transfer(self, address: int, written: bytes, read_bytes: int) -> bytes:
        """See `I2cPort`."""
        messages = [self._message.write(address, written)] if written else []
        if read_bytes:
            messages.append(self._message.read(address, read_bytes))
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            if error.errno in _NO_ACKNOWLEDGE:
                raise NoAcknowledgeError(
                    f"nothing answers at {address:#04x} on I2C bus {self.bus}"
                ) from error
            raise PortError(f"I2C bus {self.bus} fails ({error})") from error
        return bytes(messages[-1]) if read_bytes else b""

    def close(self) -> None:
        """See `I2cPort`."""
        self._bus.close()
