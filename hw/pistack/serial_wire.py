"""Boards on a serial port: RS-485 or RS-232 by a converter, or the emulator's pseudo-terminal. Needs pyserial."""

from __future__ import annotations

import contextlib
import importlib
import select
import termios
import time
from types import ModuleType
from typing import Any

from hw.errors import ExtraMissingError, PortError
from hw.pistack.line import BAUD
from hw.pistack.other_master import HEARD_BYTES_MAX

_WRITE_S_MAX = 1.0
"""A frame has seven bytes at most: a port that does not take them in this time never will."""


class SerialWire:
    """A `Wire` of 8 data bits, no parity and one stop bit, held exclusively."""

    def __init__(self, port: str, baud: int = BAUD) -> None:
        """Raises `ExtraMissingError` without pyserial, `PortError` where the port cannot be had."""
        self._port = port
        self._failures, serial = _pyserial()
        try:
            self._serial: Any = serial.Serial(
                port, baud, timeout=0, write_timeout=_WRITE_S_MAX, exclusive=True
            )
        except self._failures as error:
            raise PortError(
                f"{port} cannot be opened ({error}); is the converter plugged in, and may you use it?"
            ) from error
        # USB converters hold bytes back for 16 ms otherwise. Those that cannot do it, and pseudo-terminals, say so.
        with contextlib.suppress(*self._failures, NotImplementedError):
            self._serial.set_low_latency_mode(True)

    def now_s(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def send(self, frame: bytes) -> bytes:
        """See `Wire`."""
        try:
            waiting = min(self._serial.in_waiting, HEARD_BYTES_MAX)
            waited = bytes(self._serial.read(waiting)) if waiting else b""
            self._serial.reset_input_buffer()  # more may come after what the terminal had room for
            self._serial.write(frame)
            return waited
        except self._failures as error:
            raise self._gone(error) from error

    def receive(self, wanted_bytes: int, earliest_s: float, until_s: float) -> bytes:
        """See `Wire`. Sleeps while there cannot be enough, instead of waking for each byte."""
        early_s = min(earliest_s, until_s) - time.monotonic()
        if early_s > 0:
            time.sleep(early_s)
        received = b""
        try:
            while True:
                left_s = max(0.0, until_s - time.monotonic())
                ready, _, _ = select.select([self._serial.fileno()], [], [], left_s)
                if not ready:
                    return received
                received += bytes(self._serial.read(max(1, self._serial.in_waiting)))
                if len(received) >= wanted_bytes:
                    return received
        except self._failures as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """See `Wire`."""
        with contextlib.suppress(*self._failures):
            self._serial.close()

    def _gone(self, error: Exception) -> PortError:
        return PortError(f"{self._port} has gone ({error}); is the converter still plugged in?")


def _pyserial() -> tuple[tuple[type[Exception], ...], ModuleType]:
    try:
        serial = importlib.import_module("serial")
    except ImportError as error:
        raise ExtraMissingError.of("pyserial", "a serial port") from error
    # What pyserial lets through: its own, the system's, and its wrappers of what the terminal layer says.
    return (serial.SerialException, OSError, ValueError, TypeError, termios.error), serial
