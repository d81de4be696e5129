"""Which slot runs now: what the loader told the kernel, checked against where the root file system really is."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from fruitd.boot.environment import SLOTS
from fruitd.errors import SlotError

SLOT_ARGUMENT = "fruit.slot"
"""Kernel argument that names the slot: `fruit.slot=a`."""
_READ_BYTES_MAX = 16 * 1024
"""The longest kernel command line of any architecture is far below."""


@frozen
class Places:
    """Where this system says how it was booted; other ones in tests."""

    cmdline: Path = Path("/proc/cmdline")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    device_tree: Path = Path("/proc/device-tree")
    root: Path = Path("/")
    sys_block: Path = Path("/sys/dev/block")


def read_boot_id(places: Places) -> str:
    """The kernel's name for this boot. Raises `SlotError`."""
    name = _read(places.boot_id).decode("latin-1").strip()
    if not 1 <= len(name) <= 64:
        raise SlotError(f"{places.boot_id} holds no boot id")
    return name


def slot_argument(places: Places) -> str | None:
    """The slot that the loader named on the kernel's command line; None where it named none. Raises `SlotError`."""
    found = [
        word.partition("=")[2]
        for word in _read(places.cmdline).decode("latin-1").split()
        if word.startswith(f"{SLOT_ARGUMENT}=")
    ]
    if not found:
        return None
    if found[-1] not in SLOTS:
        raise SlotError(f"the kernel was started with {SLOT_ARGUMENT}={found[-1][:20]}, which is no slot")
    return found[-1]


def root_device(places: Places) -> int | None:
    """Number of the block device the root file system is on; None where there is none (overlay, network, memory)."""
    try:
        device = places.root.stat().st_dev
    except OSError as error:
        raise SlotError(f"{places.root} cannot be looked at: {error.strerror}") from error
    return device if os.major(device) else None


def devices_below(device: int, places: Places) -> frozenset[int]:
    """A device and what it is made of (device mapper: dm-verity, dm-crypt), by number."""
    found, left = {device}, [device]
    while left:
        at = left.pop()
        for slave in (places.sys_block / f"{os.major(at)}:{os.minor(at)}" / "slaves").glob("*"):
            major, _, minor = _text(slave / "dev").partition(":")
            if major.isdigit() and minor.isdigit():
                number = os.makedev(int(major), int(minor))
                left += [number] if number not in found else []
                found.add(number)
    return frozenset(found)


def slot_of_root(slots: Mapping[str, Path], places: Places) -> str | None:
    """The slot that the root file system is on; None where the root is on no block device, or slots are files.

    Raises `SlotError` where the root is on a block device that is neither slot: then the configuration names other ones.
    """
    root = root_device(places)
    numbers = {slot: _device_number(path) for slot, path in slots.items()}
    if root is None or None in numbers.values():
        return None
    below = devices_below(root, places)
    for slot, number in numbers.items():
        if number in below:
            return slot
    named = ", ".join(f"{slot} is {slots[slot]}" for slot in sorted(slots))
    raise SlotError(
        f"the running system is on device {os.major(root)}:{os.minor(root)}, which is neither slot ({named}); "
        "correct [slots], or install the system into a slot"
    )


def running_slot(slots: Mapping[str, Path], places: Places, *, told_by: str) -> str:
    """The slot that runs, by the kernel's command line and the root file system, which have to agree. Raises `SlotError`.

    `told_by` names what should have put `fruit.slot=` on the command line, for the message.
    """
    told, found = slot_argument(places), slot_of_root(slots, places)
    if told is None and found is None:
        raise SlotError(f"nothing says which slot runs: {told_by} has to pass {SLOT_ARGUMENT}= to the kernel")
    if told is not None and found is not None and told != found:
        raise SlotError(
            f"{told_by} started slot {told}, but the root file system is on slot {found} ({slots[found]}); "
            "correct [slots] or the loader's configuration: nothing is written until they agree"
        )
    return told or found or ""


def partition_number(path: Path, places: Places) -> int:
    """Number of a partition on its disk, as loaders count. Raises `SlotError`."""
    device = _device_number(path)
    number = (
        None
        if device is None
        else _text(places.sys_block / f"{os.major(device)}:{os.minor(device)}" / "partition")
    )
    if not number or not number.isdigit():
        raise SlotError(f"slot {path} is no partition of a disk; name one such as /dev/mmcblk0p2")
    return int(number)


def _device_number(path: Path) -> int | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_rdev if stat.S_ISBLK(status.st_mode) else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES_MAX)
    except OSError as error:
        raise SlotError(f"{path} cannot be read: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
