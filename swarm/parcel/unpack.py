"""Making a segment's blocks: the pure core that a node, a simulator and a test share.

It reads through callbacks, writes nothing and believes nothing: what it makes is to be compared with the image's hash tree, block
by block. A wrong byte in the older image spoils the blocks that use it and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol, TypeAlias

from attrs import frozen

from swarm.errors import RefusedError
from swarm.parcel.dictionary import ReadInto, dictionary_parts
from swarm.parcel.frames import Frame, FrameOpener, OpenFrame
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import FreshFrame, Origin

_PART_BLOCKS = 16
"""So many are made at once. Fewer cost calls; more only cost memory."""
PART_BYTES = _PART_BLOCKS * BLOCK_BYTES
_ZEROS = bytes(PART_BYTES)
_TEXT_BYTES = 32 * 1024
"""What is to be packed goes from hand to hand in pieces of this size."""
Part: TypeAlias = tuple[int, memoryview]
"""The number of a block, and the bytes of that one and some that follow."""
Parts: TypeAlias = Generator[Part, None, None]


class Packing(Protocol):
    """Something that gzip is packing."""

    def take(self, into: memoryview) -> bool:
        """Fill this with what comes next of the deflate stream and of the eight bytes behind it; False where it cannot be had."""

    def end(self) -> bool:
        """Be done with it. Was that all of it?"""


Pack = Callable[[int, Iterator[memoryview]], Packing]
"""Begins to pack with a level, as GNU gzip does, bit for bit; what is to be packed comes in pieces, each used before the next."""


@frozen
class Images:
    """What a parcel is opened with."""

    read_old: ReadInto
    """The older image; never called for a parcel that is from nothing."""
    read_made: ReadInto
    """The new image, where earlier segments have made it."""
    pack: Pack | None = None
    """None: what is to be packed is left out."""


class Unpacker:
    """Makes the blocks of one segment after the other, always in the same memory: that of a `FrameOpener`, which is a
    dictionary and what its frame opens to."""

    def __init__(self) -> None:
        self._opener = FrameOpener()

    def parts(
        self, parcel: Parcel, segment: Segment, frame: Frame, images: Images, room: Iterator[memoryview]
    ) -> Parts:
        """The blocks of a segment, in the order of its runs, but for parts that need what cannot be packed here. One segment at a
        time; no part depends on what is done with another.

        Args:
            parcel: as `decode_head` gave it.
            segment: one of its segments; all that come before it have been made.
            frame: bytes `frame_offset` to `frame_end` of the parcel: all frames of the segment.
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
        frames, steps = parcel.parts(segment)
        read = _source_reader(parcel, images)
        # A tuple: unless the frames are read to their end, what follows are not the steps.
        fresh = _Fresh(self._opener, tuple(frames), frame, read)
        packed = _Packed(fresh, images.pack)
        origin, left, source = Origin.ZEROS, 0, 0
        try:
            for run in segment.runs:
                for first in range(run.block, run.end, _PART_BLOCKS):
                    end_bytes = min(min(first + _PART_BLOCKS, run.end) * BLOCK_BYTES, parcel.image_bytes)
                    part, at = next(room)[: end_bytes - first * BLOCK_BYTES], 0
                    whole = True
                    while at < len(part):
                        if not left:
                            step = next(steps)
                            origin, left, source = step.origin, step.length_bytes, step.source
                            if origin is Origin.PACKED:
                                packed.begin(step.level, step.text_bytes)
                        length = min(left, len(part) - at)
                        into = part[at : at + length]
                        at += length
                        left -= length
                        if origin is Origin.COPY:
                            read(source, into)
                            source += length
                        elif origin is Origin.FRESH:
                            fresh.take(into)
                        elif origin is Origin.PACKED:
                            whole = packed.take(into) and whole
                            if not left:
                                whole = packed.end() and whole
                        else:
                            into[:] = _ZEROS[:length]
                    if whole:
                        yield first, part
            fresh.end()
        finally:
            packed.leave()


class _Fresh:
    """What a segment's frames open to, one after the other."""

    def __init__(
        self, opener: FrameOpener, frames: Sequence[FreshFrame], frame: Frame, read: ReadInto
    ) -> None:
        self._opener = opener
        self._frames = iter(frames)
        self._all = frame
        self._read = read
        self._at = 0
        self._left = 0
        self._open: OpenFrame | None = None

    def take(self, into: memoryview) -> None:
        """Fill this with what comes next."""
        while into:
            if not self._left:
                self._next()
            assert self._open is not None
            length_bytes = min(len(into), self._left)
            self._open.take(into[:length_bytes])
            self._left -= length_bytes
            into = into[length_bytes:]

    def end(self) -> None:
        """Everything is taken: is it?"""
        if self._open is not None:
            self._open.end()

    def _next(self) -> None:
        self.end()
        coming, read, offset = next(self._frames), self._all.read, self._at
        # Without `self`: zstandard's readers hide what they hold from the collector, and a circle through one would never go.
        frame = Frame(lambda at, length_bytes: read(offset + at, length_bytes), coming.frame_bytes)
        before = dictionary_parts(coming.dictionary, self._read)
        self._open = self._opener.open(frame, coming.fresh_bytes, before, coming.dictionary_bytes)
        self._at += coming.frame_bytes
        self._left = coming.fresh_bytes


class _Packed:
    """What gzip makes of fresh bytes."""

    def __init__(self, fresh: _Fresh, pack: Pack | None) -> None:
        self._fresh = fresh
        self._pack = pack
        self._text = self._next_text(0)
        self._packing: Packing | None = None

    def begin(self, level: int, text_bytes: int) -> None:
        """Begin with the next bytes."""
        self._text = self._next_text(text_bytes)
        self._packing = self._pack(level, self._text) if self._pack is not None else None

    def take(self, into: memoryview) -> bool:
        """See `Packing`."""
        return self._packing is not None and self._packing.take(into)

    def end(self) -> bool:
        """See `Packing`. What follows in the frames is fresh again."""
        for _ in self._text:
            """Nobody wanted it; what follows does not begin before its end."""
        return self.leave()

    def leave(self) -> bool:
        """The same, where nothing follows."""
        packing, self._packing = self._packing, None
        self._text.close()
        return packing is not None and packing.end()

    def _next_text(self, length_bytes: int) -> Generator[memoryview, None, None]:
        buffer = memoryview(bytearray(min(length_bytes, _TEXT_BYTES)))
        while length_bytes:
            piece = buffer[:length_bytes]
            self._fresh.take(piece)
            length_bytes -= len(piece)
            yield piece


def _source_reader(parcel: Parcel, images: Images) -> ReadInto:
    def read(source: int, into: memoryview) -> None:
        if source < parcel.from_bytes:
            images.read_old(source, into)
        else:
            images.read_made(source - parcel.from_bytes, into)

    return read
