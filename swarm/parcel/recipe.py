"""How one segment is made: which blocks it makes, what its dictionary is put together from, and where each byte comes from.

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
    OUTPUT_BYTES_MAX,
)
from swarm.parcel.numbers import NumberReader, put_number, put_signed

RUNS_MAX = OUTPUT_BYTES_MAX // BLOCK_BYTES


class Origin(IntEnum):
    """Where the bytes of a step come from."""

    FRESH = 0
    """The segment's frame, from where the step before it left off."""
    ZEROS = 1
    COPY = 2
    """A source."""


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
    """Bytes of a source."""

    source: int
    length_bytes: int

    @property
    def end(self) -> int:
        """The source after the last."""
        return self.source + self.length_bytes


@frozen
class Step:
    """The next bytes of a segment's output."""

    origin: Origin
    length_bytes: int
    source: int = 0
    """Only of a copy."""


@frozen
class Recipe:
    """What one segment makes, and of what; as a builder states it."""

    runs: tuple[Run, ...]
    dictionary: tuple[Range, ...]
    steps: tuple[Step, ...]

    @property
    def fresh_bytes(self) -> int:
        """What its frame has to open to."""
        return sum(s.length_bytes for s in self.steps if s.origin is Origin.FRESH)

    def encode(self, after: int) -> bytes:
        """The recipe's bytes; `after` is the block after the last one of the segment before, 0 for the first."""
        out = bytearray()
        put_number(out, len(self.runs))
        for run in self.runs:
            put_signed(out, run.block - after)
            put_number(out, run.count)
            after = run.end
        put_number(out, len(self.dictionary))
        expected = 0
        for part in self.dictionary:
            put_signed(out, part.source - expected)
            put_number(out, part.length_bytes)
            expected = part.end
        for step in self.steps:
            put_number(out, step.length_bytes << 2 | step.origin)
            if step.origin is Origin.COPY:
                put_signed(out, step.source - expected)
                expected = step.source
            expected += step.length_bytes
        return bytes(out)


class RecipeReader:
    """Reads a recipe piece by piece, in the order runs, dictionary, steps; nothing of it is kept.

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

    def dictionary(self) -> Iterator[Range]:
        """What its dictionary is put together from, in order."""
        left = DICTIONARY_BYTES_MAX
        for _ in range(self._numbers.count("dictionary ranges of a segment", 0, DICTIONARY_RANGES_MAX)):
            source = self._expected + self._numbers.signed()
            length_bytes = self._numbers.count("length of a dictionary range", 1, left)
            left -= length_bytes
            self._expected = source + length_bytes
            yield Range(source, length_bytes)

    def steps(self, output_bytes: int) -> Iterator[Step]:
        """Where each byte of its output comes from."""
        left = output_bytes
        while left:
            number = self._numbers.number()
            length_bytes, kind = number >> 2, number & 3
            if not 1 <= length_bytes <= left:
                raise RefusedError(f"parcel: a step of {length_bytes} bytes where {left} are left")
            if kind not in (Origin.FRESH, Origin.ZEROS, Origin.COPY):
                raise RefusedError("parcel: a step of an unknown kind")
            source = 0
            if kind == Origin.COPY:
                source = self._expected = self._expected + self._numbers.signed()
            self._expected += length_bytes
            left -= length_bytes
            yield Step(Origin(kind), length_bytes, source)
        if not self._numbers.finished:
            raise RefusedError("parcel: a recipe goes on after its last step")


def output_bytes_of(runs: Sequence[Run], image_bytes: int) -> int:
    """How many bytes these blocks have; only the last block of an image may be short."""
    return sum(min(run.end * BLOCK_BYTES, image_bytes) - run.block * BLOCK_BYTES for run in runs)
