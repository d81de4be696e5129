"""Other tools counted wrongly would make a parcel look better, or worse, than it is."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from benchmarks.images import MIB
from benchmarks.parcel_images import Pair
from benchmarks.parcel_rivals import (
    RIVALS,
    Rival,
    adaptive_bytes,
    beside_rivals,
    told_by_zchunk,
    told_by_zsync,
)
from benchmarks.rows import NotMeasurableError, as_json, as_text

PAGE_BYTES, PACKED_BYTES = 4096, 128 * 1024
INDEX_BYTES = 4 * MIB // PAGE_BYTES * 32
"""Of 4 MiB: hashes do not pack."""


@pytest.fixture(scope="module")
def image() -> bytes:
    return random.Random(1).randbytes(4 * MIB)


def adaptive(tmp_path: Path, old: bytes, new: bytes) -> int:
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    return adaptive_bytes(tmp_path / "old", tmp_path / "new")


def test_rauc_reads_no_block_whose_pages_are_all_at_hand(image: bytes, tmp_path: Path) -> None:
    """Pages that moved would count as fetched, and a parcel look better than it is."""
    moved = image[5 * PAGE_BYTES :] + image[: 4 * PAGE_BYTES] + bytes(PAGE_BYTES)
    assert adaptive(tmp_path, image, moved) == INDEX_BYTES


def test_rauc_reads_a_whole_packed_block_for_one_page(image: bytes, tmp_path: Path) -> None:
    """Bundles cannot be had page by page; counted so, RAUC would look better than it is."""
    page = random.Random(2).randbytes(PAGE_BYTES)
    changed = image[:PAGE_BYTES] + page + image[2 * PAGE_BYTES :]
    assert adaptive(tmp_path, image, changed) == INDEX_BYTES + PACKED_BYTES
    twice = changed[:MIB] + page + changed[MIB + PAGE_BYTES :]
    assert (
        adaptive(tmp_path, image, twice) == INDEX_BYTES + PACKED_BYTES
    )  # the second time it has been made before
    assert adaptive(tmp_path, image, b"\1" + image[:-1]) == INDEX_BYTES + 4 * MIB


def test_what_rauc_reads_is_packed(image: bytes, tmp_path: Path) -> None:
    """RAUC would be charged for bytes that its bundles do not have."""
    page = random.Random(2).randbytes(PAGE_BYTES)
    changed = page * (PACKED_BYTES // PAGE_BYTES) + image[PACKED_BYTES:]
    assert INDEX_BYTES < adaptive(tmp_path, image, changed) < INDEX_BYTES + 2 * PAGE_BYTES
    assert adaptive(tmp_path, image, bytes(4 * MIB)) < PAGE_BYTES  # an index of zeros' hashes packs


def test_the_right_number_is_read_from_what_tools_say() -> None:
    """What a tool found locally, or the whole file, would be taken for what it fetched."""
    assert (
        told_by_zsync(b"Read old. Target 96.0% complete.\nused 24150016 local, fetched 1015808\n") == 1015808
    )
    assert told_by_zchunk(b"Would download 977297 of 6641462 bytes\nMatched 385 of 429 chunks\n") == 977297
    for told in (told_by_zsync, told_by_zchunk):
        with pytest.raises(NotMeasurableError, match="no such file"):
            told(b"no such file")


def test_a_tool_that_is_absent_is_a_row_that_fails(
    image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison nobody made would pass for one that was won."""
    (tmp_path / "image").write_bytes(image)
    pair = Pair("tiny", tmp_path / "image", tmp_path / "image")
    absent = Rival("gone", ("no-such-program",), "gone-tools", lambda _pair, _folder: 1, "")
    here = Rival("here", (), "", lambda _pair, _folder: 4 * MIB, "counted")
    monkeypatch.setattr("benchmarks.parcel_rivals.RIVALS", (absent, here))
    missing, measured = beside_rivals(pair, MIB, tmp_path)
    assert (missing.name, missing.value, missing.ok) == ("parcel to gone", None, False)
    assert "not measured: tiny: not installed: no-such-program (apt install gone-tools)" in as_text(missing)
    assert '"value": null' in as_json(missing)
    assert measured.ok
    assert measured.value == round((MIB + 8192) / (4 * MIB), 4)  # 32 bytes for each of 256 blocks


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_tools_fetch_what_is_new_and_little_more(rival: Rival, image: bytes, tmp_path: Path) -> None:
    """The whole image, or nothing, would be taken for what a node fetches."""
    for program in rival.programs:
        if shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin") is None:
            pytest.skip(f"{program} is not installed (apt install {rival.packages})")
    new = image[:MIB] + random.Random(2).randbytes(MIB) + image[2 * MIB :]
    (tmp_path / "old").write_bytes(image)
    (tmp_path / "new").write_bytes(new)
    room = tmp_path / "room"
    room.mkdir()
    fetched_bytes = rival.fetched_bytes(Pair("tiny", tmp_path / "old", tmp_path / "new"), room)
    assert MIB < fetched_bytes < 1.6 * MIB
