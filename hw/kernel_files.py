"""What the kernel of a Pi tells about power and heat, with no board at all.

/sys/class/hwmon/hwmonN with the name `rpi_volt`: in0_lcrit_alarm is 1 while the firmware sees less than 4.63 V. get_throttled of
the firmware's device: a hexadecimal number of bits (Raspberry Pi documentation, vcgencmd). thermal_zoneN: millidegrees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hw.readings import Quality, Quantity, Reading, missing

_FILE_BYTES_MAX = 64
_ZONES_MAX = 16
_ALARM_FILE = "in0_lcrit_alarm"
_THROTTLED = (
    "devices/platform/soc/*/get_throttled",
    "devices/platform/axi/*/get_throttled",
    "devices/platform/*/get_throttled",
)
THROTTLED_BITS: dict[int, Quantity] = {
    0: Quantity.UNDERVOLTAGE,
    1: Quantity.FREQUENCY_CAPPED,
    2: Quantity.THROTTLED,
    3: Quantity.SOFT_TEMPERATURE_LIMIT,
    16: Quantity.UNDERVOLTAGE_SINCE_BOOT,
    17: Quantity.FREQUENCY_CAPPED_SINCE_BOOT,
    18: Quantity.THROTTLED_SINCE_BOOT,
    19: Quantity.SOFT_TEMPERATURE_LIMIT_SINCE_BOOT,
}
_CELSIUS_MIN, _CELSIUS_MAX = -40.0, 125.0
"""What silicon of a Pi can be at and still run; beyond, it is the sensor that is wrong."""


class KernelFiles:
    """Finds the files once, reads them each time."""

    def __init__(
        self,
        sys: Path = Path("/sys"),
        proc: Path = Path("/proc"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._alarm = next(
            (
                device / _ALARM_FILE
                for device in sorted(sys.glob("class/hwmon/hwmon*"))
                if _text(device / "name") == "rpi_volt" and (device / _ALARM_FILE).exists()
            ),
            None,
        )
        self._throttled = next((found for pattern in _THROTTLED for found in sorted(sys.glob(pattern))), None)
        self._zones = sorted(sys.glob("class/thermal/thermal_zone*/temp"))[:_ZONES_MAX]
        self._uptime = proc / "uptime"

    def read(self) -> tuple[Reading, ...]:
        """Undervoltage (from the firmware's word if there is one, else from hwmon), the other flags, temperatures, uptime."""
        at_s = self._clock()
        return (*self._power(at_s), *self._temperatures(at_s), self._up(at_s))

    def _power(self, at_s: float) -> Iterator[Reading]:
        if self._throttled is not None:
            yield from _flags(self._throttled, at_s)
        elif self._alarm is not None:
            state = _number(self._alarm, 10)
            good = state in (0, 1)
            yield Reading(
                Quantity.UNDERVOLTAGE,
                float(state) if state is not None and good else None,
                Quality.GOOD if good else Quality.STALE,
                at_s,
                "rpi_volt",
            )
        else:
            yield missing(Quantity.UNDERVOLTAGE, Quality.NO_SENSOR, at_s, "kernel")

    def _temperatures(self, at_s: float) -> Iterator[Reading]:
        if not self._zones:
            yield missing(Quantity.TEMPERATURE, Quality.NO_SENSOR, at_s, "kernel")
        for path in self._zones:
            millidegrees = _number(path, 10)
            source = _text(path.parent / "type") or path.parent.name
            if millidegrees is None:
                yield missing(Quantity.TEMPERATURE, Quality.STALE, at_s, source)
                continue
            celsius = millidegrees / 1000
            possible = _CELSIUS_MIN <= celsius <= _CELSIUS_MAX
            quality = Quality.GOOD if possible else Quality.OUT_OF_RANGE
            yield Reading(Quantity.TEMPERATURE, celsius, quality, at_s, source)

    def _up(self, at_s: float) -> Reading:
        words = (_text(self._uptime) or "").split()
        try:
            return Reading(Quantity.UPTIME, float(words[0]), Quality.GOOD, at_s, "kernel")
        except (IndexError, ValueError):
            return missing(Quantity.UPTIME, Quality.NO_SENSOR, at_s, "kernel")


def _flags(path: Path, at_s: float) -> Iterator[Reading]:
    bits = _number(path, 16)
    for bit, quantity in THROTTLED_BITS.items():
        if bits is None:
            yield missing(quantity, Quality.STALE, at_s, "get_throttled")
        else:
            yield Reading(quantity, float(bits >> bit & 1), Quality.GOOD, at_s, "get_throttled")


def _number(path: Path, base: int) -> int | None:
    try:
        return int(_text(path) or "", base)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    """A small file's text; None where it cannot be read or is none of the kernel's."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        return data.decode("ascii").strip() if len(data) <= _FILE_BYTES_MAX else None
    except (OSError, UnicodeDecodeError):
        return None
