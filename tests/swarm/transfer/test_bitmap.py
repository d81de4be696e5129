"""Bitmaps of blocks, against sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm.transfer.bitmap import block_count, blocks_by_piece, blocks_in, empty_bitmap, has_block, set_block
from swarm.transfer.port import BLOCK_BYTES


@given(st.integers(1, 70 * BLOCK_BYTES), st.sets(st.integers(0, 69)), st.sampled_from([1, 2, 4, 16, 64]))
def test_against_sets(length_bytes: int, chosen: set[int], per_piece: int) -> None:
    """Blocks would be fetched that are in place, or believed that are not."""
    blocks = block_count(length_bytes)
    chosen = {block for block in chosen if block < blocks}
    bitmap = empty_bitmap(blocks)
    for block in chosen:
        set_block(bitmap, block)
    assert {block for block in range(blocks) if has_block(bitmap, block)} == chosen
    assert blocks_in(bitmap) == len(chosen)
    pieces = blocks_by_piece(bitmap, length_bytes, per_piece * BLOCK_BYTES)
    found = {
        piece * per_piece + at for piece, flags in pieces.items() for at, flag in enumerate(flags) if flag
    }
    assert found == chosen
    assert set(pieces) == {block // per_piece for block in chosen}
    for piece, flags in pieces.items():
        assert len(flags) == min(per_piece, blocks - piece * per_piece)


def test_a_bitmap_of_another_length() -> None:
    """A bitmap from an older try would be read beyond its end."""
    assert blocks_by_piece(b"", 100 * BLOCK_BYTES, 4 * BLOCK_BYTES) == {}
    assert blocks_by_piece(b"\xff" * 100, 3 * BLOCK_BYTES, 4 * BLOCK_BYTES) == {0: [True, True, True]}
    assert not has_block(b"\xff", 8)
