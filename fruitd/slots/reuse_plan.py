"""Which blocks of an image are in place in a slot, and where found content belongs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256

from fruitd.slots.block_index import BlockIndex
from fruitd.slots.leaves import CHUNK_BYTES, ZERO_LEAF, Leaves, unlike
from fruitd.slots.memo import memo_of
from swarm.transfer.bitmap import block_count, empty_bitmap, has_block, set_block
from swarm.transfer.port import BLOCK_BYTES

STEP_BYTES = 4096
"""Windows begin at multiples of it: the block size of ext4 and squashfs. Half of it would hash twice as much for little."""
OVERLAP_BYTES = BLOCK_BYTES - STEP_BYTES
"""Windows that begin in the last so many bytes of a chunk reach into the next: each chunk is read with so much more."""
ZEROS = bytes(CHUNK_BYTES + OVERLAP_BYTES)


def is_zeros(data: memoryview) -> bool:
    """Nothing but zeros, in at most a chunk and its overlap?"""
    # Compares memory; `==` on a view would go through it byte by byte.
    return ZEROS.startswith(data)


def windows_in(data: memoryview) -> Iterator[tuple[memoryview, bytes]]:
    """The windows that lie within `data` whole, and their leaves, but for zeros: of those a slot has enough."""
    if is_zeros(data):
        return
    for offset in range(0, len(data) - BLOCK_BYTES + 1, STEP_BYTES):
        window = data[offset : offset + BLOCK_BYTES]
        if not is_zeros(window):
            yield window, sha256(window).digest()


class ReusePlan:
    """Of one slot, for one image. It is fed with what was read."""

    def __init__(self, leaves: bytes, length_bytes: int) -> None:
        """Raises `ValueError` where there is not one leaf of 32 bytes for each block of the image."""
        self.blocks = block_count(length_bytes)
        if length_bytes < 1 or len(leaves) != 32 * self.blocks:
            raise ValueError(
                f"{len(leaves)} bytes of leaves do not belong to an image of {length_bytes} bytes"
            )
        self.present = empty_bitmap(self.blocks)
        self.missing = self.blocks
        self.blank = bytes(leaves[at : at + 32] == ZERO_LEAF for at in range(0, len(leaves), 32))
        """For each block 1 where the image holds nothing but zeros. A short last block counts as something."""
        self._leaves = leaves
        self._length_bytes = length_bytes

    @cached_property
    def index(self) -> BlockIndex:
        """Of all blocks of the image, wanted or not."""
        return BlockIndex(self._leaves)

    def size_of(self, block: int) -> int:
        """Bytes of a block; the last one may be short."""
        return min(BLOCK_BYTES, self._length_bytes - block * BLOCK_BYTES)

    @property
    def missing_bytes(self) -> int:
        """Bytes of the blocks that are not in place."""
        last = self.blocks - 1
        short = BLOCK_BYTES - self.size_of(last) if self.is_missing(last) else 0
        return self.missing * BLOCK_BYTES - short

    def is_missing(self, block: int) -> bool:
        """Is it not in place, as far as is known?"""
        return not has_block(self.present, block)

    def take_in_place(self, first: int, found: Leaves) -> int:
        """The slot holds what has these leaves at this block and those that follow; None where that is not known.

        Returns:
            How many more are in place.
        """
        wrong = set(unlike(found, first, self._leaves))
        return sum(self._mark(block) for block in range(first, first + len(found)) if block not in wrong)

    def take_remembered(self, memo: bytes) -> None:
        """The slot holds what has this memo."""
        wanted = memoryview(memo_of(self._leaves)).cast("I")
        for block, (held, needed) in enumerate(zip(memoryview(memo).cast("I"), wanted, strict=True)):
            if held == needed:
                self._mark(block)

    def take_blank(self, block: int) -> None:
        """The slot holds zeros at this block, which is to hold them."""
        self._mark(block)

    def take_zeros(self) -> Iterator[range]:
        """Missing blocks that are all zeros, those that follow each other together, up to a chunk: they need no source. Marks
        each as in place."""
        first = end = 0
        for block in range(self.blocks):
            if self.blank[block] and self._mark(block):
                if block > end or end - first == CHUNK_BYTES // BLOCK_BYTES:
                    if first < end:
                        yield range(first, end)
                    first = block
                end = block + 1
        if first < end:
            yield range(first, end)

    def take_tail(self, data: memoryview) -> bool:
        """`data` is what a source holds where the last block would be. Windows only find whole blocks."""
        last = self.blocks - 1
        return self.is_missing(last) and self._take_at(last, data)

    def scan(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Find wanted blocks in a part of a source that begins at a multiple of `STEP_BYTES`.

        Yields block and content, marking each as in place. Only windows that lie within `data` whole are looked at.
        """
        # Every window is looked at, also those that overlap one just found: files are copied as well as moved, and a copy at
        # another offset lies in such a window.
        for window, leaf in windows_in(data):
            if not self.missing:
                return
            if leaf in self.index:
                for block in self.index.blocks(leaf):
                    if self.size_of(block) == BLOCK_BYTES and self._mark(block):
                        yield block, window
                self.index.settle(leaf)

    def _take_at(self, block: int, data: memoryview) -> bool:
        if len(data) != self.size_of(block):
            return False
        if len(data) == BLOCK_BYTES and is_zeros(data):
            return self._leaf(block) == ZERO_LEAF and self._mark(block)
        return sha256(data).digest() == self._leaf(block) and self._mark(block)

    def _leaf(self, block: int) -> bytes:
        return self._leaves[32 * block : 32 * block + 32]

    def _mark(self, block: int) -> bool:
        """False where it was in place already."""
        if has_block(self.present, block):
            return False
        set_block(self.present, block)
        self.missing -= 1
        return True
