"""Bitmaps of an image's 16 KiB blocks: bit i, most significant first, set where block i is believed in place."""

from __future__ import annotations

from swarm.transfer.port import BLOCK_BYTES


def block_count(length_bytes: int) -> int:
    """How many blocks an image has; the last one may be short."""
    return -(-length_bytes // BLOCK_BYTES)


def empty_bitmap(blocks: int) -> bytearray:
    """A bitmap with no bit set."""
    return bytearray((blocks + 7) // 8)


def full_bitmap(blocks: int) -> bytes:
    """A bitmap with the bit of every block set."""
    return b"\xff" * ((blocks + 7) // 8)


def set_block(bitmap: bytearray, block: int) -> None:
    """Mark one block; `block` must lie within the bitmap."""
    bitmap[block >> 3] |= 0x80 >> (block & 7)


def has_block(bitmap: bytes | bytearray, block: int) -> bool:
    """False also for blocks beyond the bitmap's end."""
    byte = block >> 3
    return byte < len(bitmap) and bool(bitmap[byte] & (0x80 >> (block & 7)))


def blocks_in(bitmap: bytes | bytearray) -> int:
    """How many bits are set."""
    return int.from_bytes(bitmap).bit_count()


def blocks_by_piece(bitmap: bytes | bytearray, length_bytes: int, piece_bytes: int) -> dict[int, list[bool]]:
    """The bitmap cut into pieces, only those with a bit set.

    Args:
        bitmap: may be shorter or longer than the image; missing bits are unset, surplus ones ignored.
        length_bytes: of the image.
        piece_bytes: a multiple of `BLOCK_BYTES`.

    Returns:
        Piece number to one flag per block of that piece (fewer for a short last piece).
    """
    blocks, per_piece = block_count(length_bytes), piece_bytes // BLOCK_BYTES
    pieces: dict[int, list[bool]] = {}
    for first in range(0, blocks, per_piece):
        flags = [has_block(bitmap, block) for block in range(first, min(first + per_piece, blocks))]
        if any(flags):
            pieces[first // per_piece] = flags
    return pieces
