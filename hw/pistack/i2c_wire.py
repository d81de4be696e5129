"""The same frames over I2C, for stacks wired so.

No public code of the boards speaks I2C, so this is a convention of ours and not tried on hardware: a board with switches n is at
0x10 + n; a write is a request; a read gives the reply from where the last read stopped, and 0xFF while there is none yet (no
reply begins with it). docs/hardware.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hw.i2c import I2cPort, NoAcknowledgeError
from hw.pistack.line import Timing

BASE = 0x10
"""Of the addresses: the power monitors are at 0x40 to 0x4f, other devices mostly above 0x20."""
POLL_S = 0.002
"""Between looks for a reply. Larger delays each of 17 replies a board, smaller keeps the bus busy."""
_NOT_YET = 0xFF
TIMING = Timing(byte_s=9 / 100_000)
"""Eight bits and an acknowledgement at 100 kHz."""


class I2cWire:
    """A `Wire` on an I2C bus."""

    def __init__(
        self,
        port: I2cPort,
        base: int = BASE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._port = port
        self._base = base
        self._clock, self._sleep = clock, sleep
        self._address = base

    def now_s(self) -> float:
        """Monotonic seconds, unless told otherwise."""
        return self._clock()

    def send(self, frame: bytes) -> bytes:
        """See `Wire`. A board that is not there is silence, as on the serial bus. What others ask is not heard on I2C."""
        self._address = self._base + (frame[1] & 0x0F)
        self._begun = False
        try:
            self._port.transfer(self._address, frame, 0)
        except NoAcknowledgeError:
            return b""
        return b""

    def receive(self, wanted_bytes: int, earliest_s: float, until_s: float) -> bytes:
        """See `Wire`. A device says nothing unless it is read: where nothing is expected there is nothing to read."""
        if not wanted_bytes:
            self._sleep(max(0.0, until_s - self._clock()))
            return b""
        while True:
            data = self._look(wanted_bytes)
            left_s = until_s - self._clock()
            if data or left_s <= 0:
                return data
            self._sleep(min(POLL_S, left_s))

    def close(self) -> None:
        """See `Wire`."""
        self._port.close()

    def _look(self, wanted_bytes: int) -> bytes:
        try:
            data = self._port.transfer(self._address, b"", wanted_bytes)
        except NoAcknowledgeError:
            return b""
        if data and (self._begun or data[0] != _NOT_YET):
            self._begun = True
            return data
        return b""
