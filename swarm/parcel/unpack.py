"""Making a segment's blocks: the pure core that a node, a simulator and a test share.

It reads through callbacks, writes nothing and believes nothing: what it makes is to be compared with the image's hash tree, block
by block. A wrong byte in the older image spoils the blocks that use it and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from attrs import frozen

from swarm.errors import RefusedError
from swarm.parcel.frames import STORED_BYTES_MAX, Frame, FrameOpener
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import Origin, Range

_PART_BLOCKS = 16
"""So many are made at once. Fewer cost calls; more only cost memory."""
PART_BYTES = _PART_BLOCKS * BLOCK_BYTES
_ZEROS = bytes(PART_BYTES)
ReadInto = Callable[[int, memoryview], None]
"""Fills the buffer with the bytes from an offset on, or raises whatever its caller expects of it."""
Part: TypeAlias = tuple[int, memoryview]
"""The number of a block, and the bytes of that one and some that follow."""


@frozen
class Images:
    """What a parcel is opened with."""

    read_old: ReadInto
    """The older image; never called for a parcel that is from nothing."""
    read_made: ReadInto
    """The new image, where earlier segments have made it."""


class Unpacker:
    """Makes the blocks of one segment after the other, always in the same memory: that of a `FrameOpener`, which is the
    dictionary and what the frame opens to."""

    def __init__(self) -> None:
        self._opener = FrameOpener()

    def parts(
        self, parcel: Parcel, segment: Segment, frame: Frame, images: Images, room: Iterator[memoryview]
    ) -> Iterator[Part]:
        """The blocks of a segment, in the order of its runs. One segment at a time; no part depends on what is done with another.

        Args:
            parcel: as `decode_head` gave it.
            segment: one of its segments; all that come before it have been made.
            frame: bytes `frame_offset` to `frame_end` of the parcel.
            images: see there.
            room: asked, for each part, for `PART_BYTES` to make it in.

        Raises:
            RefusedError: the frame is damaged, which may show only after some blocks. With the right frame and the wrong older
            image there may be an error too, or wrong bytes of the right length.
        """
        if frame.length_bytes != segment.frame_bytes:
            raise RefusedError(
                f"parcel: a frame of {frame.length_bytes} bytes, expected are {segment.frame_bytes}"
            )
        ranges, steps = parcel.parts(segment)
        dictionary = tuple(ranges)  # to the end, or what follows would not be the steps
        read = _source_reader(parcel, images)
        fresh = None
        if segment.fresh_bytes:
            before = _dictionary(dictionary, read)
            fresh = self._opener.open(frame, segment.fresh_bytes, before, segment.dictionary_bytes)
        origin, left, source = Origin.ZEROS, 0, 0
        for run in segment.runs:
            for first in range(run.block, run.end, _PART_BLOCKS):
                end_bytes = min(min(first + _PART_BLOCKS, run.end) * BLOCK_BYTES, parcel.image_bytes)
                part, at = next(room)[: end_bytes - first * BLOCK_BYTES], 0
                while at < len(part):
                    if not left:
                        step = next(steps)
                        origin, left, source = step.origin, step.length_bytes, step.source
                    length = min(left, len(part) - at)
                    into = part[at : at + length]
                    if origin is Origin.COPY:
                        read(source, into)
                        source += length
                    elif origin is Origin.FRESH and fresh is not None:
                        fresh.take(into)
                    else:
                        into[:] = _ZEROS[:length]
                    at += length
                    left -= length
                yield first, part
        if fresh is not None:
            fresh.end()


def _source_reader(parcel: Parcel, images: Images) -> ReadInto:
    def read(source: int, into: memoryview) -> None:
        if source < parcel.from_bytes:
            images.read_old(source, into)
        else:
            images.read_made(source - parcel.from_bytes, into)

    return read


def _dictionary(ranges: Iterable[Range], read: ReadInto) -> Iterator[memoryview]:
    """What its ranges hold, one after the other, in parts that `FrameOpener` takes; each is written over by the next."""
    buffer, at = memoryview(bytearray(STORED_BYTES_MAX)), 0
    for part in ranges:
        source = part.source
        while source < part.end:
            length_bytes = min(part.end - source, STORED_BYTES_MAX - at)
            read(source, buffer[at : at + length_bytes])
            source, at = source + length_bytes, at + length_bytes
            if at == STORED_BYTES_MAX:
                yield buffer
                at = 0
    if at:
        yield buffer[:at]
