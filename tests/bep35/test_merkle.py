"""The v2 hash tree against BEP-52 read slowly, and hashing in bounded memory."""

from __future__ import annotations

import io
import os
import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bep35.errors import ImageError
from bep35.merkle import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    layer_of,
    leaf_count,
    leaf_hashes,
    leaf_hashes_of,
    root_of,
    root_of_layer,
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def slow_root(leaves: list[bytes], width: int) -> bytes:
    """BEP-52 as a recursion: a tree of `width` leaves, the missing ones zero."""
    if width == 1:
        return leaves[0] if leaves else bytes(32)
    half = width // 2
    return sha256(slow_root(leaves[:half], half) + slow_root(leaves[half:], half)).digest()


def power_of_two(count: int) -> int:
    width = 1
    while width < count:
        width *= 2
    return width


LEAVES = st.integers(1, 70).flatmap(
    lambda n: st.lists(st.binary(min_size=32, max_size=32), min_size=n, max_size=n)
)


@UNHURRIED
@given(LEAVES)
def test_root_is_that_of_bep_52(leaves: list[bytes]) -> None:
    """Every node would refuse the right image, or its peers would."""
    assert root_of(b"".join(leaves)) == slow_root(leaves, power_of_two(len(leaves)))


@UNHURRIED
@given(LEAVES, st.integers(0, 7))
def test_layer_has_one_hash_for_each_piece_and_the_same_root(leaves: list[bytes], levels: int) -> None:
    """libtorrent would reject pieces that are right."""
    blocks = 2**levels
    raw = b"".join(leaves)
    layer = layer_of(raw, blocks * BLOCK_BYTES)
    if len(leaves) <= blocks:
        assert layer == root_of(raw)
        return
    pieces = [leaves[at : at + blocks] for at in range(0, len(leaves), blocks)]
    assert layer == b"".join(slow_root(piece, blocks) for piece in pieces)
    assert root_of_layer(layer, blocks * BLOCK_BYTES) == root_of(raw)


@UNHURRIED
@given(LEAVES, st.data())
def test_any_changed_leaf_changes_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    """A forged block index would be believed."""
    raw = bytearray(b"".join(leaves))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert root_of(bytes(raw)) != root_of(b"".join(leaves))


class TricklingImage:
    """Gives an odd number of bytes at a time, as pipes and devices may, and remembers how much was asked
    for."""

    def __init__(self, image: bytes, step: int) -> None:
        self._image = io.BytesIO(image)
        self._step = step
        self.asked_bytes_max = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        self.asked_bytes_max = max(self.asked_bytes_max, len(buffer))
        return self._image.readinto(memoryview(buffer)[: self._step])


@UNHURRIED
@given(st.integers(1, 5 * BLOCK_BYTES), st.integers(1000, 40_000))
def test_leaves_do_not_depend_on_how_the_image_is_read(length: int, step: int) -> None:
    """A short read would give wrong leaves, and so a wrong release."""
    image = os.urandom(length)
    expected = [sha256(image[at : at + BLOCK_BYTES]).digest() for at in range(0, length, BLOCK_BYTES)]
    assert leaf_hashes_of(TricklingImage(image, step), length) == b"".join(expected) == leaf_hashes(image)
    assert len(expected) == leaf_count(length)


def test_progress_rises_to_the_length() -> None:
    """Somebody waiting for a release to build would see nothing, or more than everything."""
    length = 2 * CHUNK_BYTES + 5
    seen: list[int] = []
    leaf_hashes_of(io.BytesIO(bytes(length)), length, seen.append)
    assert seen == [CHUNK_BYTES, 2 * CHUNK_BYTES, length]


def test_only_the_image_is_read_from_a_larger_slot() -> None:
    """The rest of a slot would end up in the hashes of the image."""
    slot = io.BytesIO(b"a" * 40_000 + b"rest")
    assert leaf_hashes_of(slot, 40_000) == leaf_hashes(b"a" * 40_000)
    assert slot.read() == b"rest"


class ZeroImage:
    """An endless image of zeros."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        return len(buffer)


def test_memory_does_not_grow_with_the_image() -> None:
    """Reading a slot back would push a 512 MiB node out of memory."""
    length = 64 * 1024 * 1024
    tracemalloc.start()
    try:
        leaves = leaf_hashes_of(ZeroImage(), length)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert leaves == leaf_hashes(bytes(BLOCK_BYTES)) * (length // BLOCK_BYTES)
    assert peak < CHUNK_BYTES + 4 * len(leaves) + 256 * 1024


def test_an_image_that_ends_early_is_refused() -> None:
    """A torn copy of an image would be released as whole."""
    with pytest.raises(ImageError, match="ends after 99 bytes, 100 were expected"):
        leaf_hashes_of(io.BytesIO(bytes(99)), 100)
    with pytest.raises(ImageError):
        leaf_hashes_of(io.BytesIO(b""), 0)


@pytest.mark.parametrize("leaves", [b"", b"a", bytes(31), bytes(33), bytes(32 * 7 + 1)])
def test_what_is_no_list_of_leaves_is_refused(leaves: bytes) -> None:
    """Leaves from a peer, cut on their way, would raise an error nobody catches."""
    with pytest.raises(ImageError):
        root_of(leaves)
    with pytest.raises(ImageError):
        layer_of(leaves, BLOCK_BYTES)


@pytest.mark.parametrize("piece_bytes", [0, 1, BLOCK_BYTES - 1, 3 * BLOCK_BYTES, -BLOCK_BYTES])
def test_a_piece_is_a_power_of_two_of_blocks(piece_bytes: int) -> None:
    """A layer would be computed that no other program agrees with."""
    with pytest.raises(ImageError):
        layer_of(bytes(64), piece_bytes)
