"""Reading a slot back before it may boot."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
import trio

from bep35.merkle import leaf_hashes
from fruitd.errors import SlotError
from fruitd.slots.read_back import check, check_blocking, leaves_of, leaves_of_slot
from swarm.transfer.port import BLOCK_BYTES

IMAGE = random.Random(1).randbytes(150 * BLOCK_BYTES + 99)
LEAVES = leaf_hashes(IMAGE)


def _nothing(done: float = 0.0) -> None:
    return


def _check(slot: Path) -> list[int]:
    return check_blocking(slot, LEAVES, len(IMAGE), _nothing, _nothing)


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    path = tmp_path / "slot"
    path.write_bytes(IMAGE + b"what lies beyond the image")
    return path


def test_a_slot_that_holds_the_image(slot: Path) -> None:
    """No update would ever boot."""
    assert _check(slot) == []
    assert slot.read_bytes() == IMAGE + b"what lies beyond the image"


@pytest.mark.parametrize("block", [0, 1, 63, 64, 149, 150])
@pytest.mark.parametrize("at", [0, -1])
def test_one_wrong_bit_is_found(slot: Path, block: int, at: int) -> None:
    """A node would boot an image that a card has damaged."""
    content = bytearray(slot.read_bytes())
    end = min((block + 1) * BLOCK_BYTES, len(IMAGE))
    content[block * BLOCK_BYTES if at == 0 else end - 1] ^= 0x10
    slot.write_bytes(content)
    assert _check(slot) == [block]


def test_several_bad_blocks_are_all_named(slot: Path) -> None:
    """An operator would not see how bad a card is."""
    content = bytearray(slot.read_bytes())
    for block in (5, 70, 150):
        content[block * BLOCK_BYTES] ^= 1
    slot.write_bytes(content)
    assert _check(slot) == [5, 70, 150]


def test_a_slot_that_became_shorter(slot: Path) -> None:
    """A truncated slot would pass, or crash the daemon."""
    os.truncate(slot, 140 * BLOCK_BYTES)
    assert _check(slot) == list(range(140, 151))


def test_a_sector_that_cannot_be_read(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dead sector would end the check without saying where, or pass as good."""
    bad = range(70 * BLOCK_BYTES + 512, 70 * BLOCK_BYTES + 1024)
    read = os.preadv

    def dying(descriptor: int, buffers: list[Any], offset: int) -> int:
        if offset < bad.stop and offset + len(buffers[0]) > bad.start:
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", dying)
    assert _check(slot) == [70]
    with pytest.raises(SlotError, match=f"cannot be read at byte {70 * BLOCK_BYTES}"):
        leaves_of_slot(slot, len(IMAGE))


def test_the_medium_is_asked_not_the_cache(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a card failed to keep would be checked in memory, where it is still right."""
    done: list[str] = []
    flush, advise, read = os.fsync, os.posix_fadvise, os.preadv

    def fsync(descriptor: int) -> None:
        done.append("flush")
        flush(descriptor)

    def fadvise(descriptor: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            done.append(f"drop {offset} {length}")
        advise(descriptor, offset, length, advice)

    def preadv(descriptor: int, buffers: list[Any], offset: int) -> int:
        done.append("read")
        return read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    monkeypatch.setattr(os, "preadv", preadv)
    assert _check(slot) == []
    assert done[:3] == ["flush", f"drop 0 {len(IMAGE)}", "read"]


def test_a_flush_that_fails(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that the kernel lost would be forgotten: a second fsync says that all is well."""

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SlotError, match="cannot be flushed: Input/output error"):
        _check(slot)


def test_a_slot_that_is_gone(tmp_path: Path) -> None:
    """A card pulled out would crash the daemon."""
    with pytest.raises(SlotError, match="cannot be opened: No such file or directory"):
        _check(tmp_path / "slot")


def test_leaves_of_another_image_are_a_bug(slot: Path) -> None:
    """A slot would be compared with part of what it should be."""
    with pytest.raises(ValueError, match="do not belong"):
        check_blocking(slot, LEAVES[:-32], len(IMAGE), _nothing, _nothing)


def test_tells_how_far_it_is(slot: Path) -> None:
    """The progress of an update would stand still while it is read back."""
    told: list[float] = []
    check_blocking(slot, LEAVES, len(IMAGE), told.append, _nothing)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_cancelled_between_chunks(slot: Path) -> None:
    """An update that is called off would go on for minutes."""
    told: list[float] = []

    async def cancel_early() -> None:
        with trio.CancelScope() as scope:

            def tell(done: float) -> None:
                told.append(done)
                trio.from_thread.run_sync(scope.cancel)

            await check(slot, LEAVES, len(IMAGE), tell)
        assert scope.cancelled_caught

    trio.run(cancel_early)
    assert len(told) == 1


def test_leaves_of_what_is_there(slot: Path) -> None:
    """A node could not tell its peers the leaves of the image it serves."""
    assert leaves_of_slot(slot, len(IMAGE)) == LEAVES
    assert trio.run(leaves_of, slot, len(IMAGE)) == LEAVES
