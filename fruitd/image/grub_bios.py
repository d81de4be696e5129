"""GRUB on a disk that a BIOS starts: where the two parts of it that are not files find each other. Pure.

`grub-bios-setup` does the same to a disk that the kernel knows; this does it to bytes, so that a disk is made in a file without
root. The offsets are of GRUB 2.02 to 2.12: include/grub/i386/pc/boot.h and util/setup.c; tests compare with the program itself.
"""

from __future__ import annotations

import struct

from fruitd.errors import UsageError
from fruitd.image.gpt import SECTOR_BYTES

_PARTITIONS_AT = 0x1B8
"""From here on the first sector belongs to the partition table."""
_CORE_SECTOR_AT = 0x5C
_DRIVE_AT = 0x64
_DRIVE_CHECK_AT = 0x66
_FIRST_LIST_AT = 0x200 - 12
"""The list of where core lies grows down from the end of core's first sector; a row is (sector, sectors, segment)."""
_SEGMENT = 0x820
"""Where the second sector of core is loaded: 0x8200."""
_NO_JUMP = b"\x90\x90"
"""In place of a check for a BIOS that passes the drive wrongly: the disk is not a floppy."""


def first_sector(boot: bytes, table: bytes, core_sector: int) -> bytes:
    """The disk's first sector: GRUB's boot.img, told where core is, with the partitions of `table`. Raises `UsageError`."""
    if len(boot) != SECTOR_BYTES or boot[-2:] != b"\x55\xaa":
        raise UsageError("boot.img is not GRUB's: it has to be 512 bytes that end in 55 aa")
    sector = bytearray(boot)
    struct.pack_into("<Q", sector, _CORE_SECTOR_AT, core_sector)
    sector[_DRIVE_AT] = 0xFF  # the drive that the BIOS started from
    sector[_DRIVE_CHECK_AT : _DRIVE_CHECK_AT + 2] = _NO_JUMP
    sector[_PARTITIONS_AT:] = table[_PARTITIONS_AT:SECTOR_BYTES]
    return bytes(sector)


def placed_core(core: bytes, core_sector: int, room_bytes: int) -> bytes:
    """core.img as it lies at `core_sector`, told where its other sectors are. Raises `UsageError` if it does not fit."""
    if len(core) <= SECTOR_BYTES or len(core) > room_bytes:
        raise UsageError(f"GRUB's core has {len(core)} bytes; allowed: {SECTOR_BYTES + 1} to {room_bytes}")
    sectors = -(-len(core) // SECTOR_BYTES)
    placed = bytearray(core.ljust(sectors * SECTOR_BYTES, b"\0"))
    struct.pack_into("<QHH", placed, _FIRST_LIST_AT, core_sector + 1, sectors - 1, _SEGMENT)
    return bytes(placed)
