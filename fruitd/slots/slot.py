"""What a slot is and whether it may be written.

A slot is a block device, or a file (demo, tests, machines without spare partitions). Every refusal is a `SlotError` that
says what was found; nothing is changed by looking.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from attrs import frozen

from fruitd.errors import SlotError

_BLKROGET = 0x125E
"""linux/fs.h: is the block device read-only?"""
MOUNTINFO = Path("/proc/self/mountinfo")
SYS_BLOCK = Path("/sys/block")


@frozen
class Slot:
    """A slot that may be written."""

    path: Path
    size_bytes: int
    is_device: bool


def inspect(
    path: Path,
    *,
    active: Path | None,
    image_bytes: int,
    write: bool = True,
    mountinfo: Path = MOUNTINFO,
    sys_block: Path = SYS_BLOCK,
) -> Slot:
    """Look at a slot that is about to be written.

    Args:
        path: the slot.
        active: the slot that runs, which is never written; None where the node runs from elsewhere.
        image_bytes: what has to fit; 0 where that is not known yet.
        write: try to open it for writing too. Not before its keeper has lent it: until then nobody may write it.
        mountinfo, sys_block: what the kernel says about mounts and loop devices.

    Raises:
        SlotError: the slot is missing, neither file nor device, the active one, mounted, claimed by something else,
            read-only or too small (then `final`).
    """
    status = _status(path)
    is_device = stat.S_ISBLK(status.st_mode)
    if not is_device and not stat.S_ISREG(status.st_mode):
        raise SlotError(f"slot {path} is {_kind(status.st_mode)}, not a block device or a file")
    if active is not None and _same(status, active):
        raise SlotError(f"slot {path} is the same as the active slot {active}, which is never written")
    _refuse_mounted(path, status, mountinfo, sys_block)
    size_bytes = _open_and_measure(path, is_device=is_device, write=write)
    if size_bytes < image_bytes:
        raise SlotError(
            f"slot {path} is too small: it has {size_bytes} bytes, the image has {image_bytes}", final=True
        )
    return Slot(path, size_bytes, is_device)


def open_exclusively(path: Path, *, write: bool = True) -> int:
    """Open a slot, by default for writing too; a device so that nobody can mount it meanwhile. The caller closes it.

    Raises:
        SlotError: as `inspect`, in as far as opening shows it.
    """
    is_device = stat.S_ISBLK(_status(path).st_mode)
    # Without O_CREAT, O_EXCL means for a block device: nobody else has claimed it. Mounting is a claim; reading is not.
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | (os.O_EXCL if is_device else 0)
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SlotError(f"slot {path} is in use: mounted, or part of a volume; unmount it") from error
        what = "for writing" if write else "for reading"
        raise SlotError(f"slot {path} cannot be opened {what}: {error.strerror}") from error


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        raise SlotError(f"slot {path} does not exist") from error
    except OSError as error:  # also a loop of symbolic links
        raise SlotError(f"slot {path} cannot be looked at: {error.strerror}") from error


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISCHR(mode):
        return "a character device"
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket"


def _same(status: os.stat_result, other: Path) -> bool:
    try:
        theirs = other.stat()
    except OSError:
        return False
    if stat.S_ISBLK(status.st_mode) and stat.S_ISBLK(theirs.st_mode):
        return status.st_rdev == theirs.st_rdev
    return (status.st_dev, status.st_ino) == (theirs.st_dev, theirs.st_ino)


def _refuse_mounted(path: Path, status: os.stat_result, mountinfo: Path, sys_block: Path) -> None:
    mounts = _mounts(mountinfo)
    devices = [status.st_rdev] if stat.S_ISBLK(status.st_mode) else _loop_devices_on(status, sys_block)
    for device in devices:
        if device in mounts:
            raise SlotError(f"slot {path} is mounted at {mounts[device]}; unmount it, or name another slot")


def _mounts(mountinfo: Path) -> dict[int, str]:
    """Device number to mount point. Lines that are not as proc(5) describes them are skipped."""
    mounts: dict[int, str] = {}
    for line in mountinfo.read_text(errors="replace").splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            major, _, minor = fields[2].partition(":")
            if major.isdecimal() and minor.isdecimal():
                mounts.setdefault(os.makedev(int(major), int(minor)), fields[4])
    return mounts


def _loop_devices_on(status: os.stat_result, sys_block: Path) -> list[int]:
    """Loop devices whose backing file is this file, under whatever name."""
    devices: list[int] = []
    for backing in sys_block.glob("loop*/loop/backing_file"):
        try:
            theirs = Path(backing.read_text().rstrip("\n")).stat()
            major, _, minor = (backing.parent.parent / "dev").read_text().strip().partition(":")
        except OSError:
            continue  # detached this moment, or backed by a file that was deleted
        if (theirs.st_dev, theirs.st_ino) == (status.st_dev, status.st_ino):
            devices.append(os.makedev(int(major), int(minor)))
    return devices


def _open_and_measure(path: Path, *, is_device: bool, write: bool) -> int:
    descriptor = open_exclusively(path, write=write)
    try:
        if write and is_device and int.from_bytes(fcntl.ioctl(descriptor, _BLKROGET, bytes(4)), "little"):
            raise SlotError(f"slot {path} is read-only")
        return os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        raise SlotError(f"slot {path} cannot be measured: {error.strerror}") from error
    finally:
        os.close(descriptor)
