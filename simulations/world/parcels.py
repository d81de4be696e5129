"""Virtual parcels: real torrents, real rows of a manifest and real headers around content that is only numbered.

A segment makes a few consecutive blocks. It costs what a real one would, roughly: a quarter of each block that changed, half of
each where there is no older image; and a block comes out right where the older image's block of its place is what it should be.
"""

from __future__ import annotations

import random

from attrs import frozen

from bep35.metainfo import build
from simulations.world.images import Image, leaf
from swarm.parcel.header import NOTHING, Parcel, Segment
from swarm.parcel.recipe import Run
from swarm.transfer.port import BLOCK_BYTES

SEGMENT_BLOCKS = 8
HEAD_BYTES = 1000
CHANGED_BYTES = 4096
NEW_BYTES = 8192
UNCHANGED_BYTES = 40
PIECE_BYTES = BLOCK_BYTES


@frozen
class VirtualParcel:
    """What a parcel's infohash stands for."""

    image: Image
    older: Image | None
    blocks: tuple[int, ...]
    """Content numbers of the parcel's own blocks."""
    header: Parcel

    @property
    def length_bytes(self) -> int:
        """Of the parcel."""
        return self.header.length_bytes

    def unsigned_torrent(self, name: str) -> bytes:
        """A torrent that a maintainer can sign."""
        leaves = b"".join(leaf(block) for block in self.blocks)
        return build(name, self.length_bytes, leaves, PIECE_BYTES)


def pack(rng: random.Random, image: Image, older: Image | None) -> VirtualParcel:
    """Build a parcel from an older image, or from nothing."""
    header = _header(image, older)
    count = -(-header.length_bytes // BLOCK_BYTES)
    return VirtualParcel(image, older, tuple(rng.randrange(1, 1 << 62) for _ in range(count)), header)


def _header(image: Image, older: Image | None) -> Parcel:
    segments = []
    offset = HEAD_BYTES
    for number, first in enumerate(range(0, len(image.blocks), SEGMENT_BLOCKS)):
        run = Run(first, min(SEGMENT_BLOCKS, len(image.blocks) - first))
        frame_bytes = sum(_cost_bytes(image, older, block) for block in range(run.block, run.end))
        output_bytes = run.count * BLOCK_BYTES
        segments.append(
            Segment(
                number, (run,), output_bytes, offset, frame_bytes, output_bytes, bytes(16), 0, 0, first
            )
        )  # fmt: skip
        offset += frame_bytes
    return Parcel(
        image_root=image.pieces_root,
        image_bytes=image.length_bytes,
        from_root=older.pieces_root if older is not None else NOTHING,
        from_bytes=older.length_bytes if older is not None else 0,
        length_bytes=offset,
        segments=tuple(segments),
        header=b"",
    )


def _cost_bytes(image: Image, older: Image | None, block: int) -> int:
    if older is None:
        return NEW_BYTES
    return UNCHANGED_BYTES if image.blocks[block] in older.known else CHANGED_BYTES
