"""A parcel that says what it cannot mean would cost a node memory, or a slot its image."""

from __future__ import annotations

import gc
import gzip
import random
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import attrs
import pytest

from fruitd.gnu_gzip import Packing
from swarm.errors import RefusedError
from swarm.parcel.frames import Frame, held
from swarm.parcel.limits import BLOCK_BYTES, DICTIONARY_BYTES_MAX
from swarm.parcel.numbers import NumberReader, put_number, put_signed
from swarm.parcel.recipe import Origin, Range, Recipe, Run, Step
from swarm.parcel.unpack import Images, Unpacker
from tests.swarm.parcel.makers import ROOM, by_program, decoded, opened, parcel_of, segment

K = 1024
OLD = random.Random(1).randbytes(200 * K)
NEW = OLD[100 * K : 150 * K] + bytes(20 * K) + OLD[7 * K : 40 * K] + random.Random(2).randbytes(9 * K + 5)


Segment = tuple[Recipe, bytes]


def recipe(
    runs: list[tuple[int, int]], dictionary: list[tuple[int, int]], *steps: Step, new: bytes = NEW
) -> Segment:
    ranges = [[Range(*part) for part in dictionary]] if dictionary else []
    return segment(OLD, new, [Run(*run) for run in runs], ranges, *steps)


def fresh(length: int) -> Step:
    return Step(Origin.FRESH, length)


def copy(length: int, source: int) -> Step:
    return Step(Origin.COPY, length, source)


def packed(length: int, text_bytes: int, level: int = 9) -> Step:
    return Step(Origin.PACKED, length, text_bytes=text_bytes, level=level)


WHOLE = [
    # Blocks 4 and 5 of NEW first, then 6 and the short last one, then the beginning.
    recipe([(4, 2)], [(0, 50 * K)], Step(Origin.ZEROS, 6 * K), fresh(26 * K)),
    recipe([(6, 2)], [(len(OLD) + 70 * K, 10 * K)], fresh(7 * K), fresh(len(NEW) - 103 * K)),
    recipe([(0, 4)], [], copy(50 * K, 100 * K), Step(Origin.ZEROS, 14 * K)),
]


def test_an_image_comes_out_as_it_went_in() -> None:
    """Otherwise every update would have to be healed."""
    parcel = parcel_of(OLD, NEW, WHOLE)
    assert opened(parcel, OLD) == NEW
    assert [decoded(parcel).recipe(s) for s in decoded(parcel).segments] == [recipe for recipe, _ in WHOLE]


def test_sources_are_all_that_is_read() -> None:
    """What a medium is to read beforehand; what is left out is waited for."""
    touching = recipe([(0, 4)], [(10, 5), (15, 5)], fresh(1), copy(K, 20), copy(63 * K - 1, 9 * K))
    parcel = decoded(parcel_of(OLD, NEW, [WHOLE[0], WHOLE[1], touching]))
    assert [list(parcel.sources(segment)) for segment in parcel.segments] == [
        [Range(0, 50 * K)],
        [Range(len(OLD) + 70 * K, 10 * K)],
        [Range(10, 10 + K), Range(9 * K, 63 * K - 1)],
    ]


def test_a_first_install_needs_no_older_image() -> None:
    """A new card could not be filled."""
    blocks = -(-len(NEW) // BLOCK_BYTES)
    parcel = parcel_of(b"", NEW, [segment(b"", NEW, [Run(0, blocks)], [], fresh(len(NEW)))])
    assert opened(parcel, b"") == NEW
    assert len(parcel) < len(NEW)


def test_what_an_earlier_segment_made_can_be_used() -> None:
    """Whatever is twice in an image would travel twice."""
    new = random.Random(3).randbytes(BLOCK_BYTES) * 2
    twice = [
        recipe([(1, 1)], [], fresh(BLOCK_BYTES), new=new),
        recipe([(0, 1)], [], copy(BLOCK_BYTES, len(OLD) + BLOCK_BYTES), new=new),
    ]
    assert opened(parcel_of(OLD, new, twice), OLD) == new
    with pytest.raises(RefusedError, match="not made yet"):
        decoded(parcel_of(OLD, new, twice[::-1]))


def changed(part: Segment, *dictionary: Range, **changes: object) -> Segment:
    """A segment that says something else; its first frame with another dictionary, if one is given."""
    told, frames = part
    if dictionary:
        changes["frames"] = (attrs.evolve(told.frames[0], dictionary=dictionary), *told.frames[1:])
    return attrs.evolve(told, **changes), frames


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: [r[0], r[1]], "makes no block"),
        (lambda r: [*r, r[0]], "twice"),
        (lambda r: [changed(r[0], runs=(Run(5, 2),)), *r[1:]], "twice|not made yet"),
        (lambda r: [changed(r[0], runs=(Run(7, 2),)), *r[1:]], "of an image of"),
        (lambda r: [changed(r[0], Range(0, len(OLD) + 1)), *r[1:]], "in no image"),
        (lambda r: [changed(r[0], *(Range(0, 1),) * 8193), *r[1:]], "dictionary ranges"),
        (lambda r: [*r[:2], changed(r[2], steps=(*r[2][0].steps, Step(Origin.ZEROS, 1)))], "goes on after"),
        (lambda r: [*r[:2], changed(r[2], steps=r[2][0].steps[:1])], "ends within a number"),
        (lambda r: [*r[:2], changed(r[2], steps=(copy(64 * K, 150 * K),))], "lies in no image|not made"),
        (lambda r: [*r[:2], changed(r[2], steps=(copy(64 * K, -1),))], "no image|not made"),
        (lambda r: [*r[:2], changed(r[2], frames=r[0][0].frames)], "open to .* takes 0"),
        (lambda r: [changed(r[0], frames=r[0][0].frames * 17), *r[1:]], "frames of a segment"),
        (lambda r: [changed(r[0], Range(0, DICTIONARY_BYTES_MAX + 1)), *r[1:]], "length of a"),
        (lambda r: [changed(r[0], Range(0, 5, len(OLD) + 1)), *r[1:]], "in no image"),
        (lambda r: [changed(r[0], Range(0, 5, 33 * K * K)), *r[1:]], "deflate stream"),
        (lambda r: [changed(r[0], Range(0, 5, 9, 129 * K * K)), *r[1:]], "skipped"),
        (lambda r: [changed(r[0], *(Range(n, 5, 9, 65 * K * K) for n in (0, 1))), *r[1:]], "too much"),
        (lambda r: [*r[:2], changed(r[2], steps=(packed(64 * K, 0),))], "0 bytes to be packed"),
        (lambda r: [*r[:2], changed(r[2], steps=(packed(64 * K, 129 * K * K),))], "to be packed"),
        (lambda r: [*r[:2], changed(r[2], steps=(packed(64 * K, 9, 0),))], "with level 0"),
        (lambda r: [*r[:2], changed(r[2], steps=(packed(64 * K, 9, 10),))], "with level 10"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_meant_is_refused(change, words) -> None:
    """A node would make half an image, or take memory that it has not got."""
    with pytest.raises(RefusedError, match=words):
        decoded(parcel_of(OLD, NEW, change(WHOLE)))


def test_every_cut_and_every_flipped_byte_is_refused_or_harmless() -> None:
    """A damaged card must not bring down the daemon."""
    parcel = parcel_of(OLD, NEW, WHOLE)
    dice, unpacker, nothing = random.Random(4), Unpacker(), Images(lambda o, b: None, lambda o, b: None)
    for at in range(len(parcel)):
        for bad in (
            parcel[:at],
            parcel[:at] + bytes([parcel[at] ^ 1 << dice.randrange(8)]) + parcel[at + 1 :],
        ):
            try:
                head = decoded(bad)
                for part in head.segments:
                    frames = held(bad[part.frame_offset : part.frame_end])
                    for _ in unpacker.parts(head, part, frames, nothing, ROOM):
                        pass
            except RefusedError:
                pass


def test_a_wrong_older_image_spoils_only_the_blocks_that_use_it() -> None:
    """One dead sector would cost the whole image again."""
    parcel = parcel_of(OLD, NEW, WHOLE)
    wrong = bytearray(OLD)
    wrong[100 * K] ^= 1
    head = decoded(parcel)
    last = head.segments[2]
    images = Images(lambda o, b: b.__setitem__(slice(None), wrong[o : o + len(b)]), lambda o, b: None)
    made = {
        first + at // BLOCK_BYTES: bytes(part[at : at + BLOCK_BYTES])
        for first, part in Unpacker().parts(head, last, held(b""), images, ROOM)
        for at in range(0, len(part), BLOCK_BYTES)
    }
    differing = [n for n, block in made.items() if block != NEW[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES]]
    assert differing == [0]


def test_numbers_have_one_form_each() -> None:
    """Two headers of one meaning would have two hashes."""
    dice = random.Random(5)
    values = [0, 1, 127, 128, 2**56 - 1] + [dice.getrandbits(dice.randrange(1, 56)) for _ in range(1000)]
    out = bytearray()
    for value in values:
        put_number(out, value)
        put_signed(out, value >> 1)
        put_signed(out, -(value >> 1))
    reader = NumberReader(bytes(out))
    for value in values:
        assert (reader.number(), reader.signed(), reader.signed()) == (value, value >> 1, -(value >> 1))
    assert reader.finished
    for bad in (b"\x80\x00", b"\x80", b"", b"\xff" * 9, b"\xff" * 8 + b"\x01"):
        with pytest.raises(RefusedError):
            NumberReader(bad).number()


def test_what_a_segment_was_made_of_is_let_go() -> None:
    """A node would keep some of each segment for as long as it runs; zstd's reader hides what it holds from the collector."""

    @attrs.define(weakref_slot=True)
    class Cached:
        frames: bytes

        def read(self, at: int, length_bytes: int) -> bytes:
            return self.frames[at : at + length_bytes]

    parcel = parcel_of(OLD, NEW, WHOLE)
    head, unpacker = decoded(parcel), Unpacker()
    part = head.segments[0]
    images = Images(lambda o, b: None, lambda o, b: None)
    for at in range(part.frame_bytes):
        frames = bytearray(parcel[part.frame_offset : part.frame_end])
        frames[at] ^= 255
        cached = Cached(bytes(frames))
        with suppress(RefusedError):
            for _ in unpacker.parts(head, part, Frame(cached.read, part.frame_bytes), images, ROOM):
                pass
        seen = weakref.ref(cached)
        del cached
        gc.collect()
        assert seen() is None


# ---------------------------------------------------------------------- inside gzip

DICE = random.Random(6)
EARLIER = b"".join(b"%d lines of %d\n" % (DICE.randrange(99), n) for n in range(30_000))
LATER = EARLIER.replace(b"0 lines", b"no line")
BOXED_OLD = DICE.randbytes(5 * K) + gzip.compress(EARLIER, mtime=0) + DICE.randbytes(10 * K)
AT, PACKED_OLD = 5 * K + 10, len(gzip.compress(EARLIER, mtime=0)) - 18
Pack = Callable[[int, Iterator[memoryview]], Packing]


def boxed() -> tuple[bytes, list[Segment]]:
    """An image with a member in gzip, the bytes before and behind it, and the segment that makes it in two frames."""
    member = by_program(LATER)
    new = DICE.randbytes(300) + b"\x1f\x8b\x08" + bytes(7) + member + bytes(777)
    inside = [Range(AT, 200_000, PACKED_OLD), Range(AT, 150_000, PACKED_OLD, 250_000), Range(0, 5 * K)]
    steps = [fresh(310), packed(len(member), len(LATER)), Step(Origin.ZEROS, 777)]
    blocks = -(-len(new) // BLOCK_BYTES)
    return new, [segment(BOXED_OLD, new, [Run(0, blocks)], [inside, inside[1:]], *steps)]


def test_what_was_in_gzip_is_made_of_what_was_in_gzip() -> None:
    """A line in a manual would cost all of it."""
    new, segments = boxed()
    parcel = parcel_of(BOXED_OLD, new, segments)
    assert opened(parcel, BOXED_OLD) == new
    assert decoded(parcel).recipe(decoded(parcel).segments[0]) == segments[0][0]
    assert [part.source for part in decoded(parcel).sources(decoded(parcel).segments[0])] == [
        AT,
        AT,
        0,
        AT,
        0,
    ]
    assert len(parcel) < len(by_program(LATER)) // 2


@pytest.mark.parametrize("size", [1, 3 * K, 40 * K, 700 * K])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_zlib_opens_what_is_packed_to_what_it_was(size: int, level: int) -> None:
    """The program of this machine would be another one than GNU gzip, and every parcel with a member would be healed."""
    text = (EARLIER * 2)[:size]
    assert zlib.decompress(by_program(text, level)[:-8], -15) == text


def made_of(new: bytes, segments: list[Segment], old: bytes, pack: Pack | None) -> dict[int, bytes]:
    """The blocks that come of a parcel, by their number."""
    parcel = parcel_of(BOXED_OLD, new, segments)
    head, made = decoded(parcel), {}
    images = Images(lambda o, b: b.__setitem__(slice(None), old[o : o + len(b)]), lambda o, b: None, pack)
    for part in head.segments:
        frames = held(parcel[part.frame_offset : part.frame_end])
        for first, data in Unpacker().parts(head, part, frames, images, ROOM):
            for at in range(0, len(data), BLOCK_BYTES):
                made[first + at // BLOCK_BYTES] = bytes(data[at : at + BLOCK_BYTES])
    return made


def long_one() -> tuple[bytes, list[Segment], bytes]:
    """An image of 40 blocks, of which gzip makes the first 20 or so."""
    text = bytes(DICE.choices(b"abcdefghijklmnop", k=600 * K))
    member = by_program(text)
    new = (member + DICE.randbytes(40 * BLOCK_BYTES))[: 40 * BLOCK_BYTES]
    steps = [packed(len(member), len(text)), fresh(len(new) - len(member))]
    return new, [segment(BOXED_OLD, new, [Run(0, 40)], [[], []], *steps)], member


@pytest.mark.parametrize("broken", ["no-gzip", "shorter", "longer", "other-bytes"])
def test_where_gzip_makes_something_else_only_the_blocks_around_it_are_missing(broken: str) -> None:
    """A node without GNU gzip, or with one that packs otherwise, would have to fetch all of the segment again."""
    new, segments, member = long_one()

    class Other(Packing):
        def __init__(self, level: int, text: Iterator[memoryview]) -> None:
            self._made_bytes = 0
            super().__init__(level, text)

        def take(self, into: memoryview) -> bool:
            took = super().take(into)
            self._made_bytes += len(into)
            if broken == "other-bytes" and took and len(into) > 99:
                into[99] ^= 1
            return took and not (broken == "shorter" and self._made_bytes > 300 * K)

        def end(self) -> bool:
            return super().end() and broken != "longer"

    made = made_of(new, segments, BOXED_OLD, None if broken == "no-gzip" else Other)
    right = {block for block, data in made.items() if data == new[block * BLOCK_BYTES :][:BLOCK_BYTES]}
    last = len(member) // BLOCK_BYTES
    assert set(range(32, 40)) <= right
    assert last not in right if broken != "other-bytes" else right != set(range(40))
    assert made_of(new, segments, BOXED_OLD, Packing) == {
        block: new[block * BLOCK_BYTES :][:BLOCK_BYTES] for block in range(40)
    }


def test_a_damaged_deflate_stream_in_the_older_image_spoils_what_uses_it_and_ends() -> None:
    """A dying card would keep the daemon at one segment, or end it."""
    new, segments = boxed()
    for at in (AT + 1, AT + PACKED_OLD // 2, AT + PACKED_OLD - 1):
        damaged = BOXED_OLD[:at] + bytes([BOXED_OLD[at] ^ 255]) + BOXED_OLD[at + 1 :]
        with suppress(RefusedError):
            made_of(new, segments, damaged, Packing)


def test_a_member_that_is_left_half_way_leaves_no_program_behind() -> None:
    """A node whose updates are interrupted would fill its process table."""
    new, segments, _ = long_one()
    parcel = parcel_of(BOXED_OLD, new, segments)
    head = decoded(parcel)
    begun = []

    class Seen(Packing):
        def __init__(self, level: int, text: Iterator[memoryview]) -> None:
            super().__init__(level, text)
            begun.append(self._program)

    images = Images(lambda o, b: None, lambda o, b: None, Seen)
    part = head.segments[0]
    parts = Unpacker().parts(head, part, held(parcel[part.frame_offset : part.frame_end]), images, ROOM)
    next(parts)
    assert begun[0] is not None
    assert begun[0].poll() is None
    parts.close()
    assert begun[0].poll() is not None
