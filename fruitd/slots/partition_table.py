"""What a disk's partition table calls its partitions: GPT and MBR, read strictly. Pure.

The kernel tells a partition's label only for GPT, and its UUID only since 6.9; this asks the table itself.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable

from attrs import frozen

_GPT_MAGIC = b"EFI PART"
_GPT_HEADER_BYTES = 92
_GPT_TABLE_BYTES_MAX = 128 * 1024
"""Eight times what every tool writes. More is not a table."""
_GPT_NUMBER_MAX = 1024
_MBR_BYTES = 512


@frozen
class PartitionNames:
    """How one partition is called. Empty where the table has no such name."""

    uuid: str
    """As `PARTUUID=` has it, lower case."""
    label: str
    """GPT only."""


def read_names(read: Callable[[int, int], bytes], sector_bytes: int) -> dict[int, PartitionNames]:
    """Names of a disk's partitions, by number.

    Args:
        read: gives so many bytes from an offset, or fewer.
        sector_bytes: the disk's logical block size.

    Returns:
        Empty where there is no table, or a damaged one: what cannot be trusted names nothing. Of an MBR, the names of all
        numbers an MBR can have, used or not.
    """
    header = read(sector_bytes, _GPT_HEADER_BYTES)
    if header.startswith(_GPT_MAGIC):
        return _gpt(header, read, sector_bytes)
    mbr = read(0, _MBR_BYTES)
    if len(mbr) < _MBR_BYTES or mbr[510:] != b"\x55\xaa":
        return {}
    signature = int.from_bytes(mbr[0x1B8:0x1BC], "little")
    return {n: PartitionNames(f"{signature:08x}-{n:02x}", "") for n in range(1, 64)} if signature else {}


def _gpt(header: bytes, read: Callable[[int, int], bytes], sector_bytes: int) -> dict[int, PartitionNames]:
    if len(header) < _GPT_HEADER_BYTES:
        return {}
    size, crc = struct.unpack_from("<II", header, 12)
    first, number, entry_bytes, table_crc = struct.unpack_from("<QIII", header, 72)
    blank = header[:16] + bytes(4) + header[20:]
    if size != _GPT_HEADER_BYTES or zlib.crc32(blank) != crc:
        return {}
    table_bytes = number * entry_bytes
    if not 128 <= entry_bytes <= 4096 or number > _GPT_NUMBER_MAX or table_bytes > _GPT_TABLE_BYTES_MAX:
        return {}
    table = read(first * sector_bytes, table_bytes)
    if len(table) != table_bytes or zlib.crc32(table) != table_crc:
        return {}
    names = {}
    for index in range(number):
        entry = table[index * entry_bytes : (index + 1) * entry_bytes]
        if any(entry[:16]):
            label = entry[56:128].decode("utf-16-le", "replace").partition("\0")[0]
            names[index + 1] = PartitionNames(str(uuid.UUID(bytes_le=entry[16:32])), label)
    return names
