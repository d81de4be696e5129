"""Never a byte twice: a slot is filled with blocks the node already has, before anything is fetched (design D4).

First what lies in the slot itself at the right place (`in_place`); then every 16 KiB window at a 4 KiB offset of other slots
and images on this node. Only blocks that differ are written. What is claimed to be in place is hashed
again by the transfer, and the whole slot is read back before it boots: a mistake here costs a fetch, never an image.

Cost: four hashes for each block of a source, about 4 s for each GiB on one core with SHA instructions (a Raspberry Pi 4 has
none: some ten times that). Zeros cost nothing, and sources that have nothing to do with the image a thirtieth.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from fruitd.errors import RetryError, SlotError
from fruitd.slots.in_place import take_in_place
from fruitd.slots.leaves import CHUNK_BYTES
from fruitd.slots.past_cache import aligned_buffer, past_cache, write_whole
from fruitd.slots.reuse_plan import OVERLAP_BYTES, ReusePlan
from fruitd.slots.slot import open_exclusively
from fruitd.slots.source import Source, sampling
from swarm.transfer.port import BLOCK_BYTES

_LOOK_S = 0.1
"""How often cancelling is looked for while a sample is waited for."""


@frozen
class Filled:
    """What is in the slot now."""

    present: bytes
    """Bitmap of blocks in place, as `Transfer.fetch` takes it."""
    reused_bytes: int
    """In place, written now or there before."""
    missing_bytes: int
    """To be fetched."""
    written_bytes: int
    """Written to the slot just now."""


def fill_blocking(
    target: Path,
    sources: Sequence[Path],
    leaves: bytes,
    length_bytes: int,
    tell: Callable[[float], None],
    checkpoint: Callable[[], None],
    memo: bytes | None = None,
    *,
    overlook: float = 0,
) -> Filled:
    """Put in place what is already on this node. Blocks; for a worker thread.

    Args:
        target: the slot to fill, at least `length_bytes` large. Beyond that it is not touched.
        sources: other slots and images, read only; those that cannot be read are passed over.
        leaves: of the image, 32 bytes for each block.
        length_bytes: of the image.
        tell: called with 0..1 as the work goes on.
        checkpoint: called about once per MiB; may raise to cancel. What was written until then is sound, and found again.
        memo: what is remembered of the slot, see `memo`.
        overlook: see `take_in_place`.

    Raises:
        SlotError: the target cannot be opened, read or written.
        RetryError: there is no room (a sparse file as slot).
    """
    plan = ReusePlan(leaves, length_bytes)
    descriptor = open_exclusively(target)
    try:
        opened = [source for source in map(Source.measured, sources) if source.size_bytes]
        progress = _Progress(length_bytes + sum(source.size_bytes for source in opened), tell, checkpoint)
        # Read ahead in single pages: in larger ones, the kernel counts every write of 16 KiB as one of the whole of it.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        writer = _Writer(descriptor)
        with sampling(opened, plan) as samples:
            take_in_place(plan, descriptor, length_bytes, progress.step, memo, overlook=overlook)
            _put_zeros(plan, writer)
            for source, related in zip(opened, samples, strict=True):
                if plan.missing:
                    _take_source(plan, source, related, writer, progress)
        tell(1.0)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RetryError(f"slot {target}: {error.strerror}") from error
        raise SlotError(f"slot {target} failed: {error.strerror}") from error
    finally:
        os.close(descriptor)
    missing = plan.missing_bytes
    return Filled(bytes(plan.present), length_bytes - missing, missing, writer.written_bytes)


async def fill(
    target: Path,
    sources: Sequence[Path],
    leaves: bytes,
    length_bytes: int,
    tell: Callable[[float], None] = lambda done: None,
    memo: bytes | None = None,
    *,
    overlook: float = 0,
) -> Filled:
    """`fill_blocking` in a worker thread; cancelled between chunks. `tell` is called from that thread."""
    work = partial(fill_blocking, overlook=overlook)
    return await trio.to_thread.run_sync(
        work, target, sources, leaves, length_bytes, tell, trio.from_thread.check_cancelled, memo
    )


class _Progress:
    """Shares of the whole work, told to whoever watches; looks for cancelling at each step."""

    def __init__(
        self, total_bytes: int, tell: Callable[[float], None], checkpoint: Callable[[], None]
    ) -> None:
        self._total_bytes = max(1, total_bytes)
        self._done_bytes = 0
        self._tell = tell
        self._checkpoint = checkpoint

    def step(self, count_bytes: int) -> None:
        self._checkpoint()
        self._done_bytes += count_bytes
        self._tell(min(1.0, self._done_bytes / self._total_bytes))


class _Writer:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.written_bytes = 0

    def put(self, block: int, content: memoryview) -> None:
        """Write what belongs there from this block on, all of it."""
        write_whole(self.descriptor, content, block * BLOCK_BYTES)
        self.written_bytes += len(content)


def _put_zeros(plan: ReusePlan, writer: _Writer) -> None:
    """A quarter of most images is free space: written in large parts, and not copied to the page cache before."""
    zeros = aligned_buffer(CHUNK_BYTES)
    with past_cache(writer.descriptor):
        for blocks in plan.take_zeros():
            writer.put(blocks.start, zeros[: len(blocks) * BLOCK_BYTES])


def _take_source(
    plan: ReusePlan, source: Source, related: Future[bool], writer: _Writer, progress: _Progress
) -> None:
    """Look through one source, unless a sample says that it has nothing to do with the image."""
    while not wait([related], _LOOK_S).done:
        progress.step(0)
    last = plan.blocks - 1
    with source.opened() as read:
        for offset in range(0, source.size_bytes, CHUNK_BYTES) if related.result() else ():
            if not plan.missing:
                break
            for block, content in plan.scan(read(offset, CHUNK_BYTES + OVERLAP_BYTES)):
                writer.put(block, content)
            progress.step(min(CHUNK_BYTES, source.size_bytes - offset))
        # The image's last block, at its own place: windows only find whole ones.
        tail = read(last * BLOCK_BYTES, plan.size_of(last))
        if plan.take_tail(tail):
            writer.put(last, tail)
