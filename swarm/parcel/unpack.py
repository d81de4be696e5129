"""Making a segment's blocks: the pure core that a node, a simulator and a test share.

It reads through callbacks, writes nothing and believes nothing: what it makes is to be compared with the image's hash tree, block
by block. A wrong byte in the older image spoils the blocks that use it and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from swarm.errors import RefusedError
from swarm.parcel.frames import STORED_BYTES_MAX, Frame, FrameOpener
from swarm.parcel.header import Parcel, Segment
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import Origin, Range, Step

_PART_BLOCKS = 16
"""So many are made at once. Fewer cost calls; more only cost memory."""
_ZEROS = bytes(_PART_BLOCKS * BLOCK_BYTES)
ReadInto = Callable[[int, memoryview], None]
"""Fills the buffer with the bytes from an offset on, or raises whatever its caller expects of it."""
Ahead = Callable[[Iterator[memoryview]], Iterator[memoryview]]
"""Gives the same items; may ask for the next while the last is used, in another thread; for at most `PARTS_AHEAD` more."""


@frozen
class Images:
    """What a parcel is opened with."""

    read_old: ReadInto
    """The older image; never called for a parcel that is from nothing."""
    read_made: ReadInto
    """The new image, where earlier segments have made it."""


def unpacked(
    parcel: Parcel,
    segment: Segment,
    frame: Frame,
    images: Images,
    opener: FrameOpener | None = None,
    ahead: Ahead = iter,
) -> Iterator[tuple[int, memoryview]]:
    """The blocks of a segment, in the order of its runs: the number of a block, and the bytes of that one and some that follow,
    which stay until the next are asked for.

    Args:
        parcel: as `decode_head` gave it.
        segment: one of its segments; all that come before it have been made.
        frame: bytes `frame_offset` to `frame_end` of the parcel.
        images: see there.
        opener: whose memory is used; its own, if that is None. One segment at a time.
        ahead: what the frame opens to passes through it, part by part.

    Raises:
        RefusedError: the frame is damaged, which may show only after some blocks. With the right frame and the wrong older
        image there may be an error too, or wrong bytes of the right length.

    Memory: that of the opener, which is the dictionary and what the frame opens to; and 2 MiB.
    """
    if frame.length_bytes != segment.frame_bytes:
        raise RefusedError(
            f"parcel: a frame of {frame.length_bytes} bytes, expected are {segment.frame_bytes}"
        )
    ranges, steps = parcel.parts(segment)
    dictionary = tuple(ranges)  # to the end, or what follows would not be the steps
    read = _source_reader(parcel, images)
    parts: Iterator[memoryview] = iter(())
    if segment.fresh_bytes:
        before = _dictionary(dictionary, read)
        opener = opener or FrameOpener()
        parts = opener.opened(frame, segment.fresh_bytes, before, segment.dictionary_bytes)
    return _parts(parcel, segment, steps, _Fresh(ahead(parts)), read)


def _source_reader(parcel: Parcel, images: Images) -> ReadInto:
    def read(source: int, into: memoryview) -> None:
        if source < parcel.from_bytes:
            images.read_old(source, into)
        else:
            images.read_made(source - parcel.from_bytes, into)

    return read


def _dictionary(ranges: Iterable[Range], read: ReadInto) -> Iterator[bytes]:
    """What its ranges hold, one after the other, in parts that `FrameOpener` takes."""
    buffer, at = memoryview(bytearray(STORED_BYTES_MAX)), 0
    for part in ranges:
        source = part.source
        while source < part.end:
            length_bytes = min(part.end - source, STORED_BYTES_MAX - at)
            read(source, buffer[at : at + length_bytes])
            source, at = source + length_bytes, at + length_bytes
            if at == STORED_BYTES_MAX:
                yield bytes(buffer)
                at = 0
    if at:
        yield bytes(buffer[:at])


class _Fresh:
    """What the frame opens to, taken from its beginning on."""

    def __init__(self, parts: Iterator[memoryview]) -> None:
        self._parts = parts
        self._part = memoryview(b"")

    def take(self, into: memoryview) -> None:
        at = 0
        while at < len(into):
            self._part = self._part or next(self._parts)
            length = min(len(self._part), len(into) - at)
            into[at : at + length] = self._part[:length]
            self._part = self._part[length:]
            at += length

    def end(self) -> None:
        """All is taken: whether the frame ends there shows now."""
        next(self._parts, None)


def _parts(
    parcel: Parcel, segment: Segment, steps: Iterator[Step], fresh: _Fresh, read: ReadInto
) -> Iterator[tuple[int, memoryview]]:
    origin, left, source = Origin.ZEROS, 0, 0
    whole = memoryview(bytearray(_PART_BLOCKS * BLOCK_BYTES))
    for run in segment.runs:
        for first in range(run.block, run.end, _PART_BLOCKS):
            end_bytes = min(min(first + _PART_BLOCKS, run.end) * BLOCK_BYTES, parcel.image_bytes)
            part, at = whole[: end_bytes - first * BLOCK_BYTES], 0
            while at < len(part):
                if not left:
                    step = next(steps)
                    origin, left, source = step.origin, step.length_bytes, step.source
                length = min(left, len(part) - at)
                into = part[at : at + length]
                if origin is Origin.FRESH:
                    fresh.take(into)
                elif origin is Origin.COPY:
                    read(source, into)
                    source += length
                else:
                    into[:] = _ZEROS[:length]
                at += length
                left -= length
            yield first, part
    fresh.end()
