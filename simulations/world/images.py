"""Virtual images: an image is a list of block numbers, and a block's leaf hash is a function of its number.

Nothing of an image is ever stored but these numbers, and yet torrents, leaves and signatures over them are the real ones.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from attrs import field, frozen

from bep35.merkle import root_of
from swarm.transfer.port import BLOCK_BYTES

BLANK = 0
"""The block a new card holds everywhere."""
TORN = -1
"""A block whose writing was cut short, or that a lying peer sent: it is in no image."""


class Behaviour(StrEnum):
    """What becomes of a machine that boots an image."""

    GOOD = "good"
    UNHEALTHY = "unhealthy"
    """Boots, the daemon runs, and the health checks fail."""
    UNBOOTABLE = "unbootable"
    """The kernel panics; the firmware boots the default slot again."""
    HANGS = "hangs"
    """Boots without ever starting the daemon; a hardware watchdog restarts the machine."""
    HANGS_FOR_GOOD = "hangs for good"
    """The same where no watchdog helps: only the power can."""


@lru_cache(maxsize=1 << 18)
def leaf(block: int) -> bytes:
    """The 32-byte leaf hash that stands for the block's 16 KiB of data."""
    return hashlib.sha256(b"virtual block %d" % block).digest()


@frozen
class Image:
    """The content of a root file system, as block numbers."""

    blocks: tuple[int, ...]
    behaviour: Behaviour = Behaviour.GOOD
    leaves: bytes = field(init=False, repr=False)
    pieces_root: bytes = field(init=False, repr=False)
    known: frozenset[int] = field(init=False, repr=False, eq=False)
    """Its blocks, wherever they are."""

    @leaves.default
    def _leaves(self) -> bytes:
        return b"".join(leaf(block) for block in self.blocks)

    @pieces_root.default
    def _pieces_root(self) -> bytes:
        return root_of(self.leaves)

    @known.default
    def _known(self) -> frozenset[int]:
        return frozenset(self.blocks)

    @property
    def length_bytes(self) -> int:
        """Whole blocks only: what a short last block does is the business of the slots' own tests."""
        return len(self.blocks) * BLOCK_BYTES


def first_image(rng: random.Random, blocks: int) -> Image:
    """An image of new content."""
    return Image(tuple(_new_blocks(rng, blocks)))


def next_image(rng: random.Random, before: Image, changed: float, behaviour: Behaviour) -> Image:
    """An image that keeps most of the one before: a share `changed` of its blocks is new, and the rest may have moved."""
    kept: list[int] = list(before.blocks)
    shift = rng.randrange(3)
    kept = kept[shift:] + kept[:shift]
    count = min(len(kept), max(1, round(changed * len(kept))))
    for place, block in zip(rng.sample(range(len(kept)), count), _new_blocks(rng, count), strict=True):
        kept[place] = block
    return Image(tuple(kept), behaviour)


def _new_blocks(rng: random.Random, count: int) -> Sequence[int]:
    return [rng.randrange(1, 1 << 62) for _ in range(count)]
