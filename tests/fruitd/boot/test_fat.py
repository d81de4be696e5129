"""If one of these failed, a commit would be written into another file of the first partition. `mtools` is the judge."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.boot.fat import Read, find_root_file
from fruitd.errors import SlotError
from tests.fruitd.boot.disks import make_fat, need

MIB = 1024 * 1024


def reader(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length]


@pytest.mark.parametrize(("kind", "size_bytes"), [("12", 2 * MIB), ("16", 16 * MIB), ("32", 40 * MIB)])
def test_files_lie_where_mtools_put_them(tmp_path: Path, kind: str, size_bytes: int) -> None:
    """Another file would be overwritten."""
    need("mkfs.vfat", "mcopy")
    rng = random.Random(kind)
    # More than one cluster's worth of entries, long names among them.
    files = {f"some long name {i}.txt": rng.randbytes(700) for i in range(40)}
    files |= {"config.txt": rng.randbytes(300), "autoboot.txt": rng.randbytes(256), "empty.txt": b""}
    image = tmp_path / "fat"
    make_fat(image, files, size_bytes, kind)
    data = image.read_bytes()
    for name in ("autoboot.txt", "config.txt"):
        found = find_root_file(reader(data), name)
        assert data[found.offset : found.offset + found.size_bytes] == files[name]
        assert found.offset % 512 == 0
    for name in ("none.txt", "autoboot.bak"):
        with pytest.raises(SlotError, match=f"no {name}"):
            find_root_file(reader(data), name)
    with pytest.raises(SlotError, match="empty"):
        find_root_file(reader(data), "empty.txt")


@given(rubbish=st.binary(max_size=2048), signed=st.booleans())
def test_rubbish_is_refused_and_nothing_else_happens(rubbish: bytes, signed: bool) -> None:
    """A worn or strange card would end the daemon, or keep it reading for ever."""
    data = bytearray(rubbish.ljust(2048, b"\0"))
    if signed:
        data[510:512] = b"\x55\xaa"
        struct.pack_into("<HBHBHHBH", data, 11, 512, 1, 1, 1, 16, 100, 0xF8, 1)
    with pytest.raises(SlotError):
        find_root_file(reader(bytes(data)), "autoboot.txt")


def test_a_folder_that_runs_in_a_circle_ends() -> None:
    """A damaged allocation table would keep the daemon reading for ever."""
    data = bytearray(64 * 512)
    struct.pack_into("<HBHBHHBH", data, 11, 512, 1, 1, 1, 0, 0, 0xF8, 0)
    struct.pack_into("<I", data, 36, 1)
    struct.pack_into("<I", data, 44, 2)
    data[510:512] = b"\x55\xaa"
    struct.pack_into("<I", data, 512 + 8, 2)  # cluster 2 leads to cluster 2
    data[1024:1536] = b"x" * 512
    with pytest.raises(SlotError, match=r"no autoboot\.txt"):
        find_root_file(reader(bytes(data)), "autoboot.txt")
