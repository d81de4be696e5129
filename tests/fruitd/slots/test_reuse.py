"""Filling a slot from what the node already has."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bep35.merkle import leaf_hashes
from fruitd.errors import RetryError, SlotError
from fruitd.slots import source
from fruitd.slots.block_index import BlockIndex
from fruitd.slots.leaves import CHUNK_BYTES
from fruitd.slots.reuse import Filled, fill, fill_blocking
from fruitd.slots.reuse_plan import STEP_BYTES, ReusePlan
from swarm.transfer.bitmap import block_count, has_block
from swarm.transfer.port import BLOCK_BYTES

STEPS = BLOCK_BYTES // STEP_BYTES


def _nothing(done: float = 0.0) -> None:
    return


def _fill(slot: Path, sources: list[Path], image: bytes) -> Filled:
    return fill_blocking(slot, sources, leaf_hashes(image), len(image), _nothing, _nothing)


def _sound(slot: Path, image: bytes, filled: Filled, beyond: bytes) -> None:
    """Every claim of the bitmap is true, the numbers agree with it, and nothing beyond the image was touched."""
    content = slot.read_bytes()
    assert content[len(image) :] == beyond
    present = 0
    for block in range(block_count(len(image))):
        part = slice(block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, len(image)))
        if has_block(filled.present, block):
            assert content[part] == image[part], f"block {block} is claimed and wrong"
            present += part.stop - part.start
    assert filled.reused_bytes == present
    assert filled.missing_bytes == len(image) - present


class _Files:
    """A slot and sources with given contents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def files(tmp_path: Path) -> _Files:
    return _Files(tmp_path)


def _random(seed: int, blocks: float) -> bytes:
    return random.Random(seed).randbytes(int(blocks * BLOCK_BYTES))


def test_the_same_release_again_writes_nothing(files: _Files) -> None:
    """Each restart of an interrupted update would wear the card by a whole image."""
    image = _random(1, 70.3)
    slot = files("slot", image + b"tail")
    filled = _fill(slot, [], image)
    assert (filled.missing_bytes, filled.written_bytes) == (0, 0)
    _sound(slot, image, filled, b"tail")


def test_takes_everything_from_the_active_slot(files: _Files) -> None:
    """A release that changes nothing would be fetched whole."""
    image = _random(1, 130.5)
    slot, active = files("slot", bytes(len(image)) + b"tail"), files("active", image + _random(2, 3))
    filled = _fill(slot, [active], image)
    assert (filled.missing_bytes, filled.written_bytes) == (0, len(image))
    _sound(slot, image, filled, b"tail")


def test_finds_what_has_moved(files: _Files) -> None:
    """A file inserted near the beginning of an image would make all of it look new."""
    old = _random(1, 150)
    inserted = _random(2, 3 / STEPS)
    image = old[: 20 * BLOCK_BYTES] + inserted + old[20 * BLOCK_BYTES :]
    image = image[: len(image) // BLOCK_BYTES * BLOCK_BYTES]
    slot, active = files("slot", bytes(len(image))), files("active", old)
    filled = _fill(slot, [active], image)
    assert filled.missing_bytes == BLOCK_BYTES, "only the block around the insertion is new"
    _sound(slot, image, filled, b"")


def test_finds_blocks_that_lie_across_chunks(files: _Files) -> None:
    """One block of each MiB read would be fetched although it is here."""
    block = _random(1, 1)
    source = bytearray(_random(2, 3 * CHUNK_BYTES // BLOCK_BYTES))
    for step in range(1, STEPS):
        image = _random(100 + step, 2) + block
        offset = CHUNK_BYTES - step * STEP_BYTES
        source[offset : offset + BLOCK_BYTES] = block
        slot, active = files("slot", bytes(len(image))), files("active", bytes(source))
        filled = _fill(slot, [active], image)
        assert filled.reused_bytes == BLOCK_BYTES
        _sound(slot, image, filled, b"")


def test_a_block_that_the_image_has_often(files: _Files) -> None:
    """A pattern that fills much of an image would be fetched many times, or scanned for hours."""
    pattern = b"\xff" * BLOCK_BYTES
    image = b"".join(pattern if number % 2 else _random(number, 1) for number in range(200))
    slot, active = files("slot", bytes(len(image))), files("active", _random(300, 2) + 500 * pattern)
    filled = _fill(slot, [active], image)
    assert filled.reused_bytes == 100 * BLOCK_BYTES
    _sound(slot, image, filled, b"")


def test_zeros_need_no_source(files: _Files) -> None:
    """The empty half of every image would be fetched over a thin line."""
    image = _random(1, 3) + bytes(100 * BLOCK_BYTES) + _random(2, 0.1)
    slot = files("slot", b"\xee" * len(image))
    filled = _fill(slot, [], image)
    assert filled.reused_bytes == filled.written_bytes == 100 * BLOCK_BYTES
    _sound(slot, image, filled, b"")


@pytest.mark.parametrize("first", [0, 5])
def test_zeros_are_written_in_large_parts_and_nothing_else(
    files: _Files, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Each block by itself took a third of a second for an image of 2 GiB; one too many is a hole in a file."""
    image = bytearray(_random(1, 300.5))
    for begin, end in ((first, first + 1), (20, 190), (200, 203)):
        image[begin * BLOCK_BYTES : end * BLOCK_BYTES] = bytes((end - begin) * BLOCK_BYTES)
    content = bytearray(b"\xee" * len(image))
    content[100 * BLOCK_BYTES : 101 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
    written: list[range] = []
    pwrite = os.pwrite

    def noting(descriptor: int, data: memoryview, offset: int) -> int:
        count = pwrite(descriptor, data, offset)
        written.append(range(offset // BLOCK_BYTES, (offset + count) // BLOCK_BYTES))
        return count

    monkeypatch.setattr(os, "pwrite", noting)
    slot = files("slot", content)
    filled = _fill(slot, [], bytes(image))
    runs = [(first, first + 1), (20, 84), (84, 100), (101, 165), (165, 190), (200, 203)]
    assert written == [range(*run) for run in runs]
    _sound(slot, bytes(image), filled, b"")


def test_a_copy_at_another_offset_is_found(files: _Files) -> None:
    """A file that was copied, and not moved, would be fetched."""
    old = _random(1, 12)
    image = old + _random(2, 1 / STEPS) + old[: 8 * BLOCK_BYTES - STEP_BYTES]
    slot, active = files("slot", bytes(len(image))), files("active", old)
    filled = _fill(slot, [active], image)
    assert filled.missing_bytes == BLOCK_BYTES
    _sound(slot, image, filled, b"")


class TestSample:
    """Large sources are sampled before they are looked through."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source, "SAMPLED_FROM_CHUNKS", 8)
        monkeypatch.setattr(source, "STRIDE_BYTES", 4 * CHUNK_BYTES)

    @pytest.fixture
    def read_bytes(self, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
        """How much is read from anywhere, once `_fill` runs."""
        counted: Counter[str] = Counter()
        read = os.preadv

        def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
            count = read(descriptor, buffers, offset)
            counted["all"] += count
            return count

        monkeypatch.setattr(os, "preadv", counting)
        return counted

    def test_an_unrelated_source_is_left_alone(self, files: _Files, read_bytes: Counter[str]) -> None:
        """A node that gets its first release would look for minutes through a system that has none of it."""
        image = _random(1, 10)
        slot, active = files("slot", bytes(len(image))), files("active", _random(2, 20 * 64))
        filled = _fill(slot, [active], image)
        assert filled.reused_bytes == 0
        assert read_bytes["all"] < len(image) + 6 * (CHUNK_BYTES + BLOCK_BYTES)

    def test_a_source_with_one_piece_of_the_image_is_looked_through(self, files: _Files) -> None:
        """What lies between the samples would be fetched although it is here."""
        image = _random(1, 4 * 64 + 20)
        other = _random(2, 16 * 64)
        source = (
            other[: 6 * CHUNK_BYTES]
            + image[: 4 * CHUNK_BYTES]
            + other[6 * CHUNK_BYTES :]
            + image[-20 * BLOCK_BYTES :]
        )
        slot, active = files("slot", bytes(len(image))), files("active", source)
        filled = _fill(slot, [active], image)
        assert filled.missing_bytes == 0
        _sound(slot, image, filled, b"")

    def test_zeros_are_no_sample(self, files: _Files) -> None:
        """A system on a large, mostly empty partition would be taken for unrelated."""
        image = _random(1, 64)
        source = bytes(10 * CHUNK_BYTES + STEP_BYTES) + image + bytes(5 * CHUNK_BYTES)
        slot, active = files("slot", b"\xee" * len(image)), files("active", source)
        assert _fill(slot, [active], image).missing_bytes == 0


def test_holes_are_zeros(tmp_path: Path) -> None:
    """Sparse slots and images, as on every demo and test machine, would be misread."""
    data = _random(1, 3)
    image = bytes(CHUNK_BYTES) + data + bytes(2 * CHUNK_BYTES) + b"end"
    slot, active = tmp_path / "slot", tmp_path / "active"
    for path in (slot, active):
        path.touch()
        os.truncate(path, len(image) + 5 * CHUNK_BYTES)
    with active.open("r+b") as file:
        file.seek(3 * CHUNK_BYTES - STEP_BYTES)
        file.write(data)
    filled = _fill(slot, [active], image)
    assert (filled.missing_bytes, filled.written_bytes) == (len(b"end"), len(data))
    _sound(slot, image, filled, bytes(5 * CHUNK_BYTES))


def test_a_block_that_begins_among_zeros_is_found(files: _Files) -> None:
    """What follows an empty stretch of the old image would always be fetched."""
    data = _random(1, 1 / STEPS)
    image = bytes(BLOCK_BYTES - STEP_BYTES) + data
    slot, active = files("slot", b"\xee" * len(image)), files("active", bytes(BLOCK_BYTES) + data)
    filled = _fill(slot, [active], image)
    assert filled.missing_bytes == 0
    _sound(slot, image, filled, b"")


def test_the_short_last_block(files: _Files) -> None:
    """An image that is no multiple of 16 KiB would never be complete, or be taken for complete."""
    image = _random(1, 2) + b"the end"
    active = files("active", image)
    slot = files("slot", bytes(len(image)) + b"tail")
    filled = _fill(slot, [active], image)
    assert filled.missing_bytes == 0
    _sound(slot, image, filled, b"tail")
    torn = files("slot", image[:-1] + b"X" + b"tail")
    filled = _fill(torn, [], image)
    assert filled.missing_bytes == len(b"the end")
    _sound(torn, image, filled, b"tail")


def test_torn_writes_are_noticed(files: _Files) -> None:
    """A block half written at a power cut would be taken for whole."""
    image = _random(1, 40)
    torn = bytearray(image)
    for block in (3, 17, 39):
        torn[block * BLOCK_BYTES + 512 : (block + 1) * BLOCK_BYTES] = bytes(BLOCK_BYTES - 512)
    slot = files("slot", bytes(torn))
    filled = _fill(slot, [], image)
    assert [b for b in range(40) if not has_block(filled.present, b)] == [3, 17, 39]
    _sound(slot, image, filled, b"")


def test_sources_that_cannot_be_read_are_passed_over(files: _Files, tmp_path: Path) -> None:
    """A node without its old image would not update at all."""
    image = _random(1, 5)
    slot, active = files("slot", bytes(len(image))), files("active", image)
    filled = _fill(slot, [tmp_path / "missing", tmp_path, files("empty", b""), active], image)
    assert filled.missing_bytes == 0


def test_sources_are_not_written(files: _Files) -> None:
    """The system that runs would be written to."""
    image = _random(1, 20)
    slot, active = files("slot", bytes(len(image))), files("active", image)
    active.chmod(0o444)
    before = active.stat().st_mtime_ns
    _fill(slot, [active], image)
    assert active.stat().st_mtime_ns == before
    assert active.read_bytes() == image


def test_a_slot_that_is_not_there(tmp_path: Path) -> None:
    """A slot that went away would crash the daemon, or come into being as a file."""
    with pytest.raises(SlotError, match="does not exist"):
        _fill(tmp_path / "slot", [], b"x")
    assert not (tmp_path / "slot").exists()


def test_no_room_can_be_waited_for(files: _Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under a slot file would end the update for good."""
    image = _random(1, 5)
    slot, active = files("slot", bytes(len(image))), files("active", image)

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(RetryError, match="No space left on device"):
        _fill(slot, [active], image)


def test_leaves_that_do_not_belong_to_the_image_are_a_bug() -> None:
    """Leaves of another image would be looked up beyond their end."""
    with pytest.raises(ValueError, match="do not belong"):
        ReusePlan(bytes(32), 2 * BLOCK_BYTES)


def test_tells_how_far_it_is(files: _Files) -> None:
    """The progress of an update would stand still, or jump beyond its end."""
    image = _random(1, 200)
    told: list[float] = []
    slot, active = files("slot", bytes(len(image))), files("active", _random(2, 300))
    fill_blocking(slot, [active], leaf_hashes(image), len(image), told.append, _nothing)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 5


def test_cancelled_between_chunks(files: _Files) -> None:
    """An update that is called off would go on for minutes."""
    image = _random(1, 400)
    slot, active = files("slot", bytes(len(image))), files("active", image)
    fractions: list[float] = []

    async def cancel_half_way() -> None:
        with trio.CancelScope() as scope:

            def tell(done: float) -> None:
                fractions.append(done)
                if done > 0.6:
                    trio.from_thread.run_sync(scope.cancel)

            await fill(slot, [active], leaf_hashes(image), len(image), tell)
        assert scope.cancelled_caught

    trio.run(cancel_half_way)
    assert fractions[-1] < 1.0
    again = _fill(slot, [], image)
    assert again.reused_bytes > 0, "what was put in place before stays"
    _sound(slot, image, again, b"")


_CONTENT = st.integers(0, 5)
"""Few, so that blocks repeat; 0 is zeros."""


def _steps(numbers: list[int]) -> bytes:
    return b"".join(bytes(STEP_BYTES) if n == 0 else random.Random(n).randbytes(STEP_BYTES) for n in numbers)


@settings(max_examples=60, deadline=None)
@given(
    old=st.lists(_CONTENT, min_size=0, max_size=24),
    left=st.lists(_CONTENT, min_size=0, max_size=16),
    image=st.lists(_CONTENT, min_size=1, max_size=16),
    cut=st.integers(0, STEP_BYTES - 1),
)
def test_against_all_windows_of_the_old_slot(
    tmp_path_factory: pytest.TempPathFactory, old: list[int], left: list[int], image: list[int], cut: int
) -> None:
    """Blocks would be claimed that are wrong, or fetched although they are here.

    Oracle: the set of all windows.
    """
    files = _Files(tmp_path_factory.mktemp("reuse"))
    want = _steps(image)
    want = want[: len(want) - cut]
    source = _steps(old)
    before = (_steps(left) + bytes([0xEE]) * len(want))[: len(want)]
    slot, active = files("slot", before + b"beyond"), files("active", source)
    filled = _fill(slot, [active], want)
    _sound(slot, want, filled, b"beyond")

    blocks = [want[at : at + BLOCK_BYTES] for at in range(0, len(want), BLOCK_BYTES)]
    windows = [source[at : at + BLOCK_BYTES] for at in range(0, len(source) - BLOCK_BYTES + 1, STEP_BYTES)]
    for number, block in enumerate(blocks):
        at = number * BLOCK_BYTES
        same_place = block in (before[at : at + len(block)], source[at : at + len(block)])
        whole = len(block) == BLOCK_BYTES
        here = same_place or (whole and (block in windows or not any(block)))
        assert has_block(filled.present, number) == here, f"block {number}"


@given(st.lists(st.integers(0, 30), max_size=60))
def test_the_index_against_a_dictionary(numbers: list[int]) -> None:
    """Content would be written to the wrong place, or not found."""
    known = [leaf_hashes(bytes([number])) for number in range(40)]
    index = BlockIndex(b"".join(known[number] for number in numbers))
    for number, leaf in enumerate(known):
        expected = [block for block, content in enumerate(numbers) if content == number]
        assert sorted(index.blocks(leaf)) == expected
        assert (leaf in index) == bool(expected)
        index.settle(leaf)
        assert list(index.blocks(leaf)) == expected[-1:]


def test_the_index_stands_leaves_that_collide() -> None:
    """Leaves that fall on one place of the table would shadow each other."""
    leaves = [bytes(8) + bytes([number]) * 24 for number in range(200)]
    index = BlockIndex(b"".join(leaves))
    assert [list(index.blocks(leaf)) for leaf in leaves] == [[number] for number in range(200)]
    assert bytes(8) + b"\xff" * 24 not in index


@contextmanager
def _loop_device(path: Path) -> Iterator[str]:
    attach = ["losetup", "--find", "--show", str(path)]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_fills_a_block_device(files: _Files) -> None:
    """On a real node slots are devices: nothing would be reused there."""
    image = _random(1, 33.3)
    backing, active = files("backing", b"\xee" * (1024 * 1024)), files("active", image[: 20 * BLOCK_BYTES])
    with _loop_device(backing) as device:
        filled = _fill(Path(device), [active], image)
    assert filled.reused_bytes == 20 * BLOCK_BYTES
    _sound(backing, image, filled, b"\xee" * (1024 * 1024 - len(image)))
