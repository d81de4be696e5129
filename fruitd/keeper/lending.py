"""Lending a slot: for the length of a loan the daemon's group may write it, and nobody may at any other time.

A slot that is a device gets a second device node, the keeper's own: the device manager (udev) gives the first one back to whom
it belongs by its rules each time somebody has written to it, which would end a loan in the middle. A descriptor that the daemon
kept open outlives the loan, so the device is also made read-only in the kernel, which looks at that for every single write.

A slot that is a file is lent by its mode alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from fruitd.errors import SlotError, UsageError

NODES = Path("/dev/fruit")
"""Where the keeper's device nodes are. Not below /run, where devices do not count (nodev)."""
LENT_MODE = 0o660
KEPT_MODE = 0o640
"""The daemon serves slots to its peers and takes blocks from them: it reads both, always."""
_BLKROSET = 0x125D
"""linux/fs.h: make the block device read-only, or writable again."""


class Loan:
    """One slot, and whether it is lent.

    Args:
        name: of the slot.
        slot: its path.
        group: of the daemon's user; None: the daemon is of the keeper's own user, and modes are left alone.
        nodes: folder of the keeper's device nodes.
    """

    def __init__(self, name: str, slot: Path, group: int | None, nodes: Path = NODES) -> None:
        self._slot = slot
        self._group = group
        self._is_device = slot.is_block_device()
        self.path = nodes / f"slot-{name}" if self._is_device and group is not None else slot
        """Where the daemon finds the slot."""

    def open(self, *, in_use: bool) -> None:
        """Begin with nothing lent. What is in use is only made readable: a file system on it must go on."""
        try:
            if self.path != self._slot:
                _make_node(self.path, self._slot)
            if not in_use:
                self.end()
            self._set_mode(KEPT_MODE)
        except OSError as error:
            # Root is not permitted what the unit does not name.
            named = error.errno != errno.EPERM
            do = "" if named else "; name it: fruitd-keeper --write-limits (docs/operating.md)"
            raise SlotError(
                f"slot {self._slot} cannot be given to the daemon's group: {error.strerror}{do}"
            ) from error

    def begin(self) -> None:
        """Let the group write the slot."""
        try:
            self._set_read_only(read_only=False)
            self._set_mode(LENT_MODE)
        except OSError as error:
            raise SlotError(f"slot {self._slot} cannot be lent: {error.strerror}") from error

    def end(self) -> None:
        """Nobody writes the slot any more. What was written is flushed first: what is read-only cannot be."""
        try:
            self._flush()
            self._set_mode(KEPT_MODE)
            self._set_read_only(read_only=True)
        except OSError as error:
            raise SlotError(
                f"slot {self._slot} cannot be flushed and taken back: {error.strerror}"
            ) from error

    def _flush(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS):
                return  # taken back before: read-only already, and flushed then
            raise
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _set_mode(self, mode: int) -> None:
        if self._group is not None:
            os.chown(self.path, 0, self._group)
            self.path.chmod(mode)

    def _set_read_only(self, *, read_only: bool) -> None:
        if not self._is_device:
            return
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _BLKROSET, int(read_only).to_bytes(4, "little"))
        finally:
            os.close(descriptor)


def check_place(slot: Path, user: int) -> None:
    """Raise `UsageError` for a slot that is a file which the daemon's user could put another file in the place of.

    The keeper, which is root, gives its group what it finds there.
    """
    if slot.is_block_device():
        return
    try:
        for folder in {*slot.absolute().parents, *slot.resolve().parents}:
            status = folder.stat()
            others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
            if status.st_uid == user or others:
                raise UsageError(
                    f"[slots] {slot} is a file, and others than root may write {folder}; "
                    "put it where only root may, or name a partition"
                )
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise SlotError(f"slot {slot} cannot be looked at: {error}") from error


def _make_node(node: Path, device: Path) -> None:
    """A device node of our own for a device, whatever stood there before."""
    number = device.stat().st_rdev
    node.parent.mkdir(mode=0o755, exist_ok=True)
    node.parent.chmod(0o755)
    if node.is_block_device() and node.stat().st_rdev == number:
        return
    node.unlink(missing_ok=True)
    os.mknod(node, stat.S_IFBLK | KEPT_MODE, number)
