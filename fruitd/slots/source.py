"""Another slot or an image file that may hold blocks of an image, and whether it has anything to do with it: a sample tells.

Sampling goes on beside whatever else is done to find out what is in place: it is hashing for the most part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TypeAlias

from attrs import frozen

from fruitd.slots.block_index import BlockIndex
from fruitd.slots.leaves import CHUNK_BYTES, is_hole
from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole
from fruitd.slots.reuse_plan import OVERLAP_BYTES, STEP_BYTES, ZEROS, ReusePlan, windows_in

SAMPLED_FROM_CHUNKS = 64
"""Sources from this size on are sampled first. Smaller ones take less than half a second."""
SAMPLE_BYTES, STRIDE_BYTES = 128 * 1024, 4 * 1024 * 1024
"""So many bytes of so many are the sample: of a GiB, 256 places, not where there are mostly zeros. If no window in them is a
block of the image, the source is taken for unrelated: another system, noise. Of a GiB with 2 % of the image in scattered files
one in 170 passes for that, and then 2 % more is fetched; 4 MiB in one place are always noticed. More: longer where there is
nothing to reuse."""
ReadPart: TypeAlias = Callable[[int, int], memoryview]
"""So many bytes from an offset on, or fewer at the end, and nothing where the medium fails: other sources may have the same. They
are there until the next are read."""


@frozen
class Source:
    """Where it lies."""

    path: Path
    size_bytes: int
    """0: it cannot be read."""

    @classmethod
    def measured(cls, path: Path) -> Source:
        """What lies there."""
        try:
            with path.open("rb", buffering=0) as file:
                return cls(path, os.lseek(file.fileno(), 0, os.SEEK_END))
        except OSError:
            return cls(path, 0)

    @contextmanager
    def opened(self) -> Iterator[ReadPart]:
        """To be read past the page cache, a chunk and its overlap at most."""
        buffer = aligned_buffer(CHUNK_BYTES + OVERLAP_BYTES)
        with self.path.open("rb", buffering=0) as file, past_cache(file.fileno()):

            def read(offset: int, length_bytes: int) -> memoryview:
                length_bytes = max(0, min(length_bytes, self.size_bytes - offset))
                part = buffer[:length_bytes]
                try:
                    if is_hole(file.fileno(), offset, length_bytes):
                        part[:] = ZEROS[:length_bytes]
                        return part
                except OSError:
                    return part[:0]
                return part if read_whole(file.fileno(), buffer, length_bytes, offset) else part[:0]

            yield read


@contextmanager
def sampling(sources: Sequence[Source], plan: ReusePlan) -> Iterator[list[Future[bool]]]:
    """Is any block of the image in this source? For each of them, told while what is inside goes on; no more is looked for when
    that ends."""
    over = Event()
    with ThreadPoolExecutor(1, "sample") as pool:
        try:
            yield [pool.submit(_is_related, source, plan, over.is_set) for source in sources]
        finally:
            over.set()


def _is_related(source: Source, plan: ReusePlan, over: Callable[[], bool]) -> bool:
    if source.size_bytes <= (SAMPLED_FROM_CHUNKS - 1) * CHUNK_BYTES:
        return True
    with source.opened() as read:
        for stride in range(0, source.size_bytes, STRIDE_BYTES):
            for offset in range(stride, min(stride + STRIDE_BYTES, source.size_bytes), CHUNK_BYTES):
                if over() or not plan.missing:
                    return False
                hashed, found = _recognised(read(offset, SAMPLE_BYTES + OVERLAP_BYTES), plan.index)
                if found:
                    return True
                if hashed >= SAMPLE_BYTES // STEP_BYTES // 4:
                    break
    return False


def _recognised(part: memoryview, index: BlockIndex) -> tuple[int, bool]:
    """How many windows that are not zeros were looked at, and was one of them a block of the image?"""
    hashed = 0
    for _, leaf in windows_in(part):
        hashed += 1
        if leaf in index:
            return hashed, True
    return hashed, False
