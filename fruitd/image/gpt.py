"""A GUID partition table, written. Pure: the bytes of a new disk's first and last sectors, as UEFI 2.10 chapter 5 has them.

The slots of a node are found by the name or the id of their partition, so both are ours to choose; parted and sfdisk would write
the same, and tests compare with the latter.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from uuid import UUID

from attrs import frozen

from fruitd.errors import UsageError

SECTOR_BYTES = 512
ENTRIES = 128
"""As many as every reader expects; a table of another size is legal and seldom met."""
ENTRY_BYTES = 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR_BYTES
FIRST_USABLE = 2 + TABLE_SECTORS
ALIGN_SECTORS = 2048
"""1 MiB: no flash erase block or RAID stripe that is met is aligned to less."""
NAME_CHARS_MAX = 36
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
"""Where GRUB's core lies on a disk that a BIOS starts from."""
LINUX_DATA = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")


@frozen
class Partition:
    """One partition: what it is, its own id, where it lies, and the name it is found by."""

    name: str
    kind: UUID
    uuid: UUID
    first: int
    """Sector."""
    sectors: int

    @property
    def offset(self) -> int:
        """Where it begins on the disk, in bytes."""
        return self.first * SECTOR_BYTES


@frozen
class GptTable:
    """The table of one disk."""

    disk: UUID
    partitions: tuple[Partition, ...]

    @property
    def sectors(self) -> int:
        """Sectors of the whole disk: after the last partition comes the second copy of the table."""
        last = max(p.first + p.sectors for p in self.partitions)
        return -(-(last + TABLE_SECTORS + 1) // ALIGN_SECTORS) * ALIGN_SECTORS

    def head(self) -> bytes:
        """The first 34 sectors: a table for programs that know no GPT, the header, the entries."""
        return self._protective() + self._header(here=1, there=self.sectors - 1, entries=2) + self._entries()

    def tail(self) -> bytes:
        """The last 33 sectors: the entries, and the header that is asked when the first is bad."""
        begin = self.sectors - 1 - TABLE_SECTORS
        return self._entries() + self._header(here=self.sectors - 1, there=1, entries=begin)

    def _protective(self) -> bytes:
        whole = min(self.sectors - 1, 0xFFFFFFFF)
        row = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, whole)
        return bytes(446) + row + bytes(48) + b"\x55\xaa"

    def _entries(self) -> bytes:
        rows = b"".join(
            _ENTRY.pack(
                p.kind.bytes_le,
                p.uuid.bytes_le,
                p.first,
                p.first + p.sectors - 1,
                0,
                p.name.encode("utf-16-le"),
            )
            for p in self.partitions
        )
        return rows.ljust(ENTRIES * ENTRY_BYTES, b"\0")

    def _header(self, *, here: int, there: int, entries: int) -> bytes:
        def packed(checksum: int) -> bytes:
            return _HEADER.pack(
                b"EFI PART", 0x00010000, _HEADER.size, checksum, 0, here, there, FIRST_USABLE,
                self.sectors - TABLE_SECTORS - 2, self.disk.bytes_le, entries, ENTRIES, ENTRY_BYTES,
                zlib.crc32(self._entries()),
            )  # fmt: skip

        return packed(zlib.crc32(packed(0))).ljust(SECTOR_BYTES, b"\0")


def laid_out(wanted: Sequence[tuple[str, UUID, UUID, int]], disk: UUID) -> GptTable:
    """Partitions one after another. A row is (name, kind, id, bytes); sizes are rounded up to whole MiB.

    Raises `UsageError` for what a table cannot hold.
    """
    partitions: list[Partition] = []
    at = ALIGN_SECTORS
    for name, kind, uuid, size_bytes in wanted:
        if not 1 <= len(name) <= NAME_CHARS_MAX:
            raise UsageError(f"partition name {name!r:.60}; allowed: 1 to {NAME_CHARS_MAX} characters")
        if size_bytes <= 0:
            raise UsageError(f"partition {name} has {size_bytes} bytes; allowed: at least 1")
        sectors = -(-size_bytes // (ALIGN_SECTORS * SECTOR_BYTES)) * ALIGN_SECTORS
        partitions.append(Partition(name, kind, uuid, at, sectors))
        at += sectors
    if not 1 <= len(partitions) <= ENTRIES:
        raise UsageError(f"{len(partitions)} partitions; allowed: 1 to {ENTRIES}")
    return GptTable(disk, tuple(partitions))
