"""Making one segment of a parcel in the slot: only blocks that differ are written.

What comes out is compared with the image's leaves, so that a dying card, a root that was mounted for writing or a damaged parcel
costs blocks that are fetched later, never a wrong image: block by block where anything speaks against it, else in samples, since
the whole slot is read back in the end. Later segments read what earlier ones made from the slot.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext, suppress
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen

from bep35.metainfo import parse
from fruitd.errors import RetryError, SlotError
from fruitd.gnu_gzip import Packing
from fruitd.slots.parcel_file import is_damaged, parts_of
from fruitd.slots.past_cache import past_cache, write_whole
from fruitd.slots.slot import open_exclusively
from fruitd.slots.workbench import Workbench
from swarm.errors import RefusedError
from swarm.parcel.frames import Frame
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES, HASH_BYTES
from swarm.parcel.unpack import Images
from swarm.transfer.bitmap import has_block

STEP_BYTES = 4096
"""Where the medium fails, it is read in steps of this size, so that one bad sector spoils no more than it must."""


@frozen
class MadeSegment:
    """What came of one segment."""

    right: tuple[int, ...]
    """Blocks that are in place now and were not before."""
    wrong: int
    """Blocks that are not in place although this segment makes them."""
    written_bytes: int
    damaged: bool = False
    """What lies in the cache is not what was fetched."""


@frozen
class _Work:
    """Used by two threads at once: what each of them adds is one append."""

    descriptor: int
    leaves: bytes
    missing: Collection[int]
    sure: bool
    right: list[int] = field(factory=list)
    wrong: list[int] = field(factory=list)
    written_bytes: list[int] = field(factory=list)

    def take(self, first: int, part: memoryview) -> None:
        """Compare blocks that were made, from that one on, and write those that are right and not there yet."""
        begin, believed = 0, False
        for block, at in enumerate(range(0, len(part), BLOCK_BYTES), first):
            if block in self.missing and (believed or self._is_right(block, part[at : at + BLOCK_BYTES])):
                self.right.append(block)
                believed = self.sure and not self.wrong
            else:
                self._write(first * BLOCK_BYTES + begin, part[begin:at])
                begin = at + BLOCK_BYTES
        self._write(first * BLOCK_BYTES + begin, part[begin:])

    def _is_right(self, block: int, data: memoryview) -> bool:
        if sha256(data).digest() == self.leaves[HASH_BYTES * block : HASH_BYTES * (block + 1)]:
            return True
        self.wrong.append(block)
        return False

    def _write(self, offset: int, data: memoryview) -> None:
        write_whole(self.descriptor, data, offset)
        self.written_bytes.append(len(data))


def make_segment(
    bench: Workbench,
    slot: Path,
    active: Path,
    cached: Path,
    torrent: bytes,
    parcel: Parcel,
    segment: Segment,
    leaves: bytes,
    present: bytes,
    checkpoint: Callable[[], None],
    *,
    sure: bool = False,
) -> MadeSegment:
    """Make a segment's blocks. Blocks the caller; for a worker thread. Memory: as `Unpacker`.

    Args:
        bench: where; the same for all segments of a parcel.
        slot: where to; every earlier segment's blocks are there, or count as wrong.
        active: the older image: the slot that runs. Only read.
        cached: the parcel, of which this segment's bytes have come.
        torrent: of the parcel, encoded.
        parcel, segment: see there.
        leaves: of the image.
        present: bitmap of blocks that are in place; those are not written.
        checkpoint: may raise to cancel.
        sure: one block of each part stands for the others, until one is wrong.

    Raises:
        SlotError: the slot cannot be opened or written.
        RetryError: there is no room (a sparse file as slot).
    """
    bench.hold(slot)
    missing = frozenset(_missing(segment, present))
    descriptor = open_exclusively(slot)
    try:
        work = _Work(descriptor, leaves, missing, sure)
        with (
            # What is from nothing has only what it made to refer to; that is read again from the cache, not from the medium.
            past_cache(descriptor) if parcel.from_bytes else nullcontext(),
            active.open("rb", buffering=0) as older,
            slot.open("rb", buffering=0) as newer,
            parts_of(cached, segment.frame_offset) as read,
        ):
            # Read ahead in single pages: in larger ones, the kernel counts every write of 16 KiB as one of the whole of it.
            os.posix_fadvise(newer.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            images = Images(_reader(older.fileno()), _reader(newer.fileno()), Packing)
            if parcel.from_bytes:
                _look_ahead(older.fileno(), parcel, segment, present)
            frame = Frame(read, segment.frame_bytes)
            with suppress(RefusedError):  # what it does not make counts as wrong
                bench.work(
                    lambda unpacker, room: unpacker.parts(parcel, segment, frame, images, room),
                    work.take,
                    checkpoint,
                )
        bench.flush()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RetryError(f"slot {slot}: {error.strerror}") from error
        raise SlotError(f"slot {slot} failed: {error.strerror}") from error
    finally:
        os.close(descriptor)
    wrong = len(missing) - len(work.right)
    damaged = bool(wrong) and is_damaged(cached, parse(torrent), segment.frame_offset, segment.frame_bytes)
    return MadeSegment(tuple(work.right), wrong, sum(work.written_bytes), damaged)


def _look_ahead(older: int, parcel: Parcel, segment: Segment, present: bytes) -> None:
    """Have the older image's medium read what the next segment needs of it while this one is made."""
    following = parcel.segments[segment.number + 1 :]
    coming = next((later for later in following if next(_missing(later, present), None) is not None), None)
    if coming is not None:
        for part in parcel.sources(coming):
            if part.source < parcel.from_bytes:
                os.posix_fadvise(older, part.source, part.length_bytes, os.POSIX_FADV_WILLNEED)


def _missing(segment: Segment, present: bytes) -> Iterator[int]:
    """Blocks of a segment that were not in place before."""
    return (
        block for run in segment.runs for block in range(run.block, run.end) if not has_block(present, block)
    )


def _reader(descriptor: int) -> Callable[[int, memoryview], None]:
    """Fills a buffer from an image; with zeros where that cannot be read. The blocks that use those come out wrong."""

    def read(offset: int, into: memoryview) -> None:
        if _read_whole(descriptor, into, offset):
            return
        for at in range(0, len(into), STEP_BYTES):
            part = into[at : at + STEP_BYTES]
            if not _read_whole(descriptor, part, offset + at):
                part[:] = bytes(len(part))

    return read


def _read_whole(descriptor: int, into: memoryview, offset: int) -> bool:
    """Fill `into` from there; False where the medium fails or ends before."""
    try:
        return os.preadv(descriptor, [into], offset) == len(into)
    except OSError:
        return False
