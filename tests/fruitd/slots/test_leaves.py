"""Wrong leaves would condemn a good image, or fetch one that is there; a thread that reads on would read something else."""

from __future__ import annotations

import os
import random
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bep35.merkle import leaf_hashes
from fruitd.slots.leaves import CHUNK_BYTES, THREADS, Leaves, read_leaves, unlike
from swarm.transfer.port import BLOCK_BYTES


def _nothing(done: float = 0.0) -> None:
    return


@pytest.mark.parametrize(
    "length_bytes", [1, BLOCK_BYTES - 1, CHUNK_BYTES, 9 * CHUNK_BYTES + 3 * BLOCK_BYTES + 5]
)
def test_they_are_the_leaves_in_order(tmp_path: Path, length_bytes: int) -> None:
    """Noise, zeros, and holes that are never read."""
    dice = random.Random(length_bytes)
    image = bytearray(dice.randbytes(length_bytes))
    for start in range(0, length_bytes, 5 * BLOCK_BYTES):
        end = min(start + dice.randrange(3 * BLOCK_BYTES), length_bytes)
        image[start:end] = bytes(end - start)
    if length_bytes > 8 * CHUNK_BYTES:
        image[3 * CHUNK_BYTES : 5 * CHUNK_BYTES] = bytes(2 * CHUNK_BYTES)
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(length_bytes)
        for offset in range(0, length_bytes, BLOCK_BYTES):
            block = image[offset : offset + BLOCK_BYTES]
            if any(block):
                os.pwrite(file.fileno(), block, offset)
    told: list[float] = []
    with path.open("rb") as file, closing(
        read_leaves(file.fileno(), length_bytes, told.append, _nothing)
    ) as found:  # fmt: skip
        chunks = list(found)
    assert [first for first, _ in chunks] == list(
        range(0, -(-length_bytes // BLOCK_BYTES), CHUNK_BYTES // BLOCK_BYTES)
    )
    assert b"".join(leaf or b"" for _, chunk in chunks for leaf in chunk) == leaf_hashes(bytes(image))
    assert told == sorted(told)
    assert len(told) == -(-length_bytes // CHUNK_BYTES)
    assert told[-1] == 1.0


def test_two_threads_work_and_none_goes_on_after_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor's number may belong to another file by then."""
    path = tmp_path / "image"
    path.write_bytes(random.Random(1).randbytes(12 * CHUNK_BYTES))
    readers: set[int] = set()
    reading = threading.Barrier(THREADS, timeout=60.0)
    running = 0
    preadv = os.preadv

    def slowly(descriptor: int, buffers: list[Any], offset: int) -> int:
        nonlocal running
        readers.add(threading.get_ident())
        if offset < THREADS * CHUNK_BYTES:
            reading.wait()  # passes only if as many read at the same time
        running += 1
        count = preadv(descriptor, buffers, offset)
        running -= 1
        return count

    monkeypatch.setattr(os, "preadv", slowly)
    with path.open("rb") as file, closing(
        read_leaves(file.fileno(), 12 * CHUNK_BYTES, _nothing, _nothing)
    ) as found:  # fmt: skip
        next(found)
    assert len(readers) == THREADS
    assert running == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("leaves")]


def test_what_is_unlike_is_found_block_by_block() -> None:
    """One block that is wrong, or that cannot be read, would condemn its neighbours."""
    wanted = b"".join(bytes([number]) * 32 for number in range(10))
    found: Leaves = [bytes([number]) * 32 for number in range(4, 8)]
    assert unlike(found, 4, wanted) == []
    assert unlike(found, 5, wanted) == [5, 6, 7, 8]
    assert unlike([found[0], None, found[2], bytes(32)], 4, wanted) == [5, 7]
    assert unlike(found, 8, wanted) == [8, 9, 10, 11]
