"""Where a boot environment lies: a file or a partition that is written in place, a sector at a time, and never renamed.

A loader reads by sectors, FAT has no journal, and GRUB remembers where its file's sectors are: so nothing here makes a new
file, changes a length or moves a byte. `overwrite` is the one way in which a backend changes anything: written, flushed, and
read back from the medium itself. Tests put a recorded medium in place of `FileMedium` and cut the power between any two calls.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol

from fruitd.errors import RetryError, SlotError

SECTOR_BYTES = 512
"""What a disk writes whole or not at all. Media with larger sectors write more at once, never less."""


class Medium(Protocol):
    """Bytes that outlive a power cut. Every method may raise OSError."""

    where: str
    """What a person calls it."""

    def read(self, offset: int, length: int) -> bytes:
        """What is there; shorter at the end of the medium. What was written is seen, flushed or not."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Change bytes that exist already. Until `flush` returns, a power cut may leave any sector old, new or torn."""
        ...

    def flush(self) -> None:
        """Everything written is on the medium when this returns; what is read afterwards comes from there."""
        ...


class FileMedium:
    """A file, a part of a file, or a partition. The file has to be there: it is never made, and never becomes longer."""

    def __init__(self, path: Path, base: int = 0) -> None:
        self.where = str(path)
        self._path = path
        self._base = base
        self._descriptor: int | None = None
        """Open from the first write to the flush after it, so that an error of the writing reaches that flush."""

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._descriptor is None:
                # What somebody wrote who was killed before the flush, or whose flush failed, looks as if it were on the medium.
                with contextlib.suppress(OSError):
                    os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(descriptor, length, self._base + offset)
        finally:
            os.close(descriptor)

    def write(self, offset: int, data: bytes) -> None:
        """See `Medium.write`. A write past the end is refused: it would change the file's length."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            end = os.lseek(self._descriptor, 0, os.SEEK_END)
            if self._base + offset + len(data) > end:
                raise OSError(27, f"is only {end} bytes long")  # EFBIG
            written = os.pwrite(self._descriptor, data, self._base + offset)
            if written != len(data):
                raise OSError(5, f"took {written} of {len(data)} bytes")  # EIO
        except OSError:
            self._close()
            raise

    def flush(self) -> None:
        """See `Medium.flush`. The page cache of the file is dropped, so that a read asks the medium."""
        if self._descriptor is None:
            return
        try:
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def overwrite(medium: Medium, offset: int, data: bytes) -> None:
    """Change bytes in place: durable at return, and read back. Nothing is written where they are so already.

    Raises:
        RetryError: it cannot be written, or reads back otherwise. Each sector is then as before, or new.
    """
    try:
        if medium.read(offset, len(data)) == data:
            return
        medium.write(offset, data)
        medium.flush()
        back = medium.read(offset, len(data))
    except OSError as error:
        raise RetryError(f"{medium.where} cannot be written: {error.strerror}") from error
    if back != data:
        raise RetryError(f"{medium.where} reads back wrong; the medium may be worn out or read-only")


def overwrite_sectors(medium: Medium, old: bytes, new: bytes) -> None:
    """Change from `old` to `new`, which have the same length, writing only sectors that differ, the last one first.

    One flush for each sector: what begins the medium, and says that the rest is valid, changes when the rest is in place.
    """
    for offset in reversed(range(0, len(new), SECTOR_BYTES)):
        sector = new[offset : offset + SECTOR_BYTES]
        if old[offset : offset + SECTOR_BYTES] != sector:
            overwrite(medium, offset, sector)


def read_whole(medium: Medium, length_max: int) -> bytes:
    """All of it, at most `length_max` bytes. Raises `SlotError` where it cannot be read."""
    try:
        return medium.read(0, length_max)
    except OSError as error:
        raise SlotError(f"{medium.where} cannot be read: {error.strerror}") from error
