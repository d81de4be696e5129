"""Never a byte twice: a slot is filled with blocks the node already has, before anything is fetched (design D4).

First what lies in the slot itself at the right place (`in_place`); then every 16 KiB window at a 4 KiB offset of other slots
and images on this node. Only blocks that differ are written. What is claimed to be in place is hashed
again by the transfer, and the whole slot is read back before it boots: a mistake here costs a fetch, never an image.

Cost: four hashes for each block of a source, about 4 s for each GiB on one core with SHA instructions (a Raspberry Pi 4 has
none: some ten times that). Zeros cost nothing, and sources that have nothing to do with the image a sixteenth.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from fruitd.errors import RetryError, SlotError
from fruitd.slots.in_place import take_in_place
from fruitd.slots.leaves import CHUNK_BYTES, is_hole
from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole
from fruitd.slots.reuse_plan import OVERLAP_BYTES, STEP_BYTES, ZEROS, ReusePlan
from fruitd.slots.slot import open_exclusively
from swarm.transfer.port import BLOCK_BYTES

SAMPLED_FROM_CHUNKS = 64
"""Sources from this size on are sampled first. Smaller ones take less than half a second."""
SAMPLE_BYTES, STRIDE_BYTES = 128 * 1024, 4 * 1024 * 1024
"""So many bytes of so many are the sample: of a GiB, 256 places, not where there are mostly zeros. If no window in them is a
block of the image, the source is taken for unrelated: another system, noise. Of a GiB with 2 % of the image in scattered files
one in 170 passes for that, and then 2 % more is fetched; 4 MiB in one place are always noticed. More: longer where there is
nothing to reuse."""


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
        opened = [(path, size) for path, size in map(_measured, sources) if size]
        progress = _Progress(length_bytes + sum(size for _, size in opened), tell, checkpoint)
        # Read ahead in single pages: in larger ones, the kernel counts every write of 16 KiB as one of the whole of it.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        take_in_place(plan, descriptor, length_bytes, progress.step, memo, overlook=overlook)
        writer = _Writer(descriptor)
        for block in plan.take_zeros():
            writer.put(block, memoryview(ZEROS)[: plan.size_of(block)])
        for path, size in opened:
            if plan.missing:
                _take_source(plan, path, size, writer, progress)
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
        self._descriptor = descriptor
        self.written_bytes = 0

    def put(self, block: int, content: memoryview) -> None:
        """Write one block, whole."""
        offset = block * BLOCK_BYTES
        while content:
            count = os.pwrite(self._descriptor, content, offset)
            offset, content = offset + count, content[count:]
            self.written_bytes += count


def _measured(path: Path) -> tuple[Path, int]:
    """Size in bytes; 0 where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as source:
            return path, os.lseek(source.fileno(), 0, os.SEEK_END)
    except OSError:
        return path, 0


def _take_source(plan: ReusePlan, path: Path, size_bytes: int, writer: _Writer, progress: _Progress) -> None:
    """Look through one source, unless a sample says that it has nothing to do with the image."""
    chunks = range(-(-size_bytes // CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        source = _Source(plan, file.fileno(), size_bytes, writer, progress)
        if len(chunks) < SAMPLED_FROM_CHUNKS or source.is_related():
            for chunk in chunks:
                source.take(chunk)
        source.take_tail()


class _Source:
    """A source as far as it has been looked through. Where its medium fails, other sources may have the same."""

    def __init__(
        self, plan: ReusePlan, descriptor: int, size_bytes: int, writer: _Writer, progress: _Progress
    ) -> None:
        self._plan = plan
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._writer = writer
        self._progress = progress
        self._buffer = aligned_buffer(CHUNK_BYTES + OVERLAP_BYTES)

    def is_related(self) -> bool:
        """Is any block of the image in a sample?"""
        before = self._plan.recognised
        with past_cache(self._descriptor):  # which would read what lies between them, too
            for stride in range(0, self._size_bytes, STRIDE_BYTES):
                places = range(stride, min(stride + STRIDE_BYTES, self._size_bytes), CHUNK_BYTES)
                next(filter(self._tells_much, places), None)
        return self._plan.recognised > before

    def take(self, chunk: int) -> None:
        """Look at the windows that begin in this chunk."""
        offset = chunk * CHUNK_BYTES
        self._look(offset, CHUNK_BYTES)
        # Not needed again soon; a node with 512 MiB has better use for its page cache.
        os.posix_fadvise(self._descriptor, offset, CHUNK_BYTES, os.POSIX_FADV_DONTNEED)
        self._progress.step(min(CHUNK_BYTES, self._size_bytes - offset))

    def _tells_much(self, offset: int) -> bool:
        """Look at a sample. False where it is mostly zeros, or cannot be read."""
        before = self._plan.hashed
        self._look(offset, SAMPLE_BYTES)
        self._progress.step(0)
        return self._plan.hashed - before >= SAMPLE_BYTES // STEP_BYTES // 4

    def _look(self, offset: int, size_bytes: int) -> None:
        if not self._plan.missing:
            return
        part = self._read(min(size_bytes + OVERLAP_BYTES, self._size_bytes - offset), offset)
        for block, content in self._plan.scan(part):
            self._writer.put(block, content)

    def take_tail(self) -> None:
        """The image's last block, at its own place: windows only find whole ones."""
        last = self._plan.blocks - 1
        part = self._read(self._plan.size_of(last), last * BLOCK_BYTES)
        if self._plan.take_tail(part):
            self._writer.put(last, part)

    def _read(self, length_bytes: int, offset: int) -> memoryview:
        """What is there; nothing where the medium fails or ends before."""
        part = self._buffer[:length_bytes]
        try:
            if is_hole(self._descriptor, offset, length_bytes):
                part[:] = ZEROS[:length_bytes]
                return part
        except OSError:
            return part[:0]
        return part if read_whole(self._descriptor, self._buffer, length_bytes, offset) else part[:0]
