"""A parcel that says what it cannot mean would cost a node memory, or a slot its image."""

from __future__ import annotations

import random

import attrs
import pytest

from swarm.errors import RefusedError
from swarm.parcel.frames import held
from swarm.parcel.limits import BLOCK_BYTES, DICTIONARY_BYTES_MAX
from swarm.parcel.numbers import NumberReader, put_number, put_signed
from swarm.parcel.recipe import Origin, Range, Recipe, Run, Step
from swarm.parcel.unpack import Images, Unpacker
from tests.swarm.parcel.makers import ROOM, decoded, opened, parcel_of

K = 1024
OLD = random.Random(1).randbytes(200 * K)
NEW = OLD[100 * K : 150 * K] + bytes(20 * K) + OLD[7 * K : 40 * K] + random.Random(2).randbytes(9 * K + 5)


def recipe(runs: list[tuple[int, int]], dictionary: list[tuple[int, int]], *steps: Step) -> Recipe:
    return Recipe(tuple(Run(*run) for run in runs), tuple(Range(*part) for part in dictionary), steps)


def fresh(length: int) -> Step:
    return Step(Origin.FRESH, length)


def copy(length: int, source: int) -> Step:
    return Step(Origin.COPY, length, source)


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
    assert [decoded(parcel).recipe(s) for s in decoded(parcel).segments] == WHOLE


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
    parcel = parcel_of(b"", NEW, [recipe([(0, blocks)], [], fresh(len(NEW)))])
    assert opened(parcel, b"") == NEW
    assert len(parcel) < len(NEW)


def test_what_an_earlier_segment_made_can_be_used() -> None:
    """Whatever is twice in an image would travel twice."""
    new = random.Random(3).randbytes(BLOCK_BYTES) * 2
    twice = [
        recipe([(1, 1)], [], fresh(BLOCK_BYTES)),
        recipe([(0, 1)], [], copy(BLOCK_BYTES, len(OLD) + BLOCK_BYTES)),
    ]
    assert opened(parcel_of(OLD, new, twice), OLD) == new
    with pytest.raises(RefusedError, match="not made yet"):
        decoded(parcel_of(OLD, new, twice[::-1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: [r[0], r[1]], "makes no block"),
        (lambda r: [*r, r[0]], "twice"),
        (lambda r: [attrs.evolve(r[0], runs=(Run(5, 2),)), *r[1:]], "twice|not made yet"),
        (lambda r: [attrs.evolve(r[0], runs=(Run(7, 2),)), *r[1:]], "of an image of"),
        (lambda r: [attrs.evolve(r[0], dictionary=(Range(0, len(OLD) + 1),)), *r[1:]], "in no image"),
        (lambda r: [attrs.evolve(r[0], dictionary=(Range(0, 1),) * 4097), *r[1:]], "dictionary ranges"),
        (lambda r: [*r[:2], attrs.evolve(r[2], steps=(*r[2].steps, Step(Origin.ZEROS, 1)))], "goes on after"),
        (lambda r: [*r[:2], attrs.evolve(r[2], steps=r[2].steps[:1])], "ends within a number"),
        (lambda r: [*r[:2], attrs.evolve(r[2], steps=(copy(64 * K, 150 * K),))], "lies in no image|not made"),
        (lambda r: [*r[:2], attrs.evolve(r[2], steps=(copy(64 * K, -1),))], "no image|not made"),
        (lambda r: [*r[:2], attrs.evolve(r[2], dictionary=(Range(0, 9),))], "without a frame"),
        (lambda r: [attrs.evolve(r[0], dictionary=(Range(0, DICTIONARY_BYTES_MAX + 1),)), *r[1:]], "length of a"),
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
                for segment in head.segments:
                    frame = held(bad[segment.frame_offset : segment.frame_end])
                    for _ in unpacker.parts(head, segment, frame, nothing, ROOM):
                        pass
            except RefusedError:
                pass


def test_a_wrong_older_image_spoils_only_the_blocks_that_use_it() -> None:
    """One dead sector would cost the whole image again."""
    parcel = parcel_of(OLD, NEW, WHOLE)
    wrong = bytearray(OLD)
    wrong[100 * K] ^= 1
    head = decoded(parcel)
    segment = head.segments[2]
    images = Images(lambda o, b: b.__setitem__(slice(None), wrong[o : o + len(b)]), lambda o, b: None)
    made = {
        first + at // BLOCK_BYTES: bytes(part[at : at + BLOCK_BYTES])
        for first, part in Unpacker().parts(head, segment, held(b""), images, ROOM)
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
