"""The header of a parcel: which image it makes, from which, and what every segment makes of what (docs/protocol/parcel.md).

A parcel is 16 bytes of prefix, the header as one zstd frame, and then the frames of its segments, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain

import zstandard
from attrs import field, frozen

from swarm.errors import RefusedError
from swarm.parcel.frames import opened_frame
from swarm.parcel.limits import (
    BLOCK_BYTES,
    CHECK_BYTES,
    HASH_BYTES,
    HEADER_BYTES_MAX,
    HEADER_FRAME_BYTES_MAX,
    IMAGE_BYTES_MAX,
    RECIPE_BYTES_MAX,
    SEGMENTS_MAX,
)
from swarm.parcel.numbers import NumberReader, put_number
from swarm.parcel.recipe import FreshFrame, Origin, Range, Recipe, RecipeReader, Run, Step, output_bytes_of

MAGIC = b"fruitpc2"
PREFIX_BYTES = 16
"""Magic, and two numbers of four bytes, little-endian: the header's length as a frame, and opened."""
NOTHING = bytes(HASH_BYTES)
"""What a parcel of a first install is made from."""


@frozen
class Segment:
    """Some blocks of the new image, and the bytes of the parcel that they are made with."""

    number: int
    """0 for the first. Segments are made in this order: later ones may use what earlier ones made."""
    runs: tuple[Run, ...]
    """The blocks that it makes; no other segment makes them."""
    output_bytes: int
    frame_offset: int
    """Where its first frame begins in the parcel."""
    frame_bytes: int
    """Of all its frames, which follow each other. 0: everything is copied or zero."""
    fresh_bytes: int
    """What they open to."""
    check: bytes
    """The first 16 bytes of SHA-256 of its output. Tells of a wrong older image; what is believed is the image's hash tree."""
    recipe_at: int = field(repr=False)
    recipe_end: int = field(repr=False)
    after: int = field(repr=False)
    """The block after the last one of the segment before."""

    @property
    def frame_end(self) -> int:
        """The byte of the parcel after its last frame."""
        return self.frame_offset + self.frame_bytes


@frozen
class Parcel:
    """A header, decoded and found sound: every block is made once, and nothing is used before it is made."""

    image_root: bytes
    """Pieces root (BEP-52) of the image it makes."""
    image_bytes: int
    from_root: bytes
    """Pieces root of the older image; `NOTHING`: none is needed."""
    from_bytes: int
    length_bytes: int
    """Of the whole parcel."""
    segments: tuple[Segment, ...] = field(repr=False)
    _header: bytes = field(repr=False)

    def parts(self, segment: Segment) -> tuple[Iterator[FreshFrame], Iterator[Step]]:
        """Frames and steps of a segment. The first must be taken whole before the second is begun."""
        reader = RecipeReader(self._header, segment.recipe_at, segment.recipe_end, segment.after)
        reader.runs(self.image_bytes)
        return reader.frames(), reader.steps(segment.output_bytes)

    def sources(self, segment: Segment) -> Iterator[Range]:
        """What a segment reads of the two images, in order; ranges that follow each other are one."""
        frames, steps = self.parts(segment)
        dictionaries = (
            Range(part.source, part.end - part.source) for frame in frames for part in frame.dictionary
        )
        copies = (Range(step.source, step.length_bytes) for step in steps if step.origin is Origin.COPY)
        last = None
        for part in chain(dictionaries, copies):
            if last is not None and last.end == part.source:
                last = Range(last.source, last.length_bytes + part.length_bytes)
            else:
                if last is not None:
                    yield last
                last = part
        if last is not None:
            yield last

    def recipe(self, segment: Segment) -> Recipe:
        """All of a segment's recipe at once: up to some 10 MiB of objects. For people and tests."""
        frames, steps = self.parts(segment)
        return Recipe(segment.runs, tuple(frames), tuple(steps))


@frozen
class Made:
    """One segment as its builder tells of it."""

    recipe: Recipe
    check: bytes


def check_of(output: bytes | bytearray) -> bytes:
    """A segment's check, of all its output in order."""
    return sha256(output).digest()[:CHECK_BYTES]


def encode_head(
    image_root: bytes, image_bytes: int, from_root: bytes, from_bytes: int, segments: Sequence[Made]
) -> bytes:
    """Prefix and header; the frames follow in the same order.

    Raises `RefusedError` where the header gets too long: copy less and put more into dictionaries.
    """
    table, recipes = bytearray(), bytearray()
    after = 0
    for made in segments:
        encoded = made.recipe.encode(after)
        after = made.recipe.runs[-1].end
        put_number(table, len(encoded))
        recipes += encoded
    header = bytearray(image_root + from_root)
    put_number(header, image_bytes)
    put_number(header, from_bytes)
    put_number(header, len(segments))
    header += table
    header += b"".join(made.check for made in segments)
    header += recipes
    if len(header) > HEADER_BYTES_MAX:
        raise RefusedError(f"parcel's header has {len(header)} bytes, allowed are {HEADER_BYTES_MAX}")
    frame = zstandard.ZstdCompressor(level=19, write_checksum=False, write_dict_id=False).compress(header)
    return MAGIC + len(frame).to_bytes(4, "little") + len(header).to_bytes(4, "little") + frame


def head_bytes_of(prefix: bytes) -> int:
    """How many bytes of a parcel are prefix and header, from its first `PREFIX_BYTES`. Raises `RefusedError`."""
    return PREFIX_BYTES + _lengths(prefix)[0]


def decode_head(head: bytes, length_bytes: int) -> Parcel:
    """Read prefix and header.

    Args:
        head: at least the first `head_bytes_of` bytes of the parcel; more are not looked at.
        length_bytes: of the whole parcel, as its torrent says.

    Raises:
        RefusedError: it is damaged, or asks for more than the limits allow. Takes no more memory than `HEADER_BYTES_MAX`
        for the header, 1 byte for each block of the image (4 MiB at most), and some 600 bytes a segment.
    """
    packed_bytes, header_bytes = _lengths(head)
    if len(head) < PREFIX_BYTES + packed_bytes:
        raise RefusedError("parcel ends within its header")
    header = opened_frame(head[PREFIX_BYTES : PREFIX_BYTES + packed_bytes], header_bytes)
    numbers = NumberReader(header)
    image_root = numbers.raw(HASH_BYTES, "the image's root")
    from_root = numbers.raw(HASH_BYTES, "the older image's root")
    image_bytes = numbers.count("length of the image", 1, IMAGE_BYTES_MAX)
    from_bytes = numbers.count("length of the older image", 0, IMAGE_BYTES_MAX)
    if (from_root == NOTHING) != (from_bytes == 0):
        raise RefusedError("parcel is from nothing and from an image at once")
    segments = _segments(numbers, image_bytes, from_bytes, PREFIX_BYTES + packed_bytes)
    if segments[-1].frame_end != length_bytes:
        raise RefusedError(f"parcel has {length_bytes} bytes, its header tells of {segments[-1].frame_end}")
    return Parcel(image_root, image_bytes, from_root, from_bytes, length_bytes, segments, header)


def _lengths(prefix: bytes) -> tuple[int, int]:
    if prefix[: len(MAGIC)] != MAGIC:
        raise RefusedError("not a parcel, or one of a version that this fruitd does not know")
    if len(prefix) < PREFIX_BYTES:
        raise RefusedError("parcel ends within its prefix")
    packed_bytes = int.from_bytes(prefix[8:12], "little")
    header_bytes = int.from_bytes(prefix[12:16], "little")
    if not (1 <= packed_bytes <= HEADER_FRAME_BYTES_MAX and 1 <= header_bytes <= HEADER_BYTES_MAX):
        raise RefusedError(f"parcel's header has {packed_bytes} bytes, opened {header_bytes}: too many")
    return packed_bytes, header_bytes


def _segments(
    numbers: NumberReader, image_bytes: int, from_bytes: int, frame_offset: int
) -> tuple[Segment, ...]:
    count = numbers.count("segments", 1, SEGMENTS_MAX)
    table = [numbers.count("length of a recipe", 1, RECIPE_BYTES_MAX) for _ in range(count)]
    checks = numbers.raw(CHECK_BYTES * count, "its checks")
    judge = _Judge(image_bytes, from_bytes)
    segments, after = [], 0
    for number, recipe_bytes in enumerate(table):
        at = numbers.at
        numbers.skip(recipe_bytes, "a recipe")
        reader = RecipeReader(numbers.data, at, numbers.at, after)
        runs, output_bytes, frame_bytes, fresh_bytes = judge.judge(reader)
        check = checks[CHECK_BYTES * number :][:CHECK_BYTES]
        segments.append(
            Segment(
                number, runs, output_bytes, frame_offset, frame_bytes, fresh_bytes, check, at, numbers.at, after
            )
        )  # fmt: skip
        frame_offset += frame_bytes
        after = runs[-1].end
    if not numbers.finished:
        raise RefusedError("parcel: its header goes on after the last recipe")
    judge.check_whole()
    return tuple(segments)


class _Judge:
    """Sees that every block is made once and that no source is used that is not there yet."""

    def __init__(self, image_bytes: int, from_bytes: int) -> None:
        self._image_bytes = image_bytes
        self._from_bytes = from_bytes
        self._made = bytearray(-(-image_bytes // BLOCK_BYTES))
        """A byte for each block: 1 once it is made."""

    def judge(self, reader: RecipeReader) -> tuple[tuple[Run, ...], int, int, int]:
        """One recipe: its blocks, how many bytes they have, and the lengths of its frames and of what they open to."""
        runs = reader.runs(self._image_bytes)
        output_bytes = output_bytes_of(runs, self._image_bytes)
        frame_bytes = fresh_bytes = taken_bytes = 0
        for frame in reader.frames():
            for part in frame.dictionary:
                self._check_source(part.source, part.end)
            frame_bytes += frame.frame_bytes
            fresh_bytes += frame.fresh_bytes
        for step in reader.steps(output_bytes):
            if step.origin is Origin.FRESH:
                taken_bytes += step.length_bytes
            elif step.origin is Origin.PACKED:
                taken_bytes += step.text_bytes
            elif step.origin is Origin.COPY:
                self._check_source(step.source, step.source + step.length_bytes)
        if taken_bytes != fresh_bytes:
            raise RefusedError(
                f"parcel: frames open to {fresh_bytes} bytes, their recipe takes {taken_bytes}"
            )
        for run in runs:
            if self._made.find(1, run.block, run.end) != -1:
                raise RefusedError("parcel makes a block twice")
            self._made[run.block : run.end] = b"\1" * run.count
        return runs, output_bytes, frame_bytes, fresh_bytes

    def check_whole(self) -> None:
        """Raise `RefusedError` unless every block is made."""
        missing = self._made.find(0)
        if missing != -1:
            raise RefusedError(f"parcel makes no block {missing}")

    def _check_source(self, source: int, end: int) -> None:
        if source >= 0 and end <= self._from_bytes:
            return
        source, end = source - self._from_bytes, end - self._from_bytes
        if source < 0 or end > self._image_bytes:
            raise RefusedError("parcel: a source that lies in no image")
        if self._made.find(0, source // BLOCK_BYTES, -(-end // BLOCK_BYTES)) != -1:
            raise RefusedError("parcel: a source that is not made yet")
