"""If one of these failed, what runs as fruitd or its keeper could open any disk of the machine, or not even its own slots."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from fruitd.config.tables import Config, load_config
from fruitd.errors import UsageError
from fruitd.image import disk, root
from fruitd.keeper.limits import write_limits
from tests.fruitd.boot.running_system import places_in

UNITS = Path(__file__).parents[3] / "packaging" / "systemd"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)
P2, P3 = "/dev/mmcblk0p2", "/dev/mmcblk0p3"
LABELS = ("PARTLABEL=fruit-a", "PARTLABEL=fruit-b")


def configured(folder: Path, boot: str, slots: tuple[str, str] = (P2, P3), keeper: str = "[keeper]") -> Path:
    """A node's configuration."""
    path = folder / "fruitd.toml"
    path.write_text(
        f'[node]\ncompatible = ["x"]\n[trust]\nroot = "/r"\n[swarm]\nkey_file = "/k"\n{keeper}\n'
        f'[slots]\na = "{slots[0]}"\nb = "{slots[1]}"\n[boot]\n{boot}\n'
    )
    return path


def limits(folder: Path, config: Config) -> tuple[set[str], set[str]]:
    """What each unit may touch besides what packaging/systemd allows: daemon, keeper."""
    written = write_limits(config, folder / "units", places_in(folder))
    assert [path.parent.name for path in written] == ["fruitd.service.d", "fruitd-keeper.service.d"]
    assert {path.stat().st_mode & 0o777 for path in written} == {0o644}
    found = [
        {line for line in path.read_text().splitlines() if line.startswith(("DeviceAllow", "ReadWrite"))}
        for path in written
    ]
    return found[0], found[1]


SLOTS = {f"DeviceAllow={P2} rw", f"DeviceAllow={P3} rw"}
KEPT = {f"DeviceAllow={P2} rwm", f"DeviceAllow={P3} rwm"}


@pytest.mark.parametrize(
    ("boot", "environment"),
    [
        (
            'backend = "grub"\nenv = "/boot/grub/grubenv"',
            {"ReadWritePaths=-/boot/grub/grubenv", "ReadWritePaths=-/boot/grub/grubenv.copy"},
        ),
        ('backend = "tryboot"', {"DeviceAllow=/dev/mmcblk0p1 rw", "DeviceAllow=/dev/vcio rw"}),
        ('backend = "tryboot"\ntrial_flag = "argument"', {"DeviceAllow=/dev/mmcblk0p1 rw"}),
        (
            'backend = "tryboot"\nautoboot = "{folder}"',
            {"ReadWritePaths=-{folder}/autoboot.txt", "ReadWritePaths=-{folder}/autoboot.bak", "DeviceAllow=/dev/vcio rw"},
        ),
        ('backend = "uboot"\nfw_env_config = "{folder}/fw_env.config"', {"DeviceAllow=/dev/mmcblk0 rw"}),
        ('backend = "file"\nenv = "/env"', {"ReadWritePaths=-/env"}),
        ('fw_env_config = "{folder}/fw_env.config"', {"DeviceAllow=/dev/mmcblk0 rw"}),
    ],
    ids=["grub", "tryboot", "tryboot, argument", "tryboot, mounted", "uboot", "file", "auto"],
)  # fmt: skip
def test_the_keeper_alone_may_write_the_boot_environment(
    tmp_path: Path, boot: str, environment: set[str]
) -> None:
    """A backend's own files would be missing, and no trial ever be armed; or the daemon could write them too."""
    (tmp_path / "fw_env.config").write_text("/dev/mmcblk0 0x100000 0x4000\n/dev/mmcblk0 0x180000 0x4000\n")
    config = load_config(configured(tmp_path, boot.format(folder=tmp_path)))
    daemon, keeper = limits(tmp_path, config)
    assert daemon == SLOTS
    assert keeper == KEPT | {line.format(folder=tmp_path) for line in environment}


def test_slots_that_are_files_are_named_too(tmp_path: Path) -> None:
    """The daemon could not write a slot that was lent to it: all files but its own state are read-only."""
    config = load_config(configured(tmp_path, 'backend = "file"\nenv = "/env"', ("/slots/a", "/slots/b")))
    daemon, keeper = limits(tmp_path, config)
    assert daemon == {"ReadWritePaths=-/slots/a", "ReadWritePaths=-/slots/b"}
    assert keeper == daemon | {"ReadWritePaths=-/env"}


def test_what_cannot_be_limited_is_said(tmp_path: Path) -> None:
    """systemd would read a path with a space as two, and the node be shut out of its slot without a word."""
    grub = 'backend = "grub"\nenv = "/boot/grub/grubenv"'
    for boot, slots, keeper, words in (
        ('backend = "grub"', (P2, P3), "[keeper]", "env is missing"),
        (grub, ("/dev/my disk", P3), "[keeper]", "/dev/my disk: .* plain letters"),
        (grub, ("/dev/100%a", P3), "[keeper]", "plain letters"),
        (grub, (P2, P3), "", "no \\[keeper\\]"),
    ):
        with pytest.raises(UsageError, match=words):
            limits(tmp_path, load_config(configured(tmp_path, boot, slots, keeper)))
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize("name", ["fruitd.service", "fruitd-keeper.service"])
def test_a_unit_allows_no_disk_by_itself(name: str) -> None:
    """Every disk of a kind would be open to whoever takes over the daemon or the keeper: data, keys, the loader."""
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    assert "DevicePolicy=closed" in lines
    allowed = {line for line in lines if line.startswith(("DeviceAllow=", "ReadWritePaths="))}
    assert allowed <= {"DeviceAllow=char-watchdog rw", "DeviceAllow=/dev/watchdog rw"}


def test_the_image_limits_its_units_to_the_partitions_it_is_made_for() -> None:
    """Nodes of `fruit image` would be shut out of their slots."""
    plan = disk.DiskPlan(Path("image"), disk.MIB, disk.MIB, Path("grub.cfg"), "")
    partitions = {partition.name for partition in disk._table(plan, uuid.uuid4).partitions}
    assert {path.name for path in root._SLOTS} < partitions


@needs_systemd
def test_systemd_accepts_the_limits_and_finds_little_exposed(tmp_path: Path) -> None:
    """The service manager would pass over a line, and the node be shut out, or its disks be open."""
    units = tmp_path / "units"
    command = [sys.executable, "-m", "fruitd.keeper", "--config"]
    command += [str(configured(tmp_path, 'backend = "tryboot"', LABELS)), "--write-limits", str(units)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.split() == [f"{units}/{name}.service.d/slots.conf" for name in ("fruitd", "fruitd-keeper")]
    for unit in (*UNITS.glob("fruitd*.service"), *UNITS.glob("fruitd*.socket")):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/fruitd-keeper", "/bin/sh")
        (units / unit.name).write_text(text.replace("/usr/bin/fruitd", "/bin/sh"), encoding="utf-8")
    for name in ("fruitd", "fruitd-keeper"):
        unit = units / f"{name}.service"
        verified = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        )
        assert (verified.returncode, [line for line in verified.stderr.splitlines() if "fruitd" in line]) == (
            0,
            [],
        )
        judged = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
        subprocess.run(judged, capture_output=True, check=True)
    escaped = ["systemd-escape", "--path", "--suffix=device", "/dev/disk/by-partlabel/fruit-a"]
    name = subprocess.run(escaped, capture_output=True, text=True, check=True).stdout.strip()
    for unit in ("fruitd", "fruitd-keeper"):
        lines = (units / f"{unit}.service.d" / "slots.conf").read_text().splitlines()
        assert {f"Wants={name}", f"After={name}"} < set(lines)
