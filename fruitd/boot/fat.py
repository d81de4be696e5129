"""Where on a FAT partition a small file of the root folder lies: pure, reads only.

Writing that one sector straight to the partition, which nobody has mounted, changes nothing else: no folder entry with a new
time, no mark that the file system is in use, no allocation table. Source: Microsoft FAT specification, 2005.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from attrs import frozen

from fruitd.errors import SlotError

Read = Callable[[int, int], bytes]
"""`read(offset, length)` on the partition."""
_ENTRY_BYTES = 32
_ENTRIES_MAX = 4096
"""A root folder of FAT12/16 has 512 entries; a longer search is a damaged file system."""
_ATTRIBUTE_LONG_NAME, _ATTRIBUTES_NO_FILE = 0x0F, 0x18


@frozen
class FatFile:
    """A file whose content begins at `offset` of the partition, at the beginning of a cluster."""

    offset: int
    size_bytes: int


@frozen
class _Geometry:
    sector_bytes: int
    cluster_bytes: int
    fat_at: int
    root_at: int
    root_entries: int
    """0: FAT32, whose root folder is a chain of clusters that begins with `root_cluster`."""
    root_cluster: int
    data_at: int


def find_root_file(read: Read, name: str) -> FatFile:
    """Find `NAME.EXT` in the root folder. Raises `SlotError` where there is no FAT, or no such file with content."""
    geometry = _geometry(read(0, 512))
    stem, _, extension = name.upper().partition(".")
    wanted = stem.ljust(8).encode() + extension.ljust(3).encode()
    for entry in _root_entries(read, geometry):
        if entry[0] == 0:
            break
        attributes = entry[11]
        if entry[:11] != wanted or attributes == _ATTRIBUTE_LONG_NAME or attributes & _ATTRIBUTES_NO_FILE:
            continue
        high, low, size_bytes = *struct.unpack_from("<H", entry, 20), *struct.unpack_from("<HI", entry, 26)
        cluster = low if geometry.root_entries else high << 16 | low
        if cluster < 2 or size_bytes == 0:
            raise SlotError(f"{name} is empty")
        return FatFile(geometry.data_at + (cluster - 2) * geometry.cluster_bytes, size_bytes)
    raise SlotError(f"there is no {name} in the root folder")


def _geometry(head: bytes) -> _Geometry:
    if len(head) < 512 or head[510:] != b"\x55\xaa":
        raise SlotError("this is no FAT file system")
    sector, per_cluster, reserved, fats, entries, _, _, short_fat = struct.unpack_from("<HBHBHHBH", head, 11)
    (long_fat,), (root_cluster,) = struct.unpack_from("<I", head, 36), struct.unpack_from("<I", head, 44)
    fat_sectors = short_fat or long_fat
    if sector not in (512, 1024, 2048, 4096) or per_cluster == 0 or per_cluster & (per_cluster - 1):
        raise SlotError("this is no FAT file system")
    if not 1 <= fats <= 2 or reserved == 0 or fat_sectors == 0:
        raise SlotError("this is no FAT file system")
    root_at = (reserved + fats * fat_sectors) * sector
    root_bytes = -(-entries * _ENTRY_BYTES // sector) * sector
    return _Geometry(
        sector_bytes=sector,
        cluster_bytes=per_cluster * sector,
        fat_at=reserved * sector,
        root_at=root_at,
        root_entries=entries,
        root_cluster=root_cluster,
        data_at=root_at + root_bytes,
    )


def _root_entries(read: Read, geometry: _Geometry) -> list[bytes]:
    if geometry.root_entries:
        folder = read(geometry.root_at, min(geometry.root_entries, _ENTRIES_MAX) * _ENTRY_BYTES)
    else:
        folder, cluster = b"", geometry.root_cluster
        while 2 <= cluster < 0x0FFFFFF7 and len(folder) < _ENTRIES_MAX * _ENTRY_BYTES:
            folder += read(geometry.data_at + (cluster - 2) * geometry.cluster_bytes, geometry.cluster_bytes)
            link = read(geometry.fat_at + 4 * cluster, 4)
            if len(link) != 4:
                raise SlotError("the FAT file system is damaged")
            cluster = int.from_bytes(link, "little") & 0x0FFFFFFF
    whole = len(folder) // _ENTRY_BYTES * _ENTRY_BYTES
    return [folder[at : at + _ENTRY_BYTES] for at in range(0, whole, _ENTRY_BYTES)]
