"""Where a slot is that was named by its partition's label or UUID, on machines with udev and without.

Device names change with what is plugged in; labels and UUIDs do not. `PARTLABEL=fruit-a` stands for the path that udev would make
for it, and is looked up anew at every start: in what the kernel tells of each partition, then in the disk's own table.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from attrs import frozen

from fruitd.errors import SlotError
from fruitd.slots.partition_table import PartitionNames, read_names

BY_LABEL = Path("/dev/disk/by-partlabel")
BY_UUID = Path("/dev/disk/by-partuuid")
_FOLDERS = {"PARTLABEL": BY_LABEL, "PARTUUID": BY_UUID}
_LABEL = re.compile(r"[A-Za-z0-9#+.:=@_-]{1,36}")
"""Any other character is spelled otherwise in udev's names; 36 are what a GPT holds."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{2}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@frozen
class Devices:
    """Where the kernel tells of block devices; other ones in tests."""

    sys_block: Path = Path("/sys/class/block")
    dev: Path = Path("/dev")


def place_of(words: str) -> Path | None:
    """The path that stands for `PARTLABEL=...` or `PARTUUID=...`; None for words of another kind.

    Raises `ValueError` where it is of that kind and no partition can be called so.
    """
    kind, equals, name = words.partition("=")
    if not equals or kind not in _FOLDERS:
        return None
    name = name.lower() if kind == "PARTUUID" else name
    if not (_UUID if kind == "PARTUUID" else _LABEL).fullmatch(name):
        raise ValueError(
            "PARTLABEL= needs 1 to 36 of the letters, digits and #+-.:=@_"
            if kind == "PARTLABEL"
            else "PARTUUID= needs a UUID, or eight hex digits, '-' and two (MBR)"
        )
    return _FOLDERS[kind] / name


def locate(place: Path, devices: Devices = Devices()) -> Path:
    """The device of a slot. Anything but a partition's name is returned as it is, and so is a name that nothing has (yet).

    Raises `SlotError` where several partitions have the name: writing one of them would be a guess.
    """
    if place.parent not in (BY_LABEL, BY_UUID):
        return place
    found = []
    for partition in _partitions(devices.sys_block):
        names = _names(partition, devices)
        if place.name == (names.label if place.parent == BY_LABEL else names.uuid):
            found.append(devices.dev / _facts(partition).get("DEVNAME", partition.name))
    if len(found) > 1:
        kind = "PARTLABEL" if place.parent == BY_LABEL else "PARTUUID"
        raise SlotError(
            f"{kind}={place.name} is the name of {' and '.join(map(str, found))}, perhaps a copied card; "
            "unplug one, or name the slot by its path"
        )
    return found[0] if found else place


def located(a: Path, b: Path) -> dict[str, Path]:
    """Both slots by name. Raises `SlotError`, also where the two are one device."""
    slots = {"a": locate(a), "b": locate(b)}
    if slots["a"] == slots["b"]:
        raise SlotError(f"slots a ({a}) and b ({b}) are the same device, {slots['a']}; name two")
    return slots


def _partitions(sys_block: Path) -> list[Path]:
    return sorted(file.parent for file in sys_block.glob("*/partition"))


def _names(partition: Path, devices: Devices) -> PartitionNames:
    """What the kernel says; the disk's own table is asked for what it does not."""
    facts = _facts(partition)
    told = PartitionNames(facts.get("PARTUUID", "").lower(), facts.get("PARTNAME", ""))
    if told.uuid and told.label:
        return told
    table = _table_of(partition, devices).get(int(_text(partition / "partition") or 0))
    if table is None:
        return told
    return PartitionNames(told.uuid or table.uuid, told.label or table.label)


def _table_of(partition: Path, devices: Devices) -> dict[int, PartitionNames]:
    disk = partition.resolve().parent
    device = devices.dev / _facts(disk).get("DEVNAME", disk.name)
    sector_bytes = int(_text(disk / "queue/logical_block_size") or 512)
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}  # no medium, no permission: then only what the kernel tells is known
    try:
        return read_names(lambda offset, size: os.pread(descriptor, size, offset), sector_bytes)
    except OSError:
        return {}
    finally:
        os.close(descriptor)


def _facts(device: Path) -> dict[str, str]:
    lines = _text(device / "uevent").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
