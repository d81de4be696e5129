"""If one of these failed, a medium that fails would end the daemon, or an update that a second look could have saved."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fruitd.errors import FruitError, RetryError, SlotError
from fruitd.slots import read_back, reuse, slot
from swarm.transfer.port import BLOCK_BYTES

BLOCKS = 200
IMAGE = b"".join(sha256(f"{n}".encode()).digest() * (BLOCK_BYTES // 32) for n in range(BLOCKS))
LEAVES = b"".join(sha256(IMAGE[at : at + BLOCK_BYTES]).digest() for at in range(0, len(IMAGE), BLOCK_BYTES))
CALLS = ("open", "pwrite", "preadv", "fsync", "lseek")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def _fill(target: Path, sources: list[Path]) -> reuse.Filled:
    return reuse.fill_blocking(target, sources, LEAVES, len(IMAGE), lambda done: None, lambda: None)


def _check(path: Path) -> list[int]:
    return read_back.check_blocking(path, LEAVES, len(IMAGE), lambda done: None, lambda: None)


def _failing(name: str, error: int, at: int) -> Callable[..., Any]:
    """The system call, failing from its `at`-th use on."""
    real, seen = getattr(os, name), 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > at:
            raise OSError(error, os.strerror(error))
        return real(*arguments, **options)

    return call


def _failure(step: Callable[[], object]) -> FruitError | None:
    try:
        step()
    except FruitError as error:
        return error
    return None


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("at", [0, 1, 3, 7])
def test_whatever_fails_only_our_own_errors_escape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: int, at: int
) -> None:
    """The daemon would end over a bad card; or refuse a release for good where trying again would do."""
    target, source = tmp_path / "slot", tmp_path / "source"
    target.write_bytes(bytes(len(IMAGE)))
    source.write_bytes(IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, _failing(name, error, at))
        for step in (
            lambda: slot.inspect(target, active=source, image_bytes=len(IMAGE)),
            lambda: _fill(target, [source]),
            lambda: _check(target),
        ):
            failed = _failure(step)
            assert failed is None or isinstance(failed, RetryError | SlotError)
            assert not getattr(failed, "final", False), "this release would be refused for good"
            assert "\n" not in str(failed)
    assert source.read_bytes() == IMAGE, "the running slot was written"
    assert _fill(target, [source]).missing_bytes == 0
    assert _check(target) == []


def test_bad_sectors_of_the_slot_cost_their_blocks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot with one sector gone bad could never be updated again, though writing the sector would mend it."""
    target = tmp_path / "slot"
    target.write_bytes(IMAGE)
    bad = {3, 100}
    real = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        touched = range(offset // BLOCK_BYTES, (offset + len(buffers[0]) - 1) // BLOCK_BYTES + 1)
        if bad & set(touched):
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    filled = _fill(target, [])
    assert filled.missing_bytes == 2 * BLOCK_BYTES
    assert filled.written_bytes == 0
    assert set(_check(target)) == bad
    source = tmp_path / "source"
    source.write_bytes(IMAGE)
    bad_target = set(bad)
    bad.clear()
    assert bad_target == {3, 100}
    assert _fill(target, [source]).missing_bytes == 0


def test_what_is_in_place_is_not_written_again(tmp_path: Path) -> None:
    """Each update would wear the whole card, though little has changed."""
    target, source = tmp_path / "slot", tmp_path / "source"
    changed = bytearray(IMAGE)
    for block in (0, 17, BLOCKS - 1):
        changed[block * BLOCK_BYTES] ^= 1
    target.write_bytes(changed)
    source.write_bytes(IMAGE)
    filled = _fill(target, [source])
    assert filled.written_bytes == 3 * BLOCK_BYTES
    assert target.read_bytes() == IMAGE
