"""If one of these failed, a node would be run with a boot loader that it does not have, or not know what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from fruitd.boot import detection
from fruitd.boot.autoboot import Autoboot, encode
from fruitd.boot.detection import Sign
from fruitd.boot.examination import BootSettings, Row, examine_boot
from fruitd.boot.file_backend import SLOT_VARIABLE, create_environment
from fruitd.boot.grub_backend import create_grub_environment
from fruitd.boot.uboot_env import UbootCopy, encode_copy
from fruitd.config.tables import BootConfig
from fruitd.errors import SlotError, UsageError
from fruitd.keeper.boot_backend import boot_backend
from tests.fruitd.boot.running_system import boot_with, places_in, put_tree

NEW_EEPROM_S = 1_740_000_000
MIB = 1024 * 1024


class Machine:
    """Files as a machine with one loader or another has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = places_in(folder)
        boot_with(self.places, 1, "fruit.slot=a")
        self.slots = {slot: folder / f"slot-{slot}" for slot in "ab"}
        for path in self.slots.values():
            path.write_bytes(b"slot")
        self.config = BootConfig(
            env=folder / "env", fw_env_config=folder / "fw_env.config", autoboot=folder / "p1"
        )
        self.watchdogs = folder / "watchdogs"

    def with_grub(self) -> None:
        create_grub_environment(self.folder / "env", "a")

    def with_uboot(self, **variables: str) -> None:
        entries = {
            "fruit_default": "a",
            "fruit_armed": "-",
            "altbootcmd": "setenv upgrade_available 0; run bootcmd",
        }
        copy = encode_copy(UbootCopy(1, entries | variables), 2048)
        (self.folder / "uboot").write_bytes(copy * 2)
        self.config.fw_env_config.write_text(f"{self.folder}/uboot 0 2048\n{self.folder}/uboot 2048 2048\n")

    def with_watchdog(self) -> None:
        device = self.watchdogs / "watchdog0"
        device.mkdir(parents=True)
        for name, value in (
            ("identity", "Broadcom BCM2835 Watchdog timer"),
            ("timeout", "15"),
            ("state", "active"),
        ):
            (device / name).write_text(value + "\n")

    def signs(self, process: dict[str, str] | None = None) -> list[str]:
        config = self.config
        found = detection.signs(process or {}, config.env, config.fw_env_config, config.autoboot, self.places)
        return [sign.backend for sign in found]

    def rows(self, backend: str = "auto", process: dict[str, str] | None = None) -> dict[str, Row]:
        config = self.config
        settings = BootSettings(backend, config.env, config.fw_env_config, config.autoboot)
        sizes = {slot: path.stat().st_size if path.exists() else 0 for slot, path in self.slots.items()}
        rows = examine_boot(settings, self.slots, sizes, process or {}, self.places, self.watchdogs)
        assert all(bool(row.do) != row.ok for row in rows), (
            "what is wrong comes with what to do, and nothing else does"
        )
        return {row.name: row for row in rows}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_each_loader_is_known_by_what_it_leaves(machine: Machine) -> None:
    """An owner would have to know what the machine can tell."""
    assert machine.signs() == []
    assert machine.signs({SLOT_VARIABLE: "a"}) == ["file"]
    machine.with_grub()
    assert machine.signs() == ["grub"]
    machine.with_uboot()
    assert machine.signs() == ["uboot", "grub"]
    put_tree(machine.places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    assert "tryboot" not in machine.signs(), "a Raspberry Pi without autoboot.txt starts otherwise"
    machine.config.autoboot.touch()
    assert machine.signs() == ["tryboot", "uboot", "grub"]
    put_tree(machine.places, partition=2, tryboot=False, date_s=0)
    assert "tryboot" not in machine.signs()


def test_auto_takes_the_only_one_and_refuses_to_guess() -> None:
    """A node would arm a loader that does not start it, and count trials that never were."""
    grub, uboot, file = (Sign(name, f"{name} is here") for name in ("grub", "uboot", "file"))
    assert detection.choose([grub]) == "grub"
    assert detection.choose([grub, file]) == "file"
    with pytest.raises(UsageError, match=r"several.*grub is here.*uboot is here.*name the one"):
        detection.choose([grub, uboot])
    with pytest.raises(UsageError, match="no boot loader that fruitd knows"):
        detection.choose([])


def test_the_configuration_makes_the_backend(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node would start with another backend than its owner wrote."""
    machine.with_grub()
    assert boot_backend(machine.config, machine.slots, machine.folder, machine.places).facts().default == "a"
    machine.config.fw_env_config.write_text("/none 0 0x4000\n/none 0x4000 0x4000\n")
    with pytest.raises(SlotError, match='backend "uboot": /none cannot be looked at') as error:
        boot_backend(evolve(machine.config, backend="uboot"), machine.slots, machine.folder, machine.places)
    assert "is an environment block of GRUB (grub)" in str(error.value), "what was found instead is told"
    machine.with_uboot()
    backend = boot_backend(
        evolve(machine.config, backend="uboot"), machine.slots, machine.folder, machine.places
    )
    backend.arm("b")
    assert backend.facts().armed == "b"
    with pytest.raises(SlotError, match='backend "tryboot"'):
        boot_backend(evolve(machine.config, backend="tryboot"), machine.slots, machine.folder, machine.places)
    with pytest.raises(UsageError, match="env is missing"):
        boot_backend(
            evolve(machine.config, backend="grub", env=None), machine.slots, machine.folder, machine.places
        )
    create_environment(machine.folder / "file.env", "b")
    monkeypatch.setenv(SLOT_VARIABLE, "b")
    monkeypatch.setenv("FRUIT_BOOT_ID", "1")
    file = evolve(machine.config, env=machine.folder / "file.env")
    assert boot_backend(file, machine.slots, machine.folder, machine.places).facts().active == "b"


def test_a_start_mends_a_bad_copy(machine: Machine) -> None:
    """A second worn sector, months later, would find no good copy."""
    machine.with_grub()
    copy = machine.folder / "env.copy"
    good = copy.read_bytes()
    copy.write_bytes(b"\xff" * 1024)
    assert "grubenv.copy is bad" in machine.rows("grub")["boot environment"].found
    boot_backend(machine.config, machine.slots, machine.folder, machine.places)
    assert copy.read_bytes() == good


def test_the_doctor_of_a_well_machine_has_nothing_to_mend(machine: Machine) -> None:
    """A well node would be called ill, and its warnings be ignored from then on."""
    machine.with_watchdog()
    machine.with_grub()
    rows = machine.rows()
    assert [name for name, row in rows.items() if not row.ok] == []
    assert rows["boot loader"].found.startswith("grub, by what is found")
    assert rows["boot environment"].found == "slot a boots; both copies are good"
    assert rows["watchdog"].found == "watchdog0 (Broadcom BCM2835 Watchdog timer, 15 s, held)"
    assert rows["partitions"].found == "the slots are files"


def test_the_doctor_says_what_to_mend(machine: Machine) -> None:
    """A node would be found ill only when it no longer starts."""
    assert "no boot loader" in machine.rows()["boot loader"].do
    assert "driver" in machine.rows()["watchdog"].do
    machine.with_uboot(altbootcmd="reset")
    assert "fw_setenv altbootcmd" in machine.rows()["boot environment"].do
    damaged = bytearray((machine.folder / "uboot").read_bytes())
    damaged[100] ^= 1
    (machine.folder / "uboot").write_bytes(damaged)
    assert "one copy is bad" in machine.rows()["boot environment"].found
    machine.with_grub()
    assert "name the one that chooses" in machine.rows()["boot loader"].do
    assert not machine.rows("tryboot")["boot loader"].ok
    assert not machine.rows("tryboot")["firmware"].ok
    machine.slots["b"].write_bytes(b"a larger slot")
    assert "same size" in machine.rows("grub")["slot sizes"].do
    machine.slots["b"].unlink()
    assert not machine.rows("grub")["partitions"].ok
    assert "missing" in machine.rows("grub")["slot sizes"].do


def test_what_the_daemon_may_not_read_is_not_called_bad(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon with few rights would tell its owner to mend a boot environment that is well."""
    machine.with_grub()
    machine.with_uboot()
    monkeypatch.setattr(os, "access", lambda *_: False)
    for backend in ("grub", "uboot"):
        row = machine.rows(backend)["boot environment"]
        assert row.ok
        assert "only root can look" in row.found


def test_the_doctor_of_a_raspberry_pi_reads_both_files(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that lost its second file would be called well, or end the doctor."""
    monkeypatch.setattr("fruitd.boot.examination.slot_partitions", lambda *_: {"a": 2, "b": 3})
    put_tree(machine.places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    machine.config.autoboot.mkdir()
    for name in ("autoboot.txt", "autoboot.bak"):
        (machine.config.autoboot / name).write_bytes(encode(Autoboot(2, 3)))
    rows = machine.rows("tryboot")
    assert rows["boot environment"].found == "slot a boots; both files agree"
    assert rows["firmware"].ok
    (machine.config.autoboot / "autoboot.bak").write_bytes(b"x" * 256)
    assert "autoboot.bak is bad" in machine.rows("tryboot")["boot environment"].found
    (machine.config.autoboot / "autoboot.bak").unlink()
    assert "autoboot.bak cannot be read" in machine.rows("tryboot")["boot environment"].found


def test_the_doctor_of_a_demo_needs_no_watchdog(machine: Machine) -> None:
    """Every demo would be told to load a driver."""
    create_environment(machine.folder / "env", "a")
    rows = machine.rows("file", {SLOT_VARIABLE: "a"})
    assert [name for name, row in rows.items() if not row.ok] == []


@pytest.mark.parametrize(
    ("head", "labels", "words", "do"),
    [
        (b"\x55\xaa", ("", ""), "MBR; a is partition 2; b is partition 3", ""),
        (
            b"gpt",
            ("fruit-a", "fruit-b"),
            "GPT; a is partition 2; b is partition 3; labels fruit-a, fruit-b",
            "",
        ),
        (b"gpt", ("root", "root"), "labels root, root", "one label"),
        (b"", ("", ""), "no partition table", ""),
    ],
)
def test_the_doctor_reads_the_disk(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    labels: tuple[str, str],
    words: str,
    do: str,
) -> None:
    """Two partitions with one name would be found only when the wrong one is written."""
    disk = bytearray(8192)
    disk[510:512] = b"\x55\xaa" if head else b"\0\0"
    disk[512:520] = b"EFI PART" if head == b"gpt" else bytes(8)
    (machine.folder / "sda").write_bytes(disk)
    for number, label in zip((2, 3), labels, strict=True):
        real = machine.folder / "devices" / "sda" / f"sda{number}"
        real.mkdir(parents=True)
        (real / "partition").write_text(f"{number}\n")
        (real / "uevent").write_text(f"DEVNAME=sda{number}\n" + (f"PARTNAME={label}\n" if label else ""))
        (machine.places.sys_block).mkdir(exist_ok=True)
        (machine.places.sys_block / f"8:{number}").symlink_to(real)
    numbers = {machine.slots["a"]: os.makedev(8, 2), machine.slots["b"]: os.makedev(8, 3)}
    monkeypatch.setattr("fruitd.boot.running._device_number", numbers.get)
    monkeypatch.setattr("fruitd.boot.examination._number", lambda path: f"8:{os.minor(numbers[path])}")
    monkeypatch.setattr("fruitd.boot.examination.stat.S_ISREG", lambda _mode: False)
    settings = BootSettings("grub", None, machine.config.fw_env_config, machine.config.autoboot)
    rows = examine_boot(settings, machine.slots, {}, {}, machine.places, machine.watchdogs, machine.folder)
    row = next(row for row in rows if row.name == "partitions")
    assert words in row.found
    assert (do in row.do) if do else row.ok
