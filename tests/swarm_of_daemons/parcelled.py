"""Releases that travel as parcels, from any number of older images, signed and handed to a node as a maintainer would."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

import bep35.signing
from bep35 import merkle, metainfo
from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import NodeProcess
from fruitd.maintainer.bundle import Bundle
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.manifest import Manifest, NamedParcel
from swarm.trust.trusted_set import parcel_statement
from tests.fruitd.node.parcel_host import segments
from tests.swarm.parcel.makers import by_program, parcel_of, root

BLOCK = merkle.BLOCK_BYTES
PIECE_BYTES = 2 * BLOCK


@frozen
class Parcelled:
    """A signed release and its parcels' files."""

    manifest: Record
    bundle: Bundle
    parcels: tuple[tuple[bytes, Path], ...]
    """Torrent file++, and where the parcel lies."""
    named: dict[str, NamedParcel]
    """By the name of the older image; "" from nothing."""

    def publish(self, node: NodeProcess) -> dict[str, Any]:
        """Hand it to a node over its API."""
        body = {
            "manifest": base64.b64encode(self.manifest.encode()).decode(),
            "torrent": base64.b64encode(self.bundle.torrent).decode(),
            "image": self.bundle.plan.image,
            "parcels": [
                {"torrent": base64.b64encode(torrent).decode(), "path": str(path)}
                for torrent, path in self.parcels
            ],
        }
        return node.post("/v1/publish", body)


def tail_of(image: Path, path: Path, seed: int, blocks: int) -> Path:
    """The same file system with blocks behind its end that no node has yet."""
    path.write_bytes(image.read_bytes() + random.Random(seed).randbytes(blocks * BLOCK))
    return path


def changed(image: Path, path: Path, seed: int, blocks: int, bytes_each: int = 1000) -> Path:
    """The same image with something else in each of its last blocks."""
    rng = random.Random(seed)
    content = bytearray(image.read_bytes())
    for block in range(1, blocks + 1):
        at = len(content) - block * BLOCK + rng.randrange(BLOCK - bytes_each)
        content[at : at + bytes_each] = rng.randbytes(bytes_each)
    path.write_bytes(content)
    return path


def with_manuals(image: Path, path: Path, version: int) -> Path:
    """The same file system with manuals in gzip behind its end, each beginning on a page: a version stands in every line."""
    content = bytearray(image.read_bytes())
    for number in range(40):
        rng = random.Random(number)
        text = b"".join(
            b".SH %d\nas of version %d, the %x of %x\n"
            % (n, version, rng.randrange(999), rng.randrange(9999))
            for n in range(rng.randrange(20, 3000))
        )
        content += bytes(-len(content) % 4096) + b"\x1f\x8b\x08" + bytes(5) + b"\x02\x03" + by_program(text)
    path.write_bytes(content + bytes(-len(content) % BLOCK))
    return path


def parcelled(
    maintainers: Maintainers, image: Path, release: int, folder: Path, olds: Sequence[Path | None]
) -> Parcelled:
    """A release of this image with a parcel from each of `olds`; None: from nothing."""
    bundle = maintainers.release(image, release, folder)
    assert bundle.manifest is not None
    manifest = Manifest.decode(bundle.manifest.body)
    row = manifest.releases[0]
    key = next(key for key in maintainers.release_keys if key.public.raw == row.signer)
    new, made = image.read_bytes(), {}
    files = {}
    for old_path in olds:
        old = old_path.read_bytes() if old_path is not None else b""
        from_root = root(old) if old else b""
        content = parcel_of(old, new, segments(old, new))
        path = folder / f"from-{old_path.name if old_path is not None else 'nothing'}.parcel"
        path.write_bytes(content)
        unsigned = metainfo.build(path.name, len(content), merkle.leaf_hashes(content), PIECE_BYTES)
        torrent = bep35.signing.sign(
            unsigned,
            bep35.signing.signer_id_of(row.signer),
            key.signing_key,
            parcel_statement(row, from_root),
        )
        infohash, sha256 = metainfo.parse(torrent).infohash, hashlib.sha256(torrent).digest()
        named = NamedParcel(infohash, sha256, len(torrent), len(content), from_root)
        made[old_path.name if old_path is not None else ""] = named
        files[infohash] = (torrent, path)
    parcels = tuple(sorted(made.values(), key=lambda parcel: parcel.from_root))
    body = evolve(manifest, releases=(evolve(row, parcels=parcels), *manifest.releases[1:])).encode()
    record = Record(bundle.manifest.kind, bundle.manifest.key, bundle.manifest.sequence, body)
    for signer in maintainers.release_keys[:2]:
        record = signed(record, signer)
    return Parcelled(record, bundle, tuple(files.values()), made)
