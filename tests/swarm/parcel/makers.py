"""Parcels made by hand: any recipes, packed as a builder would."""

from __future__ import annotations

import itertools
import subprocess
import zlib
from collections.abc import Sequence

import zstandard

from bep35.merkle import leaf_hashes, root_of
from fruitd.gnu_gzip import Packing
from swarm.parcel.frames import held, raw_dictionary
from swarm.parcel.header import NOTHING, Made, Parcel, check_of, decode_head, encode_head, head_bytes_of
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import FreshFrame, Origin, Range, Recipe, Run, Step
from swarm.parcel.unpack import PART_BYTES, Images, Unpacker

ROOM = itertools.repeat(memoryview(bytearray(PART_BYTES)))
"""For one part after the other."""


def by_program(text: bytes, level: int = 9) -> bytes:
    """What GNU gzip makes of it, behind its header."""
    done = subprocess.run(["gzip", f"-{level}n"], input=text, stdout=subprocess.PIPE, check=True)
    return done.stdout[10:]


def root(image: bytes) -> bytes:
    """The pieces root of an image."""
    return root_of(leaf_hashes(image))


def output_of(image: bytes, recipe: Recipe) -> bytes:
    """The bytes of the new image that a recipe makes, in its order."""
    return b"".join(image[run.block * BLOCK_BYTES : run.end * BLOCK_BYTES] for run in recipe.runs)


def frame(
    old: bytes, new: bytes, content: bytes, dictionary: Sequence[Range] = ()
) -> tuple[FreshFrame, bytes]:
    """A frame that opens to this content."""
    raw = b"".join(_held_by(old + new, part) for part in dictionary)
    packer = zstandard.ZstdCompressor(
        level=3, dict_data=raw_dictionary(raw) if raw else None, write_dict_id=False
    )
    packed = packer.compress(content)
    return FreshFrame(len(packed), len(content), tuple(dictionary)), packed


def _held_by(sources: bytes, part: Range) -> bytes:
    data = sources[part.source : part.end]
    if part.packed_bytes:
        data = zlib.decompressobj(-15).decompress(data)[part.skipped_bytes :][: part.length_bytes]
    return data


def content_of(new: bytes, recipe: Recipe) -> bytes:
    """What a recipe's frames have to open to."""
    output, at, content = output_of(new, recipe), 0, b""
    for step in recipe.steps:
        part = output[at : at + step.length_bytes]
        at += step.length_bytes
        if step.origin is Origin.PACKED:
            part = zlib.decompressobj(-15).decompress(part).ljust(step.text_bytes, b"?")
        content += part if step.origin in (Origin.FRESH, Origin.PACKED) else b""
    return content


def segment(
    old: bytes, new: bytes, runs: Sequence[Run], dictionaries: Sequence[Sequence[Range]], *steps: Step
) -> tuple[Recipe, bytes]:
    """A recipe, and the frames for it: one for each dictionary, of about the same length; one without where there is none."""
    content = content_of(new, Recipe(tuple(runs), (), steps))
    dictionaries = dictionaries or [()] * bool(content)
    each = -(-len(content) // max(len(dictionaries), 1))
    made = [frame(old, new, content[each * n :][:each], part) for n, part in enumerate(dictionaries)]
    return Recipe(tuple(runs), tuple(told for told, _ in made), steps), b"".join(raw for _, raw in made)


def parcel_of(old: bytes, new: bytes, segments: Sequence[tuple[Recipe, bytes]]) -> bytes:
    """A whole parcel, of recipes and their frames."""
    made = [Made(recipe, check_of(output_of(new, recipe))) for recipe, _ in segments]
    head = encode_head(root(new), len(new), root(old) if old else NOTHING, len(old), made)
    return head + b"".join(frames for _, frames in segments)


def decoded(parcel: bytes) -> Parcel:
    """Its header."""
    return decode_head(parcel[: head_bytes_of(parcel[:16])], len(parcel))


def opened(parcel: bytes, old: bytes) -> bytes:
    """The image that a parcel makes."""
    head = decoded(parcel)
    new = bytearray(head.image_bytes)

    def read_old(offset: int, into: memoryview) -> None:
        into[:] = old[offset : offset + len(into)]

    def read_made(offset: int, into: memoryview) -> None:
        into[:] = new[offset : offset + len(into)]

    unpacker, images = Unpacker(), Images(read_old, read_made, Packing)
    for segment in head.segments:
        frames = held(parcel[segment.frame_offset : segment.frame_end])
        output = []
        for block, data in unpacker.parts(head, segment, frames, images, ROOM):
            new[block * BLOCK_BYTES : block * BLOCK_BYTES + len(data)] = data
            output.append(bytes(data))
        assert check_of(b"".join(output)) == segment.check
    return bytes(new)
