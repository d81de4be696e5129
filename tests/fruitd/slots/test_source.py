"""Whether a source has anything to do with an image is found out beside other work, and no longer than it is wanted."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bep35.merkle import leaf_hashes
from fruitd.slots import source
from fruitd.slots.leaves import CHUNK_BYTES
from fruitd.slots.reuse_plan import ReusePlan
from fruitd.slots.source import SAMPLED_FROM_CHUNKS, STRIDE_BYTES, Source, sampling

IMAGE = random.Random(1).randbytes(CHUNK_BYTES)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each look at a source had; each takes a moment."""
    looks: list[int] = []
    windows = source.windows_in

    def slow(part: memoryview) -> Iterator[tuple[memoryview, bytes]]:
        looks.append(len(part))
        time.sleep(0.002)
        return windows(part)

    monkeypatch.setattr(source, "windows_in", slow)
    return looks


def _plan() -> ReusePlan:
    return ReusePlan(leaf_hashes(IMAGE), len(IMAGE))


def _sparse(path: Path, chunks: int, *, image_at: int | None = None) -> Source:
    with path.open("wb") as file:
        os.truncate(file.fileno(), chunks * CHUNK_BYTES)
        if image_at is not None:
            file.seek(image_at)
            file.write(IMAGE)
    return Source.measured(path)


def test_each_source_is_told_of(tmp_path: Path) -> None:
    """One with the image would be passed over for one without."""
    without = _sparse(tmp_path / "without", SAMPLED_FROM_CHUNKS)
    having = _sparse(tmp_path / "having", SAMPLED_FROM_CHUNKS, image_at=3 * STRIDE_BYTES)
    with sampling([without, having], _plan()) as related:
        assert [each.result() for each in related] == [False, True]


def test_a_small_one_is_not_sampled(tmp_path: Path, looked_at: list[int]) -> None:
    """A moment's work would be done twice."""
    with sampling([_sparse(tmp_path / "small", SAMPLED_FROM_CHUNKS - 1)], _plan()) as related:
        assert related[0].result()
    assert not looked_at


def test_nothing_is_looked_for_where_nothing_is_missing(tmp_path: Path, looked_at: list[int]) -> None:
    """A card would be read for an image that is in place."""
    plan = _plan()
    plan.take_in_place(0, [leaf_hashes(IMAGE)[at : at + 32] for at in range(0, 32 * plan.blocks, 32)])
    with sampling([_sparse(tmp_path / "source", SAMPLED_FROM_CHUNKS)], plan) as related:
        assert not related[0].result()
    assert not looked_at


def test_it_ends_with_what_it_is_wanted_for(tmp_path: Path, looked_at: list[int]) -> None:
    """A node that is told to stop would go on reading a slow card."""
    chunks = 32 * SAMPLED_FROM_CHUNKS
    with pytest.raises(InterruptedError), sampling([_sparse(tmp_path / "source", chunks)], _plan()):
        raise InterruptedError
    assert len(looked_at) < chunks / 2


def test_one_that_is_gone_is_empty(tmp_path: Path) -> None:
    """A node without its old image would not update at all."""
    assert Source.measured(tmp_path / "gone").size_bytes == 0
