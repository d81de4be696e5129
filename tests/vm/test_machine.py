"""What a real kernel and a real init say of fruitd, and the devices they have for those who test hardware."""

from __future__ import annotations

import re

import pytest

from tests.vm.fleet import Workshop
from tests.vm.machine import Machine

pytestmark = pytest.mark.vm

EXPOSURE_MAX = 3.0


@pytest.fixture
def machine(workshop: Workshop) -> Machine:
    return workshop.machines["one"]


@pytest.mark.parametrize("unit", ["fruitd.service", "fruitd-keeper.service", "fruitd-trial-guard.service"])
def test_a_unit_exposes_little(machine: Machine, unit: str) -> None:
    """Whoever takes over a daemon that speaks with strangers would have the machine."""
    said = machine.run(f"systemd-analyze security {unit} --no-pager", timeout_s=300)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    print(found[0])
    assert float(found[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("unit", ["fruitd.service", "fruitd-keeper.service"])
def test_a_unit_may_open_the_slots_and_no_other_disk(machine: Machine, unit: str) -> None:
    """Whoever takes over the daemon or the keeper would read keys on the data partition, or write over the boot loader."""
    machine.run(f"systemctl start {unit}")
    group = machine.run(f"systemctl show -p ControlGroup --value {unit}").strip()
    for device, allowed in (
        ("disk/by-partlabel/fruit-a", True),
        ("disk/by-partlabel/fruit-b", True),
        ("disk/by-partlabel/fruit-data", False),
        ("disk/by-partlabel/fruit-boot", False),
        ("vda", False),
    ):
        enter = f"echo $$ > /sys/fs/cgroup{group}/cgroup.procs"
        code, said = machine.ask(run=f"{enter} && exec head -c 1 /dev/{device} 2>&1 > /dev/null")
        assert (code == 0) == allowed, (device, said)
        assert allowed or "Operation not permitted" in said, (device, said)


def test_the_daemon_is_nobody(machine: Machine) -> None:
    """The unit's words would be right, and the process run as root all the same."""
    pid = machine.run("systemctl show -p MainPID --value fruitd.service").strip()
    status = machine.run(f"cat /proc/{pid}/status")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert fields["Uid"].split()[0] != "0"
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"


def test_there_is_a_watchdog_that_the_daemon_may_hold(machine: Machine) -> None:
    """A trial that hangs would hang until somebody comes."""
    assert machine.run("stat -c '%F %G %a' /dev/watchdog").strip() == "character special file fruitd 660"


def test_the_root_cannot_be_written(machine: Machine) -> None:
    """A slot that changes by running is not the image any more, and gives its peers wrong blocks."""
    code, said = machine.ask(run="touch /usr/there")
    assert code != 0
    assert "Read-only" in said


def test_a_bus_without_hardware(machine: Machine) -> None:
    """Whoever tests power boards in a machine would find no bus."""
    code, said = machine.ask(run="modprobe i2c-dev && modprobe i2c-stub chip_addr=0x21,0x40")
    if code != 0:
        pytest.skip(f"this kernel has no i2c-stub: {said.strip()[-200:]}")
    names = machine.run("grep -l 'SMBus stub' /sys/bus/i2c/devices/i2c-*/name")
    bus = re.search(r"i2c-(\d+)/name", names)
    assert bus is not None
    assert machine.run(f"stat -c %F /dev/i2c-{bus[1]}").strip() == "character special file"


def test_lines_without_hardware(machine: Machine) -> None:
    """Whoever tests power lines in a machine would find no chip."""
    code, _ = machine.ask(run="modprobe gpio-sim")
    if code != 0:
        config = machine.run("grep -E 'CONFIG_GPIO_(SIM|MOCKUP)' /boot/config-$(uname -r)").split("\n")
        pytest.skip(f"this kernel has no gpio-sim: {', '.join(line.strip('# ') for line in config if line)}")
    made = "cd /sys/kernel/config/gpio-sim && mkdir chip && mkdir chip/bank && echo 8 > chip/bank/num_lines && echo 1 > chip/live"
    machine.run(made)
    assert "gpiochip" in machine.run("ls /dev")
