"""What the tests of bep35 share: the published vectors, and small torrents made on the spot."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from bep35 import merkle, metainfo

VECTORS = Path(__file__).parents[1] / "vectors" / "bep35"


@pytest.fixture
def vectors() -> Path:
    """The folder of the published vectors."""
    return VECTORS


@pytest.fixture
def vector_image() -> bytes:
    """The image that the vectors describe: SPEC.md, "the image"."""
    return hashlib.shake_256(b"fruitd bep35 vector image").digest(600_007)


@pytest.fixture
def vector_key() -> SigningKey:
    """The published secret key: good for tests, worthless for anything else."""
    return SigningKey(bytes.fromhex(json.loads((VECTORS / "secret.json").read_text())["seed"]))


@pytest.fixture
def vector_info() -> dict[str, str | int | list[str]]:
    """What the signer of the vector states."""
    return {
        "compatible": ["raspberrypi,3-model-b", "raspberrypi,4-model-b"],
        "release": 2,
        "resource": "org.fruit-testbed.os/rootfs",
        "version": "1.1.0",
    }


@pytest.fixture
def make_torrent() -> Callable[..., bytes]:
    """Builds an unsigned torrent of an image in memory."""

    def make(image: bytes, name: str = "rootfs.img", piece_bytes: int = 64 * 1024) -> bytes:
        leaves = merkle.leaf_hashes_of(io.BytesIO(image), len(image))
        return metainfo.build(name, len(image), leaves, piece_bytes)

    return make
