"""A partition table that other programs read otherwise than we meant makes a disk that never starts."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.errors import UsageError
from fruitd.image.gpt import ALIGN_SECTORS, BIOS_BOOT, LINUX_DATA, SECTOR_BYTES, GptTable, laid_out

MIB = 1024 * 1024
DISK = uuid.UUID("11111111-2222-4333-8444-555555555555")
IDS = [uuid.UUID(int=n) for n in range(1, 6)]
ROWS = [
    ("fruit-grub", BIOS_BOOT, IDS[0], MIB),
    ("fruit-boot", LINUX_DATA, IDS[1], 4 * MIB),
    ("fruit-a", LINUX_DATA, IDS[2], 20 * MIB),
    ("fruit-b", LINUX_DATA, IDS[3], 20 * MIB),
    ("fruit-data", LINUX_DATA, IDS[4], 7 * MIB + 1),
]


def write(table: GptTable, path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(table.sectors * SECTOR_BYTES)
        file.write(table.head())
        file.seek(-len(table.tail()), 2)
        file.write(table.tail())
    return path


@pytest.mark.skipif(shutil.which("sfdisk") is None, reason="needs sfdisk (apt install fdisk)")
def test_sfdisk_reads_what_was_meant(tmp_path: Path) -> None:
    """The kernel would find other partitions than the ones that were written, or none."""
    table = laid_out(ROWS, DISK)
    disk = write(table, tmp_path / "disk")
    said = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout
    found = json.loads(said)["partitiontable"]
    assert found["label"] == "gpt"
    assert uuid.UUID(found["id"]) == DISK
    seen = [
        (p["name"], uuid.UUID(p["type"]), uuid.UUID(p["uuid"]), p["start"], p["size"])
        for p in found["partitions"]
    ]
    assert seen == [(p.name, p.kind, p.uuid, p.first, p.sectors) for p in table.partitions]
    verified = subprocess.run(["sfdisk", "--verify", disk], capture_output=True, check=True).stdout
    assert b"No errors detected" in verified


@pytest.mark.skipif(shutil.which("sfdisk") is None, reason="needs sfdisk (apt install fdisk)")
def test_the_second_copy_stands_in_for_the_first(tmp_path: Path) -> None:
    """A disk whose first sectors were overwritten would have lost its partitions, though a second copy is there."""
    table = laid_out(ROWS, DISK)
    disk = write(table, tmp_path / "disk")
    with disk.open("r+b") as file:
        file.seek(SECTOR_BYTES)
        file.write(bytes(SECTOR_BYTES))
    said = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout
    assert [p["name"] for p in json.loads(said)["partitiontable"]["partitions"]] == [row[0] for row in ROWS]


@given(st.lists(st.integers(1, 40 * MIB), min_size=1, max_size=12))
def test_partitions_never_overlap_and_all_fit(sizes: list[int]) -> None:
    """A slot that reaches into its neighbour destroys the running system when it is written."""
    table = laid_out([(f"p{n}", LINUX_DATA, uuid.UUID(int=n), size) for n, size in enumerate(sizes)], DISK)
    at = len(table.head()) // SECTOR_BYTES
    for partition, size in zip(table.partitions, sizes, strict=True):
        assert partition.first >= at
        assert partition.first % ALIGN_SECTORS == 0
        assert partition.sectors * SECTOR_BYTES >= size
        at = partition.first + partition.sectors
    assert at <= table.sectors - len(table.tail()) // SECTOR_BYTES


def test_checksums_hold_by_a_reader_of_the_specification() -> None:
    """Firmware that checks the header would refuse the disk (UEFI 2.10, 5.3.2)."""
    table = laid_out(ROWS, DISK)
    head, tail = table.head(), table.tail()
    for header, entries in ((head[512:1024], head[1024:]), (tail[-512:], tail[:-512])):
        size = struct.unpack_from("<I", header, 12)[0]
        blank = header[:16] + bytes(4) + header[20:size]
        assert zlib.crc32(blank) == struct.unpack_from("<I", header, 16)[0]
        assert zlib.crc32(entries) == struct.unpack_from("<I", header, 88)[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "0 partitions"),
        ([("", LINUX_DATA, IDS[0], MIB)], "partition name"),
        ([("x" * 37, LINUX_DATA, IDS[0], MIB)], "partition name"),
        ([("x", LINUX_DATA, IDS[0], 0)], "0 bytes"),
        ([(f"p{n}", LINUX_DATA, uuid.UUID(int=n), 1) for n in range(129)], "129 partitions"),
    ],
)
def test_what_a_table_cannot_hold_is_refused(
    rows: list[tuple[str, uuid.UUID, uuid.UUID, int]], words: str
) -> None:
    """A table that silently dropped a partition would be noticed on a machine far away."""
    with pytest.raises(UsageError, match=words):
        laid_out(rows, DISK)
