from __future__ import annotations

from pathlib import Path

import pytest

from hw.kernel_files import KernelFiles
from hw.readings import Quality, Quantity, Reading


def a_pi(
    folder: Path, *, throttled: str | None = None, alarm: str | None = None, celsius: str | None = None
) -> KernelFiles:
    """The files of a Pi, of those that are given."""
    hwmon = folder / "sys/class/hwmon"
    for number, name in enumerate(("cpu_thermal", "rpi_volt")):
        device = hwmon / f"hwmon{number}"
        device.mkdir(parents=True)
        (device / "name").write_text(name + "\n")
        if name == "rpi_volt" and alarm is not None:
            (device / "in0_lcrit_alarm").write_text(alarm)
    if throttled is not None:
        firmware = folder / "sys/devices/platform/soc/soc:firmware"
        firmware.mkdir(parents=True)
        (firmware / "get_throttled").write_text(throttled)
    if celsius is not None:
        zone = folder / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu-thermal\n")
        (zone / "temp").write_text(celsius)
    (folder / "proc").mkdir()
    (folder / "proc/uptime").write_text("123.45 400.00\n")
    return KernelFiles(folder / "sys", folder / "proc", lambda: 7.0)


def of(files: KernelFiles, quantity: Quantity) -> Reading:
    return next(reading for reading in files.read() if reading.quantity is quantity)


def test_a_pi_whose_firmware_tells(tmp_path: Path) -> None:
    """A supply that fails, or was too weak since the start, would go unnoticed."""
    files = a_pi(tmp_path, throttled="50005\n", alarm="0\n", celsius="48312\n")
    values = {reading.quantity: reading.value for reading in files.read()}
    assert values[Quantity.UNDERVOLTAGE] == 1
    assert values[Quantity.FREQUENCY_CAPPED] == 0
    assert values[Quantity.THROTTLED] == 1
    assert values[Quantity.UNDERVOLTAGE_SINCE_BOOT] == 1
    assert values[Quantity.FREQUENCY_CAPPED_SINCE_BOOT] == 0
    assert values[Quantity.THROTTLED_SINCE_BOOT] == 1
    assert values[Quantity.TEMPERATURE] == pytest.approx(48.312)
    assert values[Quantity.UPTIME] == pytest.approx(123.45)
    assert {reading.quality for reading in files.read()} == {Quality.GOOD}


@pytest.mark.parametrize(("alarm", "value"), [("0\n", 0), ("1\n", 1)])
def test_a_pi_with_a_mainline_kernel(tmp_path: Path, alarm: str, value: int) -> None:
    """Undervoltage would be known on Raspberry Pi OS only."""
    reading = of(a_pi(tmp_path, alarm=alarm), Quantity.UNDERVOLTAGE)
    assert (reading.value, reading.quality, reading.source) == (value, Quality.GOOD, "rpi_volt")


def test_another_machine_has_no_sensor(tmp_path: Path) -> None:
    """A machine that cannot tell would seem to be well supplied."""
    files = a_pi(tmp_path)
    assert of(files, Quantity.UNDERVOLTAGE).quality is Quality.NO_SENSOR
    assert of(files, Quantity.TEMPERATURE).quality is Quality.NO_SENSOR
    empty = KernelFiles(tmp_path / "none", tmp_path / "none")
    assert {reading.value for reading in empty.read()} == {None}


@pytest.mark.parametrize("text", ["", "x\n", "0x" + "f" * 500, "\xff\xfe", "-"])
def test_files_that_say_nothing_useful(tmp_path: Path, text: str) -> None:
    """A driver's odd text would end the daemon, or become a number."""
    files = a_pi(tmp_path, throttled=text, celsius=text)
    for quantity in (Quantity.UNDERVOLTAGE, Quantity.TEMPERATURE):
        assert (of(files, quantity).value, of(files, quantity).quality) == (None, Quality.STALE)
    for path in (tmp_path / "sys").rglob("*"):
        if path.is_file():
            path.unlink()
    assert of(files, Quantity.TEMPERATURE).quality is Quality.STALE


def test_a_temperature_that_cannot_be(tmp_path: Path) -> None:
    """A broken sensor would look like a Pi on fire."""
    assert of(a_pi(tmp_path, celsius="-274000"), Quantity.TEMPERATURE).quality is Quality.OUT_OF_RANGE


def test_a_reading_in_words_and_in_json() -> None:
    """People would see a number without its unit or its doubt; scripts would lose a key."""
    reading = Reading(Quantity.BAY_VOLTAGE, 5.02341, Quality.GOOD, 10.0, "pistack 0x04 bay 1")
    assert str(reading) == "bay_voltage: 5.023 V"
    assert str(reading.grown_stale()) == "bay_voltage: 5.023 V (stale)"
    assert reading.as_json(12.5) == {
        "quantity": "bay_voltage",
        "value": 5.0234,
        "unit": "V",
        "quality": "good",
        "age_s": 2.5,
        "source": "pistack 0x04 bay 1",
    }
