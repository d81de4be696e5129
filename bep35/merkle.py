"""The hash tree of BitTorrent v2: SHA-256 over 16 KiB blocks, paired upwards.

A *leaf* is the SHA-256 of one block; the last block of an image is hashed as short as it is. Where a tree
needs more leaves than there are blocks, the missing ones are 32 zero bytes. Leaves travel as one `bytes`, 32
bytes each.

Source: BEP-52, "pieces root" and "piece layers".
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from bep35.errors import ImageError

BLOCK_BYTES = 16 * 1024
"""Fixed by BEP-52."""
HASH_BYTES = 32
CHUNK_BYTES = 1024 * 1024
"""Read at once while hashing a stream. Larger only costs memory; below 256 KiB the reads begin to show. A
multiple of `BLOCK_BYTES`."""

_ZERO_LEAF = bytes(HASH_BYTES)


class Readable(Protocol):
    """What an image is read from: a file opened with "rb", `io.BytesIO`, a raw device."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:
        """Fill `buffer` from its start; the number of bytes, 0 at the end."""
        ...


def leaf_count(length_bytes: int) -> int:
    """How many blocks an image of this length has."""
    return -(-length_bytes // BLOCK_BYTES)


def leaf_hashes(data: bytes | bytearray | memoryview) -> bytes:
    """The leaves of an image, or of a run of whole blocks of it, that is already in memory.

    `hashlib` releases the interpreter lock for every block, so other threads go on meanwhile.
    """
    view = memoryview(data).cast("B")
    return b"".join([sha256(view[at : at + BLOCK_BYTES]).digest() for at in range(0, len(view), BLOCK_BYTES)])


def leaf_hashes_of(
    image: Readable,
    length_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> bytes:
    """The leaves of the next `length_bytes` bytes of `image`, using one `CHUNK_BYTES` buffer.

    Args:
        image: read from where it stands, and no further than `length_bytes`.
        length_bytes: >= 1. A multiple of `BLOCK_BYTES` unless the image ends there.
        progress: called after every chunk with the bytes hashed so far.

    Raises:
        ImageError: the image ends before `length_bytes`.
        OSError: whatever reading raises.
    """
    if length_bytes < 1:
        raise ImageError(f"an image of {length_bytes} bytes has no blocks to hash")
    chunk = memoryview(bytearray(min(CHUNK_BYTES, length_bytes)))
    leaves: list[bytes] = []
    done = 0
    while done < length_bytes:
        part = chunk[: min(len(chunk), length_bytes - done)]
        _fill(part, image, done, length_bytes)
        leaves.append(leaf_hashes(part))
        done += len(part)
        if progress is not None:
            progress(done)
    return b"".join(leaves)


def root_of(leaves: bytes) -> bytes:
    """The root over these leaves, padded with zero leaves to a power of two.

    Raises:
        ImageError: no leaves, or not a whole number of them.
    """
    return root_of_layer(leaves, BLOCK_BYTES)


def root_of_layer(layer: bytes, node_bytes: int) -> bytes:
    """The root over a whole layer of the tree, each of whose nodes covers `node_bytes` of the image.

    Missing nodes are the root of as many zero leaves as a node covers.

    Raises:
        ImageError: as `root_of`.
    """
    _check(layer)
    padding = _padding(_levels(node_bytes))
    while len(layer) > HASH_BYTES:
        layer = _above(layer, padding)
        padding = sha256(padding + padding).digest()
    return layer


def layer_of(leaves: bytes, piece_bytes: int) -> bytes:
    """The layer of the tree with one hash for each piece, as `piece layers` holds it.

    For an image of at most one piece that is the root alone; BEP-52 then leaves it out of `piece layers`.

    Args:
        leaves: of the whole image.
        piece_bytes: a power of two, >= `BLOCK_BYTES`.

    Raises:
        ImageError: as `root_of`.
    """
    _check(leaves)
    levels = _levels(piece_bytes)
    if len(leaves) <= HASH_BYTES << levels:
        return root_of(leaves)
    padding = _ZERO_LEAF
    for _ in range(levels):
        leaves = _above(leaves, padding)
        padding = sha256(padding + padding).digest()
    return leaves


def _fill(part: memoryview, image: Readable, done: int, length_bytes: int) -> None:
    filled = 0
    while filled < len(part):
        count = image.readinto(part[filled:])
        if not count:
            raise ImageError(f"image ends after {done + filled} bytes, {length_bytes} were expected")
        filled += count


def _above(layer: bytes, padding: bytes) -> bytes:
    if len(layer) % (2 * HASH_BYTES):
        layer += padding
    step = 2 * HASH_BYTES
    return b"".join([sha256(layer[at : at + step]).digest() for at in range(0, len(layer), step)])


def _padding(level: int) -> bytes:
    """The root of 2**level zero leaves."""
    padding = _ZERO_LEAF
    for _ in range(level):
        padding = sha256(padding + padding).digest()
    return padding


def _levels(node_bytes: int) -> int:
    """How many levels above the leaves a node stands that covers `node_bytes`."""
    blocks, rest = divmod(node_bytes, BLOCK_BYTES)
    if rest or blocks < 1 or blocks & (blocks - 1):
        raise ImageError(f"{node_bytes} is not {BLOCK_BYTES} times a power of two")
    return blocks.bit_length() - 1


def _check(hashes: bytes) -> None:
    if not hashes or len(hashes) % HASH_BYTES:
        raise ImageError(f"{len(hashes)} bytes are not one or more hashes of {HASH_BYTES} bytes")
