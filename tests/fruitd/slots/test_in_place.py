"""If one of these failed, a node would read a card for nothing, write what is there already, or lose what a cut had left."""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from bep35.merkle import leaf_hashes
from fruitd.slots import in_place
from fruitd.slots.in_place import is_kept, take_in_place
from fruitd.slots.leaves import CHUNK_BYTES
from fruitd.slots.memo import memo_of
from fruitd.slots.read_back import check_blocking
from fruitd.slots.reuse import fill_blocking
from fruitd.slots.reuse_plan import ReusePlan
from swarm.transfer.port import BLOCK_BYTES

CHUNKS, BLOCKS, STRIDE, SAMPLE = 32, 2048, 256, 64
CHUNK_BLOCKS = CHUNK_BYTES // BLOCK_BYTES
SAMPLED = set(range(0, CHUNKS, STRIDE // CHUNK_BLOCKS))
"""Chunks that hold a sample, which here is a whole chunk."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "SAMPLED_FROM_CHUNKS", 8)
    monkeypatch.setattr(in_place, "STRIDE_BLOCKS", STRIDE)
    monkeypatch.setattr(in_place, "SAMPLED_BLOCKS", SAMPLE)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Which chunks were read."""
    chunks: Counter[int] = Counter()
    real = os.preadv

    def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        chunks[offset // CHUNK_BYTES] += 1
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counting)
    return chunks


def _noise(seed: int, length_bytes: int) -> bytearray:
    return bytearray(random.Random(seed).randbytes(length_bytes))


def _taken(
    folder: Path, image: bytes, content: bytes, memo: bytes | None = None, overlook: float = 0
) -> ReusePlan:
    """The plan for an image after a look at a slot with this content."""
    slot = folder / "slot"
    slot.write_bytes(content)
    plan, done = ReusePlan(leaf_hashes(image), len(image)), [0]
    descriptor = os.open(slot, os.O_RDONLY)
    try:
        take_in_place(plan, descriptor, len(image), done.append, memo, overlook=overlook)
    finally:
        os.close(descriptor)
    assert sum(done) >= len(image)
    assert max(done) <= CHUNK_BYTES
    return plan


def _shared(image: bytes, share: float) -> tuple[bytes, set[int]]:
    """A slot that has so much of an image, and which blocks."""
    slot = _noise(2, len(image))
    had = set(random.Random(3).sample(range(BLOCKS), round(share * BLOCKS)))
    for block in had:
        part = slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
        slot[part] = image[part]
    return bytes(slot), had


def _in_place(plan: ReusePlan) -> set[int]:
    return {block for block in range(plan.blocks) if not plan.is_missing(block)}


def _told(done: float) -> None:
    """Nobody watches."""


def _goes_on() -> None:
    """Nobody cancels."""


def _missing(plan: ReusePlan) -> set[int]:
    return set(range(plan.blocks)) - _in_place(plan)


def test_a_slot_with_something_else_is_not_read_whole(tmp_path: Path, read: Counter[int]) -> None:
    """A minute of reading for each GiB, before anything is fetched, on every card that comes from the factory."""
    image = _noise(1, CHUNKS * CHUNK_BYTES - 5)
    plan = _taken(tmp_path, image, _noise(2, len(image)))
    assert plan.missing == plan.blocks
    assert set(read) == SAMPLED


def test_zeros_are_not_written_over_zeros(tmp_path: Path, read: Counter[int]) -> None:
    """Free space is a quarter of an image: it would wear the card in vain. And the sample is not taken where there is nothing."""
    image, other = _noise(1, CHUNKS * CHUNK_BYTES), _noise(2, CHUNKS * CHUNK_BYTES)
    blank = slice(5 * CHUNK_BYTES + 3 * BLOCK_BYTES, 9 * CHUNK_BYTES - 7 * BLOCK_BYTES)
    image[blank] = bytes(blank.stop - blank.start)
    there = slice(6 * CHUNK_BYTES + BLOCK_BYTES, 12 * CHUNK_BYTES)
    other[there] = bytes(there.stop - there.start)
    plan = _taken(tmp_path, image, other)
    expected = set(range(6 * CHUNK_BLOCKS + 1, 9 * CHUNK_BLOCKS - 7))
    assert _in_place(plan) == expected
    assert set(read) == SAMPLED | {5, 6, 7, 8}  # the sample, and where zeros are to be


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_what_a_cut_has_left_is_found(tmp_path: Path, share: float) -> None:
    """Pieces come in an order of chance: what was fetched would be fetched again."""
    image = _noise(1, CHUNKS * CHUNK_BYTES)
    slot, had = _shared(image, share)
    assert _in_place(_taken(tmp_path, image, slot)) == had


def test_a_little_may_be_overlooked_where_a_parcel_makes_it_again(tmp_path: Path, read: Counter[int]) -> None:
    """A minute of reading for each GiB, for a hundredth of it."""
    image = _noise(1, CHUNKS * CHUNK_BYTES)
    slot, had = _shared(image, 0.01)
    assert _in_place(_taken(tmp_path, image, slot, overlook=0.03)) == {
        block for block in had if block // CHUNK_BLOCKS in SAMPLED
    }
    assert set(read) == SAMPLED


def test_more_is_never_overlooked(tmp_path: Path) -> None:
    """What was made before a cut would be made again; and a card would be written in vain."""
    image = _noise(1, CHUNKS * CHUNK_BYTES)
    slot, had = _shared(image, 0.1)
    assert _in_place(_taken(tmp_path, image, slot, overlook=0.03)) == had


def test_the_first_segments_of_a_parcel_are_found(tmp_path: Path) -> None:
    """They are made in order: what was made before the first cut lies at the beginning."""
    image, slot = _noise(1, CHUNKS * CHUNK_BYTES), _noise(2, CHUNKS * CHUNK_BYTES)
    slot[: 2 * CHUNK_BYTES] = image[: 2 * CHUNK_BYTES]
    assert _in_place(_taken(tmp_path, image, slot)) == set(range(2 * CHUNK_BLOCKS))


def test_a_small_image_is_looked_at_whole(tmp_path: Path) -> None:
    """Nothing would be won, and something lost."""
    image, slot = _noise(1, 7 * CHUNK_BYTES), _noise(2, 7 * CHUNK_BYTES)
    slot[3 * CHUNK_BYTES : 3 * CHUNK_BYTES + BLOCK_BYTES] = image[
        3 * CHUNK_BYTES : 3 * CHUNK_BYTES + BLOCK_BYTES
    ]
    assert _in_place(_taken(tmp_path, image, slot)) == {3 * CHUNK_BLOCKS}


def test_what_cannot_be_read_is_not_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector would end the daemon; or be taken for zeros."""
    image = bytes(CHUNKS * CHUNK_BYTES)
    real = os.preadv

    def failing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset == 5 * CHUNK_BYTES:
            raise OSError(errno.EIO, "it is broken")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    slot = bytearray(len(image))
    plan = _taken(tmp_path, image, slot)
    assert _in_place(plan) == set(range(plan.blocks)) - set(range(5 * CHUNK_BLOCKS, 6 * CHUNK_BLOCKS))


def test_can_be_cancelled_at_every_step(tmp_path: Path) -> None:
    """The daemon would not end for as long as a card is sampled."""
    image = _noise(1, CHUNKS * CHUNK_BYTES)
    slot = tmp_path / "slot"
    slot.write_bytes(_noise(2, len(image)))
    descriptor = os.open(slot, os.O_RDONLY)
    try:
        for steps in (0, 3, CHUNKS // STRIDE + 2):
            left = [steps]

            def step(count: int, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise InterruptedError

            with pytest.raises(InterruptedError):
                take_in_place(ReusePlan(leaf_hashes(image), len(image)), descriptor, len(image), step)
    finally:
        os.close(descriptor)


def test_what_was_read_back_before_is_not_read_again(tmp_path: Path, read: Counter[int]) -> None:
    """An update of a few blocks would read a whole card for them."""
    was = bytes(_noise(1, CHUNKS * CHUNK_BYTES))
    image = bytearray(was)
    for block in (5, 700, 701, 2000):
        image[block * BLOCK_BYTES] ^= 1
    plan = _taken(tmp_path, image, was, memo_of(leaf_hashes(was)))
    assert _missing(plan) == {5, 700, 701, 2000}
    assert set(read) == SAMPLED


@pytest.mark.parametrize("changed_byte", [1080, STRIDE * BLOCK_BYTES + 7])
def test_a_slot_that_is_not_as_it_was_is_read(tmp_path: Path, read: Counter[int], changed_byte: int) -> None:
    """A root that was mounted for writing, another image: what is not in place would be found out at the very end."""
    was = bytes(_noise(1, CHUNKS * CHUNK_BYTES))
    content = bytearray(was)
    content[changed_byte] ^= 1
    content[9 * CHUNK_BYTES + 5] ^= 1
    plan = _taken(tmp_path, was, content, memo_of(leaf_hashes(was)))
    assert _missing(plan) == {changed_byte // BLOCK_BYTES, 9 * CHUNK_BLOCKS}
    assert set(read) == set(range(CHUNKS))


def test_a_medium_that_cannot_be_read_is_not_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = bytes(_noise(1, CHUNKS * CHUNK_BYTES))
    real = os.preadv

    def failing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= 8 * CHUNK_BYTES + BLOCK_BYTES < offset + sum(map(len, buffers)):
            raise OSError(errno.EIO, "it fails")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    assert _missing(_taken(tmp_path, was, was, memo_of(leaf_hashes(was)))) == {8 * CHUNK_BLOCKS + 1}


def test_a_memo_that_is_wrong_where_nobody_looked_is_found_out_in_the_end(tmp_path: Path) -> None:
    """A slot would boot with a block that went bad years ago."""
    was = bytes(_noise(1, CHUNKS * CHUNK_BYTES))
    leaves, bad = leaf_hashes(was), 9 * CHUNK_BLOCKS + 3
    content = bytearray(was)
    content[bad * BLOCK_BYTES] ^= 1
    slot = tmp_path / "slot"
    slot.write_bytes(content)
    believed = fill_blocking(slot, [], leaves, len(was), _told, _goes_on, memo_of(leaves))
    assert believed.missing_bytes == 0
    assert check_blocking(slot, leaves, len(was), _told, _goes_on) == [bad]
    looked_at = fill_blocking(slot, [], leaves, len(was), _told, _goes_on)  # the memo is gone by then
    assert looked_at.missing_bytes == BLOCK_BYTES


def test_a_glance_tells_what_is_kept_from_what_somebody_wrote_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parcel would come as slowly as one that may be of no use; or be fetched whole for a slot that is something else."""
    monkeypatch.setattr(in_place, "GLANCES", 4)
    was = bytes(_noise(1, CHUNKS * CHUNK_BYTES - 5))
    memo, slot = memo_of(leaf_hashes(was)), tmp_path / "slot"
    slot.write_bytes(was)
    assert is_kept(slot, len(was), memo)
    slot.write_bytes(was[:1080] + b"mounted" + was[1087:])
    assert not is_kept(slot, len(was), memo)
    slot.write_bytes(_noise(2, len(was)))
    assert not is_kept(slot, len(was), memo)
    assert not is_kept(tmp_path / "nowhere", len(was), memo)
