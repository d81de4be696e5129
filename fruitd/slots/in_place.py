"""What a slot already holds at the right place: left by an interrupted try, or the same in an older image.

A slot that holds something else altogether is not read whole for that, which would be one of an update's three passes over the
medium (it is written and read back): a sample tells. What is to be zeros is looked at all the same, lest zeros be written over
zeros. Nor is one that this node has read back before, and that is as it was then: see `memo`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fruitd.slots.leaves import CHUNK_BYTES, ZERO_LEAF, is_hole, leaves_in, read_leaves
from fruitd.slots.memo import MEMO_BYTES, memo_of
from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole
from fruitd.slots.reuse_plan import ReusePlan, is_zeros
from swarm.transfer.bitmap import block_count
from swarm.transfer.port import BLOCK_BYTES

SAMPLED_FROM_CHUNKS = 64
"""Images from this size on are sampled first. Smaller ones take a moment."""
SAMPLED_BLOCKS, STRIDE_BLOCKS = 8, 128
"""So many blocks of so many are the sample. What lies in one place is always noticed if it is four MiB; where a thousandth of a
GiB is in place, here and there, one sample in sixty misses it, and it is made again. More: more is read in vain; fewer: more is
missed."""
GLANCES = 32
"""Samples that are enough to tell one image from another."""
LITTLE = 0.01
"""Of the image. Less in place than that is not worth reading the slot for, where a parcel is at hand that makes it again. More:
so much more is written in vain. Less: slots that share no more with the image than a file system's beginning are read."""
_CHUNK_BLOCKS = CHUNK_BYTES // BLOCK_BYTES


def take_in_place(
    plan: ReusePlan,
    descriptor: int,
    length_bytes: int,
    step: Callable[[int], None],
    memo: bytes | None = None,
    *,
    overlook: float = 0,
) -> None:
    """Tell the plan what is in place. A block that cannot be read is not: writing it anew is what makes a card put a good sector
    in its place.

    Args:
        plan: of the image.
        descriptor: the slot, open for reading.
        length_bytes: of the image.
        step: told about once for each MiB how many bytes of the image are done; may raise to cancel.
        memo: what is remembered of the slot, see `memo`; it is believed where a sample is as it says.
        overlook: so much of the image, 0..1, may be in place and not be found. Not where each block is fetched: on a bad line
            a try may end before it has brought more than that.
    """
    chunks = range(-(-length_bytes // CHUNK_BYTES))

    def checkpoint() -> None:
        step(min(CHUNK_BYTES, length_bytes))

    large = len(chunks) >= SAMPLED_FROM_CHUNKS
    if memo is not None and large and _is_as_remembered(descriptor, length_bytes, memo, step):
        plan.take_remembered(memo)
        for _ in chunks:
            checkpoint()
        return
    if not large or _has_more_than(overlook, plan, descriptor, length_bytes, step):
        with closing(read_leaves(descriptor, length_bytes, _nothing, checkpoint)) as found:
            for first, leaves in found:
                plan.take_in_place(first, leaves)
        return
    buffer = aligned_buffer(CHUNK_BYTES)
    with past_cache(descriptor):
        for first in range(0, plan.blocks, _CHUNK_BLOCKS):
            checkpoint()
            _take_zeros(plan, descriptor, range(first, min(first + _CHUNK_BLOCKS, plan.blocks)), buffer)


def is_kept(path: Path, length_bytes: int, memo: bytes) -> bool:
    """Does a glance at a slot show what is remembered of it? Blocks for a moment; for a worker thread."""
    try:
        with path.open("rb", buffering=0) as file:
            every = max(1, block_count(length_bytes) // STRIDE_BLOCKS // GLANCES)
            return _is_as_remembered(file.fileno(), length_bytes, memo, lambda _: None, every)
    except OSError:
        return False


def _is_as_remembered(
    descriptor: int, length_bytes: int, memo: bytes, step: Callable[[int], None], every: int = 1
) -> bool:
    """Is every sample, or every so manieth, as the memo says? The first is among them, where a file system notes that somebody
    wrote to it."""
    buffer = aligned_buffer(SAMPLED_BLOCKS * BLOCK_BYTES)
    with past_cache(descriptor):
        for offset in range(0, length_bytes, every * STRIDE_BLOCKS * BLOCK_BYTES):
            step(0)
            leaves = leaves_in(descriptor, buffer, min(len(buffer), length_bytes - offset), offset)
            at = offset // BLOCK_BYTES * MEMO_BYTES
            if (
                None in leaves
                or memo_of(b"".join(filter(None, leaves))) != memo[at:][: MEMO_BYTES * len(leaves)]
            ):
                return False
    return True


def _has_more_than(
    share: float, plan: ReusePlan, descriptor: int, length_bytes: int, step: Callable[[int], None]
) -> bool:
    """Is more than this of the image in place, in a sample of what is not zeros in it?"""
    buffer = aligned_buffer(SAMPLED_BLOCKS * BLOCK_BYTES)
    sample = [_filled(plan, first)[:SAMPLED_BLOCKS] for first in range(0, plan.blocks, STRIDE_BLOCKS)]
    may_be, found = share * sum(map(len, sample)), 0
    with past_cache(descriptor):
        for blocks in filter(None, sample):
            step(0)
            offset = blocks.start * BLOCK_BYTES
            leaves = leaves_in(
                descriptor, buffer, min(len(blocks) * BLOCK_BYTES, length_bytes - offset), offset
            )
            found += plan.take_in_place(
                blocks.start, [leaf if leaf != ZERO_LEAF else None for leaf in leaves]
            )
            if found > may_be:
                return True
    return False


def _filled(plan: ReusePlan, first: int) -> range:
    """The blocks of a stride from the first on that is not to be zeros; none where all are."""
    end = min(first + STRIDE_BLOCKS, plan.blocks)
    filled = plan.blank.find(0, first, end)
    return range(filled, end) if filled >= 0 else range(0)


def _take_zeros(plan: ReusePlan, descriptor: int, blocks: range, buffer: memoryview) -> None:
    """Of the blocks of one chunk that are to be zeros, those that are."""
    begin, end = (find(1, blocks.start, blocks.stop) for find in (plan.blank.find, plan.blank.rfind))
    if begin < 0:
        return
    offset, length_bytes = begin * BLOCK_BYTES, (end + 1 - begin) * BLOCK_BYTES
    try:
        hole = is_hole(descriptor, offset, length_bytes)
    except OSError:
        return
    if not hole and not read_whole(descriptor, buffer, length_bytes, offset):
        return
    for block in range(begin, end + 1):
        at = block * BLOCK_BYTES - offset
        if plan.blank[block] and (hole or is_zeros(buffer[at : at + BLOCK_BYTES])):
            plan.take_blank(block)


def _nothing(_done: float) -> None:
    """Progress is told for slot and sources together."""
