"""Parcels made by hand: any recipes, packed as a builder would."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import zstandard

from bep35.merkle import leaf_hashes, root_of
from swarm.parcel.frames import held, raw_dictionary
from swarm.parcel.header import NOTHING, Made, Parcel, check_of, decode_head, encode_head, head_bytes_of
from swarm.parcel.limits import BLOCK_BYTES
from swarm.parcel.recipe import Origin, Recipe
from swarm.parcel.unpack import PART_BYTES, Images, Unpacker

ROOM = itertools.repeat(memoryview(bytearray(PART_BYTES)))
"""For one part after the other."""


def root(image: bytes) -> bytes:
    """The pieces root of an image."""
    return root_of(leaf_hashes(image))


def output_of(image: bytes, recipe: Recipe) -> bytes:
    """The bytes of the new image that a recipe makes, in its order."""
    return b"".join(image[run.block * BLOCK_BYTES : run.end * BLOCK_BYTES] for run in recipe.runs)


def made(old: bytes, new: bytes, recipe: Recipe) -> tuple[Made, bytes]:
    """A recipe with its frame."""
    output, sources, at, fresh = output_of(new, recipe), old + new, 0, b""
    for step in recipe.steps:
        if step.origin is Origin.FRESH:
            fresh += output[at : at + step.length_bytes]
        at += step.length_bytes
    dictionary = b"".join(sources[part.source : part.end] for part in recipe.dictionary)
    packer = zstandard.ZstdCompressor(
        level=3, dict_data=raw_dictionary(dictionary) if dictionary else None, write_dict_id=False
    )
    frame = packer.compress(fresh) if fresh else b""
    return Made(recipe, len(frame), check_of(output)), frame


def parcel_of(old: bytes, new: bytes, recipes: Sequence[Recipe]) -> bytes:
    """A whole parcel."""
    segments = [made(old, new, recipe) for recipe in recipes]
    head = encode_head(root(new), len(new), root(old) if old else NOTHING, len(old), [m for m, _ in segments])
    return head + b"".join(frame for _, frame in segments)


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

    unpacker = Unpacker()
    for segment in head.segments:
        frame = held(parcel[segment.frame_offset : segment.frame_end])
        output = []
        for block, data in unpacker.parts(head, segment, frame, Images(read_old, read_made), ROOM):
            new[block * BLOCK_BYTES : block * BLOCK_BYTES + len(data)] = data
            output.append(bytes(data))
        assert check_of(b"".join(output)) == segment.check
    return bytes(new)
