"""How one segment is made: which blocks it makes, what its dictionaries are put together from, and where each byte comes from.

A *source* is an offset in the older image followed by the new one: below `from_bytes` it lies in the older image, from there on
in what earlier segments of the same parcel have made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from attrs import frozen

from swarm.errors import RefusedError
from swarm.parcel.limits import (
    BLOCK_BYTES,
    DICTIONARY_BYTES_MAX,
    DICTIONARY_RANGES_MAX,
    FRAME_BYTES_MAX,
    FRAMES_MAX,
    FRESH_BYTES_MAX,
    INFLATED_BYTES_MAX,
    OUTPUT_BYTES_MAX,
)
from swarm.parcel.numbers import NumberReader, put_number, put_signed

RUNS_MAX = OUTPUT_BYTES_MAX // BLOCK_BYTES
TEXT_BYTES_MAX = FRAMES_MAX * FRESH_BYTES_MAX
LEVEL_MAX = 9
"""Of gzip."""


class Origin(IntEnum):
    """Where the bytes of a step come from."""

    FRESH = 0
    """The segment's frames, from where the step before it left off."""
    ZEROS = 1
    COPY = 2
    """A source."""
    PACKED = 3
    """What gzip makes of the next bytes of the segment's frames."""


@frozen
class Run:
    """Consecutive blocks of the new image."""

    block: int
    count: int

    @property
    def end(self) -> int:
        """The block after the last."""
        return self.block + self.count


@frozen
class Range:
    """Bytes of a source, or of what a deflate stream holds that lies there."""

    source: int
    length_bytes: int
    packed_bytes: int = 0
    """Not 0: so many bytes at the source are a raw deflate stream (RFC 1951), and the range is a part of what it opens to."""
    skipped_bytes: int = 0
    """How much of that comes before the range."""

    @property
    def end(self) -> int:
        """The source after the last that is read."""
        return self.source + (self.packed_bytes or self.length_bytes)

    def goes_on(self, last: Range | None) -> bool:
        """Is it of the same stream as the one before, and further on? Then nothing has to be opened again."""
        return (
            last is not None
            and self.packed_bytes > 0
            and (self.source, self.packed_bytes) == (last.source, last.packed_bytes)
            and self.skipped_bytes >= last.skipped_bytes + last.length_bytes
        )

    def inflated_bytes(self, last: Range | None) -> int:
        """How much has to be inflated for it, after the one before."""
        if not self.packed_bytes:
            return 0
        begin = last.skipped_bytes + last.length_bytes if last is not None and self.goes_on(last) else 0
        return self.skipped_bytes + self.length_bytes - begin


@frozen
class FreshFrame:
    """One of a segment's frames."""

    frame_bytes: int
    fresh_bytes: int
    """What it opens to."""
    dictionary: tuple[Range, ...]

    @property
    def dictionary_bytes(self) -> int:
        """Of all ranges."""
        return sum(part.length_bytes for part in self.dictionary)


@frozen
class Step:
    """The next bytes of a segment's output."""

    origin: Origin
    length_bytes: int
    source: int = 0
    """Only of a copy."""
    text_bytes: int = 0
    """Only of what is packed: how many bytes of the frames that is."""
    level: int = 0
    """Only of what is packed: of gzip, 1 to 9."""


@frozen
class Recipe:
    """What one segment makes, and of what; as a builder states it."""

    runs: tuple[Run, ...]
    frames: tuple[FreshFrame, ...]
    steps: tuple[Step, ...]

    @property
    def fresh_bytes(self) -> int:
        """What its frames open to, all together."""
        return sum(frame.fresh_bytes for frame in self.frames)

    @property
    def frame_bytes(self) -> int:
        """All its frames' bytes in the parcel."""
        return sum(frame.frame_bytes for frame in self.frames)

    def encode(self, after: int) -> bytes:
        """The recipe's bytes; `after` is the block after the last one of the segment before, 0 for the first."""
        out = bytearray()
        put_number(out, len(self.runs))
        for run in self.runs:
            put_signed(out, run.block - after)
            put_number(out, run.count)
            after = run.end
        put_number(out, len(self.frames))
        expected = 0
        for frame in self.frames:
            put_number(out, frame.frame_bytes)
            put_number(out, frame.fresh_bytes)
            put_number(out, len(frame.dictionary))
            for part in frame.dictionary:
                put_signed(out, part.source - expected)
                put_number(out, part.length_bytes << 1 | (part.packed_bytes > 0))
                if part.packed_bytes:
                    put_number(out, part.packed_bytes)
                    put_number(out, part.skipped_bytes)
                expected = part.end
        for step in self.steps:
            put_number(out, step.length_bytes << 2 | step.origin)
            if step.origin is Origin.COPY:
                put_signed(out, step.source - expected)
                expected = step.source
            elif step.origin is Origin.PACKED:
                put_number(out, step.text_bytes << 4 | step.level)
            expected += step.length_bytes
        return bytes(out)


class RecipeReader:
    """Reads a recipe piece by piece, in the order runs, frames, steps; nothing of it is kept.

    Each part must be taken whole before the next. Raises `RefusedError` at whatever is out of bounds.
    """

    def __init__(self, data: bytes, at: int, end: int, after: int) -> None:
        self._numbers = NumberReader(data, at, end)
        self._after = after
        self._expected = 0

    def runs(self, image_bytes: int) -> tuple[Run, ...]:
        """The blocks that it makes."""
        blocks, left = -(-image_bytes // BLOCK_BYTES), OUTPUT_BYTES_MAX // BLOCK_BYTES
        found = []
        for _ in range(self._numbers.count("runs of a segment", 1, RUNS_MAX)):
            block = self._after + self._numbers.signed()
            count = self._numbers.count("blocks of a run", 1, left)
            if not 0 <= block <= blocks - count:
                raise RefusedError(f"parcel makes block {block + count - 1} of an image of {blocks}")
            left -= count
            found.append(Run(block, count))
            self._after = block + count
        return tuple(found)

    def frames(self) -> Iterator[FreshFrame]:
        """Its frames, in order."""
        ranges_left = DICTIONARY_RANGES_MAX
        for _ in range(self._numbers.count("frames of a segment", 0, FRAMES_MAX)):
            frame_bytes = self._numbers.count("length of a frame", 1, FRAME_BYTES_MAX)
            fresh_bytes = self._numbers.count("what a frame opens to", 1, FRESH_BYTES_MAX)
            ranges = self._numbers.count("dictionary ranges of a segment", 0, ranges_left)
            ranges_left -= ranges
            yield FreshFrame(frame_bytes, fresh_bytes, tuple(self._dictionary(ranges)))

    def _dictionary(self, count: int) -> Iterator[Range]:
        """What a frame's dictionary is put together from, in order."""
        left, inflated_left, last = DICTIONARY_BYTES_MAX, INFLATED_BYTES_MAX, None
        for _ in range(count):
            source = self._expected + self._numbers.signed()
            number = self._numbers.number()
            part = Range(source, number >> 1)
            if not 1 <= part.length_bytes <= left:
                raise RefusedError(
                    f"parcel: length of a dictionary range is {part.length_bytes}, {left} are left"
                )
            if number & 1:
                packed_bytes = self._numbers.count("length of a deflate stream", 1, OUTPUT_BYTES_MAX)
                skipped_bytes = self._numbers.count("what is skipped", 0, INFLATED_BYTES_MAX)
                part = Range(source, part.length_bytes, packed_bytes, skipped_bytes)
                inflated_left -= part.inflated_bytes(last)
                if inflated_left < 0:
                    raise RefusedError("parcel: a dictionary for which too much is to be inflated")
            left -= part.length_bytes
            self._expected = part.end
            last = part
            yield part

    def steps(self, output_bytes: int) -> Iterator[Step]:
        """Where each byte of its output comes from."""
        left = output_bytes
        while left:
            number = self._numbers.number()
            length_bytes, kind = number >> 2, number & 3
            if not 1 <= length_bytes <= left:
                raise RefusedError(f"parcel: a step of {length_bytes} bytes where {left} are left")
            source = text = 0
            if kind == Origin.COPY:
                source = self._expected = self._expected + self._numbers.signed()
            elif kind == Origin.PACKED:
                text = self._numbers.number()
                if not 1 <= text >> 4 <= TEXT_BYTES_MAX or not 1 <= text & 15 <= LEVEL_MAX:
                    raise RefusedError(f"parcel: {text >> 4} bytes to be packed with level {text & 15}")
            self._expected += length_bytes
            left -= length_bytes
            yield Step(Origin(kind), length_bytes, source, text >> 4, text & 15)
        if not self._numbers.finished:
            raise RefusedError("parcel: a recipe goes on after its last step")


def output_bytes_of(runs: Sequence[Run], image_bytes: int) -> int:
    """How many bytes these blocks have; only the last block of an image may be short."""
    return sum(min(run.end * BLOCK_BYTES, image_bytes) - run.block * BLOCK_BYTES for run in runs)
