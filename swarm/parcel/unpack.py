"""Making a segment's blocks: the pure core that a node, a simulator and a test share.

It reads through callbacks, writes nothing and believes nothing: what it makes is to be compared with the image's hash tree, block
by block. A wrong byte in the older image spoils the blocks that use it and no others.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import suppress

import zstandard
from attrs import frozen

from swarm.errors import RefusedError
from swarm.parcel.frames import Frame, opened_parts, raw_dictionary
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import Origin, Range, Step

_PART_BLOCKS = 16
"""So many are made at once. Fewer cost calls; more only cost memory."""
ReadInto = Callable[[int, memoryview], None]
"""Fills the buffer with the bytes from an offset on, or raises whatever its caller expects of it."""
Ahead = Callable[[Iterator[bytes]], Iterator[bytes]]
"""Gives the same items; may ask for the next while the last is used, in another thread."""


@frozen
class Images:
    """What a parcel is opened with."""

    read_old: ReadInto
    """The older image; never called for a parcel that is from nothing."""
    read_made: ReadInto
    """The new image, where earlier segments have made it."""


def unpacked(
    parcel: Parcel, segment: Segment, frame: Frame, images: Images, ahead: Ahead = iter
) -> Iterator[tuple[int, bytearray]]:
    """The blocks of a segment, in the order of its runs: the number of a block, and the bytes of that one and some that follow.

    Args:
        parcel: as `decode_head` gave it.
        segment: one of its segments; all that come before it have been made.
        frame: bytes `frame_offset` to `frame_end` of the parcel.
        images: see there.
        ahead: what the frame opens to passes through it, part by part.

    Raises:
        RefusedError: the frame is damaged, which may show only after some blocks. With the right frame and the wrong older
        image there may be an error too, or wrong bytes of the right length.

    Memory: twice the dictionary, or once the dictionary and what the frame opens to, whichever is more; less than 18 MiB.
    """
    if frame.length_bytes != segment.frame_bytes:
        raise RefusedError(
            f"parcel: a frame of {frame.length_bytes} bytes, expected are {segment.frame_bytes}"
        )
    ranges, steps = parcel.parts(segment)
    read = _source_reader(parcel, images)
    dictionary = _dictionary(ranges, segment.dictionary_bytes, read)
    parts = opened_parts(frame, segment.fresh_bytes, dictionary) if segment.fresh_bytes else iter(())
    del dictionary
    return _parts(parcel, segment, steps, _Fresh(ahead(parts)), read)


def _source_reader(parcel: Parcel, images: Images) -> ReadInto:
    def read(source: int, into: memoryview) -> None:
        if source < parcel.from_bytes:
            images.read_old(source, into)
        else:
            images.read_made(source - parcel.from_bytes, into)

    return read


def _dictionary(
    ranges: Iterator[Range], dictionary_bytes: int, read: ReadInto
) -> zstandard.ZstdCompressionDict | None:
    if not dictionary_bytes:
        next(ranges, None)  # reads past their count, which is 0
        return None
    # Mapped, and so given back to the system at once: from the heap, what is freed here would stay ours.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, dictionary_bytes, flags=private) as buffer, memoryview(buffer) as view:
        with suppress(OSError):  # there are kernels without large pages
            buffer.madvise(mmap.MADV_HUGEPAGE)
        at = 0
        for part in ranges:
            with view[at : at + part.length_bytes] as into:
                read(part.source, into)
            at += part.length_bytes
        return raw_dictionary(view)


class _Fresh:
    """What the frame opens to, taken from its beginning on."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._part = memoryview(b"")

    def take(self, into: memoryview) -> None:
        at = 0
        while at < len(into):
            self._part = self._part or memoryview(next(self._parts))
            length = min(len(self._part), len(into) - at)
            into[at : at + length] = self._part[:length]
            self._part = self._part[length:]
            at += length

    def end(self) -> None:
        """All is taken: whether the frame ends there shows now."""
        next(self._parts, None)


def _parts(
    parcel: Parcel, segment: Segment, steps: Iterator[Step], fresh: _Fresh, read: ReadInto
) -> Iterator[tuple[int, bytearray]]:
    origin, left, source = Origin.ZEROS, 0, 0
    for run in segment.runs:
        for first in range(run.block, run.end, _PART_BLOCKS):
            end_bytes = min(min(first + _PART_BLOCKS, run.end) * BLOCK_BYTES, parcel.image_bytes)
            part = bytearray(end_bytes - first * BLOCK_BYTES)
            view, at = memoryview(part), 0
            while at < len(part):
                if not left:
                    step = next(steps)
                    origin, left, source = step.origin, step.length_bytes, step.source
                length = min(left, len(part) - at)
                if origin is Origin.FRESH:
                    fresh.take(view[at : at + length])
                elif origin is Origin.COPY:
                    read(source, view[at : at + length])
                    source += length
                at += length
                left -= length
            yield first, part
    fresh.end()
