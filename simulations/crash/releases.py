"""Small releases with everything a real one has: an image, its leaves, a signed torrent, a signed manifest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache

from attrs import frozen

from bep35.merkle import leaf_hashes
from bep35.metainfo import build, parse, piece_bytes_for
from bep35.signing import sign, signer_id_of
from fruitd.keeper.port import Proof
from fruitd.keeper.verdict import Belief
from fruitd.node.offer import target_of
from fruitd.updater.journal import Target
from simulations.world.heap import Dice
from simulations.world.maintainer import CALENDAR_S, RESOURCE, Maintainer
from swarm.news.record import Record
from swarm.root_file import RootChain
from swarm.transfer.port import BLOCK_BYTES
from swarm.trust.manifest import Release

HARDWARE = "pi4"
IMAGE_BLOCKS = 5
IMAGE_BYTES = (IMAGE_BLOCKS - 1) * BLOCK_BYTES + 5000
"""The last block is short, as it is in most images."""
SLOT_BYTES = (IMAGE_BLOCKS + 1) * BLOCK_BYTES
_EXT_MAGIC_AT, _EXT_MAGIC = 1024 + 56, b"\x53\xef"


@frozen
class SignedRelease:
    """What a node gets from its peers."""

    image: bytes
    leaves: bytes
    torrent: bytes
    manifest: Record
    target: Target

    @property
    def proof(self) -> Proof:
        """Why the image may boot."""
        return Proof(bytes.fromhex(self.target.infohash), self.torrent, self.manifest.encode())


@cache
def maintainer() -> Maintainer:
    """Who signs."""
    return Maintainer(Dice(1))


@cache
def belief() -> Belief:
    """Whom the node believes."""
    root = RootChain.of([maintainer().roots[0]]).check()
    return Belief(root, RESOURCE, frozenset({HARDWARE}))


def _like_a_file_system(blocks: Sequence[bytes]) -> bytes:
    image = bytearray(b"".join(blocks)[:IMAGE_BYTES])
    image[_EXT_MAGIC_AT : _EXT_MAGIC_AT + len(_EXT_MAGIC)] = _EXT_MAGIC
    return bytes(image)


@cache
def images() -> tuple[bytes, ...]:
    """The factory's image and those of releases 1 to 3: each keeps a block of the one before, moves one and has new ones."""
    rng = random.Random(1)
    blocks = [rng.randbytes(BLOCK_BYTES) for _ in range(IMAGE_BLOCKS)]
    made = [_like_a_file_system(blocks)]
    for _ in range(3):
        new = [rng.randbytes(BLOCK_BYTES) for _ in range(2)]
        blocks = [blocks[0], new[0], blocks[1], new[1], blocks[4]]
        made.append(_like_a_file_system(blocks))
    return tuple(made)


@cache
def release(number: int) -> SignedRelease:
    """Release 1, 2 or 3."""
    image, keys = images()[number], maintainer().release_keys
    signer = keys[number % len(keys)]
    leaves = leaf_hashes(image)
    unsigned = build(f"rootfs-{number}.img", len(image), leaves, piece_bytes_for(len(image)))
    version, public = f"1.{number}", bytes(signer.verify_key)
    stated: dict[str, str | int | Sequence[str]] = {
        "resource": RESOURCE, "release": number, "version": version, "compatible": [HARDWARE],
    }  # fmt: skip
    torrent = sign(unsigned, signer_id_of(public), signer, stated)
    named = Release(
        resource=RESOURCE,
        compatible=(HARDWARE,),
        release=number,
        version=version,
        length_bytes=len(image),
        infohash=parse(torrent).infohash,
        torrent_sha256=hashlib.sha256(torrent).digest(),
        torrent_bytes=len(torrent),
        signer=public,
    )
    manifest = maintainer().sign_manifest((named,), CALENDAR_S + number)
    return SignedRelease(image, leaves, torrent, manifest, target_of(named))


def all_releases() -> tuple[SignedRelease, ...]:
    """In the order in which they are signed: the sequences of their manifests follow it."""
    return tuple(release(number) for number in (1, 2, 3))
