"""GPIO lines by their BCM numbers: what they are reached by, and RPi.GPIO behind it.

RPi.GPIO has two faults that matter here. On kernels from 6.6 it cannot watch edges (raspberrypi/linux #6037): then lines are
looked at instead. On a Pi 5 it does not work at all; `rpi-lgpio` is its drop-in there, under the same module name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from hw.errors import ExtraMissingError, PortError


class GpioPort(Protocol):
    """Lines of one machine."""

    def output(self, line: int, high: bool) -> None:
        """Drive the line. Raises `PortError`."""
        ...

    def input(self, line: int) -> None:
        """Let go of the line, with no pull of our own. Raises `PortError`."""
        ...

    def level(self, line: int) -> bool:
        """What is on it. Raises `PortError`."""
        ...

    def watch(self, line: int, changed: Callable[[bool], None]) -> bool:
        """Call, from any thread, with the level after each edge; False where this machine cannot, and one has to look."""
        ...

    def release(self) -> None:
        """Let go of all lines that were used: they are inputs afterwards. Never raises."""
        ...


class RpiGpioPort:
    """RPi.GPIO, or what stands in for it."""

    def __init__(self) -> None:
        """Raises `ExtraMissingError` without it, `PortError` on a machine that is no Pi, or without the right to use it."""
        try:
            self._gpio: Any = importlib.import_module("RPi.GPIO")
        except ImportError as error:
            raise ExtraMissingError.of("RPi.GPIO (rpi-lgpio on a Pi 5)", "GPIO") from error
        except RuntimeError as error:  # raised at import on other machines
            raise PortError(f"GPIO cannot be used here: {error}") from error
        self._used: set[int] = set()
        self._call(self._gpio.setwarnings, False)
        self._call(self._gpio.setmode, self._gpio.BCM)

    def output(self, line: int, high: bool) -> None:
        """See `GpioPort`."""
        if line in self._used and self._call(self._gpio.gpio_function, line) == self._gpio.OUT:
            self._call(self._gpio.output, line, high)
            return
        self._used.add(line)
        self._call(self._gpio.setup, line, self._gpio.OUT, initial=int(high))

    def input(self, line: int) -> None:
        """See `GpioPort`."""
        self._used.add(line)
        self._call(self._gpio.setup, line, self._gpio.IN, pull_up_down=self._gpio.PUD_OFF)

    def level(self, line: int) -> bool:
        """See `GpioPort`."""
        return bool(self._call(self._gpio.input, line))

    def watch(self, line: int, changed: Callable[[bool], None]) -> bool:
        """See `GpioPort`."""
        try:
            self._gpio.add_event_detect(line, self._gpio.BOTH, callback=lambda _: changed(self.level(line)))
        except (RuntimeError, OSError, ValueError):
            return False
        return True

    def release(self) -> None:
        """See `GpioPort`."""
        for line in self._used:
            try:
                self._gpio.cleanup(line)
            except (RuntimeError, OSError, ValueError):
                continue  # the others still have to be let go
        self._used.clear()

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (RuntimeError, OSError, ValueError) as error:
            raise PortError(
                f"GPIO: {error}; may you use /dev/gpiomem or /dev/gpiochip0 (group gpio)?"
            ) from error
