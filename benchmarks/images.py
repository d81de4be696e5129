"""Images to be measured with, and the slow, obvious oracles of what an update of them must cost."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

MIB = 1024 * 1024
BLOCK_BYTES = 16 * 1024
"""What libtorrent asks for, and the unit in which blocks are found again."""
STEP_BYTES = 4096
"""Blocks of ext4 and squashfs begin at its multiples."""
MAGIC_AT, MAGIC = 1080, b"\x53\xef"
"""s_magic of ext4: the boot chooser starts nothing that does not look like a root file system."""
_REPLACED_RUNS, _REPLACED_STEPS_MAX = 60, 64
_MOVED_RUNS, _MOVED_STEPS = 20, 257


def random_image(size_bytes: int, generator: random.Random) -> bytes:
    """Bytes that nothing can compress or find twice, and that a boot chooser would boot."""
    image = bytearray().join(generator.randbytes(MIB) for _ in range(size_bytes // MIB))
    image[MAGIC_AT : MAGIC_AT + len(MAGIC)] = MAGIC
    return bytes(image)


def write_random_image(path: Path, size_bytes: int, generator: random.Random) -> None:
    """The same straight into a file: 1 GiB need not be held in memory."""
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(generator.randbytes(MIB))
        file.seek(MAGIC_AT)
        file.write(MAGIC)


def next_release(image: bytes, generator: random.Random) -> bytes:
    """A small change: 60 files replaced in place (4 to 252 KiB), 20 files of 1 MiB moved to other blocks of the file system.

    A moved file begins at a multiple of 4 KiB and mostly not of 16 KiB, as in a real file system.
    """
    changed = bytearray(image)
    steps = len(image) // STEP_BYTES
    for _ in range(_REPLACED_RUNS):
        count = generator.randrange(1, _REPLACED_STEPS_MAX)
        start = generator.randrange(1, steps - count) * STEP_BYTES
        changed[start : start + count * STEP_BYTES] = generator.randbytes(count * STEP_BYTES)
    for _ in range(_MOVED_RUNS):
        source, target = (generator.randrange(1, steps - _MOVED_STEPS) * STEP_BYTES for _ in range(2))
        size = _MOVED_STEPS * STEP_BYTES
        changed[target : target + size] = image[source : source + size]
    return bytes(changed)


def with_new_blocks(image: bytes, share: float, generator: random.Random) -> bytes:
    """The same image with this share of its 16 KiB blocks replaced by new ones, here and there."""
    changed = bytearray(image)
    blocks = len(image) // BLOCK_BYTES
    for block in generator.sample(range(1, blocks), round(share * blocks)):
        changed[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = generator.randbytes(BLOCK_BYTES)
    return bytes(changed)


def missing_bytes(image: bytes, old_slot: bytes) -> int:
    """Bytes of the image's 16 KiB blocks that are at no 4 KiB offset of the old slot: what has to be fetched."""
    here = {
        hashlib.blake2b(old_slot[at : at + BLOCK_BYTES]).digest()
        for at in range(0, len(old_slot) - BLOCK_BYTES + 1, STEP_BYTES)
    }
    blocks = (image[at : at + BLOCK_BYTES] for at in range(0, len(image), BLOCK_BYTES))
    return sum(len(block) for block in blocks if hashlib.blake2b(block).digest() not in here)


def differing_bytes(image: bytes, slot: bytes) -> int:
    """Bytes of the image's 16 KiB blocks that the slot does not hold in their place: what has to be written."""
    starts = range(0, len(image), BLOCK_BYTES)
    return sum(BLOCK_BYTES for at in starts if image[at : at + BLOCK_BYTES] != slot[at : at + BLOCK_BYTES])
