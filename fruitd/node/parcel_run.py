"""One parcel on its way into the slot: which of its pieces are here, and which segment is to be made next. Pure.

Segments are made in their order, since later ones may use what earlier ones made; one of which every block is in place already
is passed over. So whatever cut the work short, it goes on at the segment where it was: the slot's own blocks tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import frozen

from fruitd.node.ways import Harvest
from fruitd.updater.journal import Target
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES
from swarm.transfer.bitmap import block_count, blocks_in, has_block, set_block
from swarm.trust.manifest import NamedParcel


class Wait(Enum):
    """Nothing to do now."""

    FOR_PIECES = "the pieces it needs have not come"
    FOR_WORK = "something is being made"
    DONE = "every segment was made or passed over"


@frozen
class HeadNeeded:
    """Read the header; so many bytes from the beginning are here."""

    here_bytes: int


class ParcelRun:
    """What is known of one parcel while it is used."""

    def __init__(
        self,
        named: NamedParcel,
        target: Target,
        slot: str,
        present: bytes,
        now_s: float,
        *,
        is_likely: bool = False,
    ) -> None:
        """`present`: bitmap of the image's blocks that are in place. `is_likely`: to be of use."""
        self.named = named
        self.target = target
        self.slot = slot
        self.present = bytearray(present)
        self.parcel: Parcel | None = None
        self.heard_s = now_s
        """When a piece came last."""
        self.is_likely = is_likely
        self.of_use = False
        """A segment has come out right."""
        self._piece_bytes = named.length_bytes
        self._here = bytearray(1)
        """A byte for each piece of the parcel: 1 once it is here."""
        self._needs_bytes = 1
        """Of the parcel's beginning, before its header can be read."""
        self._next = 0
        self._busy = False
        self._again: set[int] = set()
        self._right_bytes = 0
        self.wrong_bytes = 0
        """Made, and not what they should be."""

    # ------------------------------------------------------------------ what has come

    @property
    def complete(self) -> bool:
        """Is every piece here?"""
        return 0 not in self._here

    def begin(self, piece_bytes: int, now_s: float) -> None:
        """Its torrent is known; what has come of it is told anew from now on."""
        self._piece_bytes = piece_bytes
        self._here = bytearray(-(-self.named.length_bytes // piece_bytes))
        self.heard_s = now_s

    def arrived(self, piece: int, now_s: float) -> None:
        """A piece is here."""
        if 0 <= piece < len(self._here):
            self._here[piece] = 1
            self.heard_s = now_s

    def all_arrived(self, now_s: float) -> None:
        """Every piece is here."""
        self._here = bytearray(b"\1" * len(self._here))
        self.heard_s = now_s

    def head_read(self, parcel: Parcel | None, needs_bytes: int) -> bool:
        """The header, or None and how many bytes it takes. False where it is not the header of this parcel."""
        self._busy = False
        if parcel is None:
            self._needs_bytes = needs_bytes
            return needs_bytes <= self.named.length_bytes
        self.parcel = parcel
        fits = parcel.image_bytes == self.target.length_bytes
        return fits and parcel.length_bytes == self.named.length_bytes

    # ------------------------------------------------------------------ what to do

    def next_work(self) -> HeadNeeded | Segment | Wait:
        """What can be done now. Whoever takes work from here answers with `head_read`, `made` or `damaged`."""
        if self._busy:
            return Wait.FOR_WORK
        if self.parcel is None:
            here_bytes = self._here_from_start_bytes()
            if here_bytes < self._needs_bytes:
                return Wait.FOR_PIECES
            self._busy = True
            return HeadNeeded(here_bytes)
        while self._next < len(self.parcel.segments):
            segment = self.parcel.segments[self._next]
            if self._wanted(segment):
                break
            self._next += 1
        else:
            return Wait.DONE
        if not self._frame_is_here(segment):
            return Wait.FOR_PIECES
        self._busy = True
        return segment

    def made(self, segment: int, right: Iterable[int], wrong: int) -> None:
        """A segment was made: these of its blocks are in place now, and so many are not what they should be."""
        self._busy = False
        self._next = segment + 1
        for block in right:
            if not has_block(self.present, block):
                set_block(self.present, block)
                self._right_bytes += BLOCK_BYTES
        self.wrong_bytes += wrong * BLOCK_BYTES

    def damaged(self, segment: int) -> bytes | None:
        """Its bytes in the cache are not what came. The blocks of the parcel that are whole, to fetch the others again; None
        where that has been tried."""
        self._busy = False
        assert self.parcel is not None
        if segment in self._again:
            self._next = segment + 1
            return None
        self._again.add(segment)
        for piece in self._pieces_of(self.parcel.segments[segment]):
            self._here[piece] = 0
        blocks = bytearray(-(-block_count(self.named.length_bytes) // 8))
        for block in range(block_count(self.named.length_bytes)):
            if self._here[block * BLOCK_BYTES // self._piece_bytes]:
                set_block(blocks, block)
        return bytes(blocks)

    # ------------------------------------------------------------------ how it goes

    @property
    def is_sure(self) -> bool:
        """Has it been of use, and does nothing speak against the rest of it?"""
        return self.of_use and not self.wrong_bytes and (self.is_likely or not self.named.from_root)

    @property
    def missing_bytes(self) -> int:
        """Of the image, not in place; the last block counts as a whole one."""
        return (block_count(self.target.length_bytes) - blocks_in(self.present)) * BLOCK_BYTES

    @property
    def harvest(self) -> Harvest:
        """What it has brought so far."""
        ahead = self.parcel.segments[self._next :] if self.parcel is not None else ()
        ahead_bytes = sum(segment.frame_bytes for segment in ahead if self._wanted(segment))
        return Harvest(self._right_bytes, self.wrong_bytes, ahead_bytes, self.missing_bytes)

    def _wanted(self, segment: Segment) -> bool:
        return any(
            not has_block(self.present, block) for run in segment.runs for block in range(run.block, run.end)
        )

    def _here_from_start_bytes(self) -> int:
        first_missing = self._here.find(0)
        if first_missing == -1:
            return self.named.length_bytes
        return first_missing * self._piece_bytes

    def _pieces_of(self, segment: Segment) -> range:
        if not segment.frame_bytes:
            return range(0)
        return range(segment.frame_offset // self._piece_bytes, -(-segment.frame_end // self._piece_bytes))

    def _frame_is_here(self, segment: Segment) -> bool:
        return all(self._here[piece] for piece in self._pieces_of(segment))
