"""What a slot already holds at the right place: left by an interrupted try, or the same in an older image.

A slot that holds something else altogether is not read whole for that, which would be one of an update's three passes over the
medium (it is written and read back): a sample tells. What is to be zeros is looked at all the same, lest zeros be written over
zeros. Nor is one that this node has read back before, and that is as it was then: see `memo`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from fruitd.slots.leaves import CHUNK_BYTES, ZERO_LEAF, is_hole, leaves_in, read_leaves
from fruitd.slots.memo import MEMO_BYTES, memo_of
from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole
from fruitd.slots.reuse_plan import ReusePlan, is_zeros
from swarm.transfer.port import BLOCK_BYTES

SAMPLED_FROM_CHUNKS = 64
"""Images from this size on are sampled first. Smaller ones take a moment."""
STRIDE_CHUNKS = 16
"""One chunk in so many is the sample. Where a thousandth of a GiB is in place, here and there, one sample in sixty would miss it;
what lies in one place is missed up to twice so many MiB less two, and made again. Smaller: more is read in vain; larger: more is
missed."""
_CHUNK_BLOCKS = CHUNK_BYTES // BLOCK_BYTES


def take_in_place(
    plan: ReusePlan,
    descriptor: int,
    length_bytes: int,
    step: Callable[[int], None],
    memo: bytes | None = None,
) -> None:
    """Tell the plan what is in place. A block that cannot be read is not: writing it anew is what makes a card put a good sector
    in its place.

    Args:
        plan: of the image.
        descriptor: the slot, open for reading.
        length_bytes: of the image.
        step: told about once for each MiB how many bytes of the image are done; may raise to cancel.
        memo: what is remembered of the slot, see `memo`; it is believed where a sample is as it says.
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
    if not large or _is_related(plan, descriptor, length_bytes, step):
        with closing(read_leaves(descriptor, length_bytes, _nothing, checkpoint)) as found:
            for first, leaves in found:
                plan.take_in_place(first, leaves)
        return
    buffer = aligned_buffer(CHUNK_BYTES)
    with past_cache(descriptor):
        for chunk in chunks:
            checkpoint()
            blank = [block for block in _blocks_of(plan, chunk) if plan.blank[block]]
            if blank:
                _take_zeros(plan, descriptor, blank, buffer)


def _is_as_remembered(descriptor: int, length_bytes: int, memo: bytes, step: Callable[[int], None]) -> bool:
    """Is all of a sample as the memo says? The first chunk is in it, where a file system notes that somebody wrote to it."""
    buffer = aligned_buffer(CHUNK_BYTES)
    with past_cache(descriptor):
        for offset in range(0, length_bytes, STRIDE_CHUNKS * CHUNK_BYTES):
            step(0)
            leaves = leaves_in(descriptor, buffer, min(CHUNK_BYTES, length_bytes - offset), offset)
            at = offset // BLOCK_BYTES * MEMO_BYTES
            if (
                None in leaves
                or memo_of(b"".join(filter(None, leaves))) != memo[at:][: MEMO_BYTES * len(leaves)]
            ):
                return False
    return True


def _is_related(plan: ReusePlan, descriptor: int, length_bytes: int, step: Callable[[int], None]) -> bool:
    """Is anything of the image in place, in a sample of what is not zeros in it?"""
    buffer = aligned_buffer(CHUNK_BYTES)

    def filled(chunk: int) -> int:
        blocks = _blocks_of(plan, chunk)
        return len(blocks) - plan.blank.count(1, blocks.start, blocks.stop)

    chunks = range(-(-length_bytes // CHUNK_BYTES))
    with past_cache(descriptor):
        for first in range(0, len(chunks), STRIDE_CHUNKS):
            step(0)
            chunk = max(chunks[first : first + STRIDE_CHUNKS], key=filled)
            offset = chunk * CHUNK_BYTES
            leaves = leaves_in(descriptor, buffer, min(CHUNK_BYTES, length_bytes - offset), offset)
            filled_leaves = [leaf if leaf != ZERO_LEAF else None for leaf in leaves]
            if plan.take_in_place(chunk * _CHUNK_BLOCKS, filled_leaves):
                return True
    return False


def _blocks_of(plan: ReusePlan, chunk: int) -> range:
    return range(chunk * _CHUNK_BLOCKS, min((chunk + 1) * _CHUNK_BLOCKS, plan.blocks))


def _take_zeros(plan: ReusePlan, descriptor: int, blank: list[int], buffer: memoryview) -> None:
    """Of these blocks of one chunk, which are to be zeros, those that are."""
    offset, end = blank[0] * BLOCK_BYTES, (blank[-1] + 1) * BLOCK_BYTES
    try:
        hole = is_hole(descriptor, offset, end - offset)
    except OSError:
        return
    if not hole and not read_whole(descriptor, buffer, end - offset, offset):
        return
    for block in blank:
        at = block * BLOCK_BYTES - offset
        if hole or is_zeros(buffer[at : at + BLOCK_BYTES]):
            plan.take_in_place(block, [ZERO_LEAF])


def _nothing(_done: float) -> None:
    """Progress is told for slot and sources together."""
