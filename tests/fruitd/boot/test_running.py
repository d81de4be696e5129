"""If one of these failed, a node would be wrong about which slot it runs from, and write that one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from fruitd.boot.running import (
    Places,
    devices_below,
    partition_number,
    read_boot_id,
    running_slot,
    slot_argument,
)
from fruitd.errors import SlotError
from tests.fruitd.boot.running_system import boot_with, places_in


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "slot"),
    [("", None), ("fruit.slot=a", "a"), ("x.fruit.slot=b quiet", None), ("fruit.slot=a fruit.slot=b", "b")],
)
def test_the_kernel_argument_names_the_slot(places: Places, arguments: str, slot: str | None) -> None:
    """A trial would be taken for the old system."""
    boot_with(places, 1, arguments)
    assert slot_argument(places) == slot


class Machine:
    """Device numbers of two slots and a root, without devices."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: int | None) -> None:
        self.slots = {"a": Path("/dev/slot-a"), "b": Path("/dev/slot-b")}
        numbers = {self.slots["a"]: os.makedev(8, 2), self.slots["b"]: os.makedev(8, 3)}
        monkeypatch.setattr("fruitd.boot.running._device_number", numbers.get)
        monkeypatch.setattr("fruitd.boot.running.root_device", lambda _places: root)


@pytest.mark.parametrize(
    ("told", "root", "expected"),
    [
        ("fruit.slot=a", os.makedev(8, 2), "a"),
        ("fruit.slot=b", os.makedev(8, 3), "b"),
        ("", os.makedev(8, 3), "b"),
        ("fruit.slot=b", None, "b"),
        ("fruit.slot=a", os.makedev(8, 3), "root file system is on slot b"),
        ("fruit.slot=a", os.makedev(8, 5), "8:5, which is neither slot"),
        ("", None, "nothing says which slot runs"),
    ],
)
def test_what_the_loader_told_and_where_the_root_is_have_to_agree(
    places: Places, monkeypatch: pytest.MonkeyPatch, told: str, root: int | None, expected: str
) -> None:
    """The slot that runs would be overwritten under the system's feet."""
    machine = Machine(monkeypatch, root)
    boot_with(places, 1, told)
    if expected in ("a", "b"):
        assert running_slot(machine.slots, places, told_by="GRUB") == expected
    else:
        with pytest.raises(SlotError, match=expected):
            running_slot(machine.slots, places, told_by="GRUB")


def test_a_root_on_a_device_made_of_a_slot_is_on_that_slot(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root behind dm-verity would be taken for a third device, and the node refuse to run."""
    mapped = os.makedev(253, 1)
    for name, number in (("253:1/slaves/dm-0", "253:0"), ("253:0/slaves/sda3", "8:3")):
        (places.sys_block / name).mkdir(parents=True)
        (places.sys_block / name / "dev").write_text(number + "\n")
    assert devices_below(mapped, places) == {mapped, os.makedev(253, 0), os.makedev(8, 3)}
    machine = Machine(monkeypatch, mapped)
    boot_with(places, 1, "")
    assert running_slot(machine.slots, places, told_by="GRUB") == "b"


def test_this_machine_has_a_boot_id_and_a_root() -> None:
    """The paths of the real /proc would be wrong, and only pretended ones work."""
    assert len(read_boot_id(Places())) == 36
    assert Places().root.stat().st_dev


def test_a_missing_or_empty_boot_id_is_told(places: Places) -> None:
    """Every restart of the daemon would be taken for one of the machine, or none."""
    with pytest.raises(SlotError, match="cannot be read"):
        read_boot_id(places)
    places.boot_id.write_text("\n")
    with pytest.raises(SlotError, match="no boot id"):
        read_boot_id(places)
    with pytest.raises(SlotError, match="cannot be looked at"):
        running_slot({}, evolve(places, root=Path("/none"), cmdline=places.boot_id), told_by="GRUB")


def test_partition_numbers_are_the_kernels(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The firmware would be told to boot another partition than the slot."""
    Machine(monkeypatch, None)
    (places.sys_block / "8:3").mkdir(parents=True)
    (places.sys_block / "8:3" / "partition").write_text("3\n")
    assert partition_number(Path("/dev/slot-b"), places) == 3
    for path in ("/dev/slot-a", "/dev/other"):
        with pytest.raises(SlotError, match="no partition of a disk"):
            partition_number(Path(path), places)
