"""The last word before a slot may boot: is what was written what lies on the medium?

Everything is flushed, the page cache of the slot is dropped so that the medium itself answers, and every 16 KiB block is hashed
against the image's leaves, whose root is what the maintainers signed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import trio

from fruitd.errors import SlotError
from fruitd.slots.leaves import read_leaves, unlike
from swarm.transfer.bitmap import block_count
from swarm.transfer.port import BLOCK_BYTES


def check_blocking(
    path: Path,
    leaves: bytes,
    length_bytes: int,
    tell: Callable[[float], None],
    checkpoint: Callable[[], None],
) -> list[int]:
    """Flush the slot, read it back, and compare. Blocks; for a worker thread.

    Args:
        path: the slot.
        leaves: of the image, 32 bytes for each block; the caller has checked their root.
        length_bytes: of the image.
        tell: called with 0..1 as the work goes on.
        checkpoint: called about once per MiB; may raise to cancel.

    Returns:
        Blocks that are wrong or cannot be read; empty where the slot holds the image.

    Raises:
        SlotError: the slot cannot be opened or flushed.
    """
    if len(leaves) != 32 * block_count(length_bytes):
        raise ValueError(f"{len(leaves)} bytes of leaves do not belong to an image of {length_bytes} bytes")
    descriptor = _open(path, os.O_RDWR)
    try:
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise SlotError(f"slot {path} cannot be flushed: {error.strerror}") from error
        os.posix_fadvise(descriptor, 0, length_bytes, os.POSIX_FADV_DONTNEED)
        with closing(read_leaves(descriptor, length_bytes, tell, checkpoint)) as found:
            return [block for first, chunk in found for block in unlike(chunk, first, leaves)]
    finally:
        os.close(descriptor)


async def check(
    path: Path, leaves: bytes, length_bytes: int, tell: Callable[[float], None] = lambda done: None
) -> list[int]:
    """`check_blocking` in a worker thread; cancelled between chunks. `tell` is called from that thread."""
    return await trio.to_thread.run_sync(
        check_blocking, path, leaves, length_bytes, tell, trio.from_thread.check_cancelled
    )


def leaves_of_slot(path: Path, length_bytes: int, checkpoint: Callable[[], None] = lambda: None) -> bytes:
    """The leaves of what lies at the path, 32 bytes for each block. Blocks; for a worker thread.

    Raises:
        SlotError: it cannot be opened, or some of it cannot be read.
    """
    descriptor = _open(path, os.O_RDONLY)
    try:
        leaves = bytearray()
        with closing(read_leaves(descriptor, length_bytes, lambda done: None, checkpoint)) as found:
            for first, chunk in found:
                for block, leaf in enumerate(chunk, first):
                    if leaf is None:
                        raise SlotError(f"{path} cannot be read at byte {block * BLOCK_BYTES}")
                    leaves += leaf
        return bytes(leaves)
    finally:
        os.close(descriptor)


async def leaves_of(path: Path, length_bytes: int) -> bytes:
    """`leaves_of_slot` in a worker thread; cancelled between chunks."""
    return await trio.to_thread.run_sync(leaves_of_slot, path, length_bytes, trio.from_thread.check_cancelled)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise SlotError(f"{path} cannot be opened: {error.strerror}") from error
