"""Which blocks of an image have a given leaf hash: small enough for a node with 512 MiB."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_HASH_BYTES = 32


class BlockIndex:
    """A hash table over the leaves of an image: 0.75 to 1.25 MiB for each GiB of image, beside the leaves themselves.

    A dictionary would take some ten times that.
    """

    def __init__(self, leaves: bytes) -> None:
        """`leaves`: 32 bytes for each block. 60 ms for a GiB of image."""
        count = len(leaves) // _HASH_BYTES
        self._leaves = leaves
        # At most half full, so that looking for what is not there ends soon. An entry is a block number plus one.
        self._mask = (1 << max(4, (2 * count).bit_length())) - 1
        self._table = array("I", bytes(4 * (self._mask + 1)))
        self._same = array("I", bytes(4 * count))
        """The block before with the same leaf, plus one."""
        for block in range(count):
            place = self._place(leaves[block * _HASH_BYTES : (block + 1) * _HASH_BYTES])
            self._same[block] = self._table[place]
            self._table[place] = block + 1

    def __contains__(self, leaf: bytes) -> bool:
        return self._table[self._place(leaf)] != 0

    def blocks(self, leaf: bytes) -> Iterator[int]:
        """All blocks with this leaf, the last first."""
        entry = self._table[self._place(leaf)]
        while entry:
            yield entry - 1
            entry = self._same[entry - 1]

    def settle(self, leaf: bytes) -> None:
        """From now on `blocks` gives one block of this leaf only.

        For leaves that many blocks share: once all of them are in place, walking through them again at each find would take
        quadratic time.
        """
        entry = self._table[self._place(leaf)]
        if entry:
            self._same[entry - 1] = 0

    def _place(self, leaf: bytes) -> int:
        """Where the table holds this leaf, or would."""
        place = int.from_bytes(leaf[:8], "little") & self._mask
        while entry := self._table[place]:
            if self._leaves.startswith(leaf, (entry - 1) * _HASH_BYTES):
                return place
            place = (place + 1) & self._mask
        return place
