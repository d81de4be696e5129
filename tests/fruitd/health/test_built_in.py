"""If one of these failed, every node's own checks would miss a fault, or see one that is not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import trio

from fruitd.health import built_in, readings
from fruitd.health.built_in import DISK_FREE_BYTES_MIN, MEMORY_FREE_BYTES_MIN
from fruitd.health.panel import Panel, Wanted
from fruitd.health.readings import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Raspberry Pi, as its kernel tells of it."""
    made = Machine(tmp_path / "proc", tmp_path / "sys", tmp_path / "systemd")
    _write(
        made.proc / "meminfo",
        "MemTotal:  948304 kB\nMemFree: 10 kB\nMemAvailable:  512000 kB\nHugePages_Total: 0\n",
    )
    _write(made.sys / "class/thermal/thermal_zone0/temp", "51540\n")
    _write(made.sys / "class/thermal/thermal_zone0/type", "cpu-thermal\n")
    _write(made.sys / "class/hwmon/hwmon0/name", "cpu_thermal\n")
    _write(made.sys / "class/hwmon/hwmon1/name", "rpi_volt\n")
    _write(made.sys / "class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    (made.sys / "class/net/lo").mkdir(parents=True)
    (made.sys / "class/net/eth0").mkdir()
    return made


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_memory(machine: Machine) -> None:
    """A release that eats all memory would be kept."""
    found = built_in.memory(readings.meminfo(machine))
    assert found is not None
    assert (found.ok, found.why) == (True, "500 MiB of memory available")
    assert not built_in.memory({"MemAvailable": MEMORY_FREE_BYTES_MIN - 1}).ok  # type: ignore[union-attr]
    assert built_in.memory({}) is None


def test_temperature(machine: Machine) -> None:
    """A release whose fan control is broken would be kept."""
    found = built_in.temperature(readings.temperatures_c(machine))
    assert found is not None
    assert (found.ok, found.why) == (True, "cpu-thermal is at 52 °C")
    _write(machine.sys / "class/thermal/thermal_zone1/temp", "85000\n")
    found = built_in.temperature(readings.temperatures_c(machine))
    assert found is not None
    assert (found.ok, found.why) == (False, "thermal_zone1 is at 85 °C")
    _write(machine.sys / "class/thermal/thermal_zone1/temp", "-1000\n")
    assert readings.temperatures_c(machine)["thermal_zone1"] == -1.0
    assert built_in.temperature({}) is None


def test_undervoltage(machine: Machine) -> None:
    """A release that draws more than the supply gives would be kept, and the card be ruined."""
    assert built_in.power(readings.undervoltage(machine)).ok  # type: ignore[union-attr]
    _write(machine.sys / "class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert not built_in.power(readings.undervoltage(machine)).ok  # type: ignore[union-attr]
    _write(machine.sys / "class/hwmon/hwmon1/name", "other\n")
    assert readings.undervoltage(machine) is None
    assert built_in.power(None) is None


def test_disk(tmp_path: Path) -> None:
    """A release that fills or locks the data partition would be kept: the next one could not even be fetched."""
    free_bytes, read_only = readings.disk_room(tmp_path)
    assert free_bytes is not None
    assert free_bytes > 0
    assert not read_only
    assert built_in.disk(DISK_FREE_BYTES_MIN).ok
    assert not built_in.disk(DISK_FREE_BYTES_MIN - 1).ok
    assert "read-only" in built_in.disk(2**30, read_only=True).why
    assert not built_in.disk(2**30, read_only=True).ok
    assert built_in.disk(2**30, trouble="the state cannot be written").why == "the state cannot be written"
    assert readings.disk_room(tmp_path / "none") == (None, False)
    assert not built_in.disk(None).ok


def test_a_clock_that_is_not_set_yet_is_waited_for() -> None:
    """Every Pi without a clock battery would roll every release back within the first minute."""
    late = built_in.time(False)
    assert (late.ok, late.patient) == (False, True)
    assert built_in.time(True).ok


@pytest.mark.parametrize(
    ("states", "ok", "patient"),
    [
        ({"a.service": "active"}, True, True),
        ({"a.service": "active", "b.service": "activating"}, False, True),
        ({"a.service": "inactive"}, False, True),
        ({"a.service": "failed", "b.service": "activating"}, False, False),
        ({"a.service": "unknown"}, False, False),
    ],
)
def test_units(states: dict[str, str], ok: bool, patient: bool) -> None:
    """A release without the owner's service would be kept, or one whose service is slow be condemned."""
    found = built_in.units(states)
    assert found is not None
    assert (found.ok, found.patient) == (ok, patient)


def test_units_are_asked_of_systemd(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit would be taken for another's state, or a machine without systemd for broken."""
    assert readings.unit_states(["a.service"], machine) is None, "no systemd here"
    machine.systemd.mkdir()
    assert readings.unit_states([], machine) is None
    told = tmp_path / "bin/systemctl"
    _write(
        told,
        '#!/bin/sh\n[ "$*" = "is-active -- a.service b.service" ] || exit 9\necho active; echo failed; exit 3\n',
    )
    told.chmod(told.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{told.parent}:{os.environ['PATH']}")
    assert readings.unit_states(["a.service", "b.service"], machine) == {
        "a.service": "active",
        "b.service": "failed",
    }
    assert readings.unit_states(["a.service"], machine) == {"a.service": "unknown"}


ROUTES = "Iface\tDestination\tGateway\tFlags\n{}"
ARP = "IP address HW type Flags HW address Mask Device\n{}"


def test_the_router_answers_or_not(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that is off would look like one that is there, and a good release be condemned for it."""
    knocked: list[str] = []
    monkeypatch.setattr(readings, "_knock", knocked.append)
    assert readings.gateway_answers(machine) is None, "no route is known"
    _write(machine.proc / "net/route", ROUTES.format("eth0\t00000000\t0100A8C0\t0003\t0\n"))
    assert readings.gateway_answers(machine) is False
    assert knocked == ["192.168.0.1"]
    _write(machine.proc / "net/arp", ARP.format("192.168.0.1 0x1 0x0 00:00:00:00:00:00 * eth0\n"))
    assert readings.gateway_answers(machine) is False
    _write(machine.proc / "net/arp", ARP.format("192.168.0.1 0x1 0x2 dc:a6:32:00:00:01 * eth0\n"))
    assert readings.gateway_answers(machine) is True


def test_an_interface_is_there_or_not(machine: Machine) -> None:
    """A release without the driver of its network card would be held for an outage."""
    assert readings.has_interface(machine)
    (machine.sys / "class/net/eth0").rmdir()
    assert not readings.has_interface(machine)


def test_this_machine_can_be_read() -> None:
    """What the kernel really tells would be in another shape than these tests think."""
    real = Machine()
    assert readings.meminfo(real)["MemAvailable"] > 0
    readings.temperatures_c(real)
    readings.undervoltage(real)
    readings.has_interface(real)
    assert readings.gateway_answers(real) in (None, True, False)


def test_the_panel_looks_at_everything_in_order(machine: Machine, tmp_path: Path) -> None:
    """A check would be left out, and what it guards be broken by a release."""
    folder = tmp_path / "health.d"
    _write(folder / "10-camera", "#!/bin/sh\necho $FRUIT_BOOT_SLOT $FRUIT_SLOT_PATH; exit 1\n")
    (folder / "10-camera").chmod(0o755)
    _write(folder / "20-other", "#!/bin/sh\n")
    (folder / "20-other").chmod(0o777)
    wanted = Wanted(("true",), folder, (), 10.0, tmp_path)
    panel = Panel(wanted, "b", "/dev/slot-b", lambda: True, lambda: None, machine)
    results = trio.run(panel.look)
    assert [r.name for r in results] == [
        "disk", "time", "memory", "temperature", "power", "health.d/10-camera", "health.d/20-other", "command",
    ]  # fmt: skip
    assert [r.ok for r in results] == [True, True, True, True, True, False, False, True]
    assert results[5].why == "b /dev/slot-b"
