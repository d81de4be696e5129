"""Releases that are wrong in one way each, made from good ones."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

import bep35.bencode
import bep35.signing
from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import CHANNEL, NodeProcess
from fruitd.maintainer.bundle import Bundle
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.trusted_set import torrent_statement

RANDOM_TAIL_BYTES = 512 * 1024


def own_image(image: Path, path: Path, seed: int, tail_bytes: int = RANDOM_TAIL_BYTES) -> Path:
    """The same file system with bytes behind its end that no node has yet."""
    shutil.copyfile(image, path)
    with open(path, "ab") as file:
        file.write(random.Random(seed).randbytes(tail_bytes))
    return path


@frozen
class Draft:
    """A good release taken apart: change what you like, then sign."""

    manifest: Manifest
    torrent: bytes
    sequence: int
    image: Path
    key: bytes = CHANNEL.encode()

    @classmethod
    def of(cls, bundle: Bundle) -> Draft:
        """From a bundle that is signed."""
        assert bundle.manifest is not None
        manifest = Manifest.decode(bundle.manifest.body)
        return cls(manifest, bundle.torrent, bundle.manifest.sequence, Path(bundle.plan.image))

    @property
    def release(self) -> Release:
        """Its only release."""
        return self.manifest.releases[0]

    def with_release(self, **changes: Any) -> Draft:
        """Its manifest says something else of the release."""
        release = evolve(self.release, **changes)
        return evolve(self, manifest=evolve(self.manifest, releases=(release,)))

    def with_torrent(self, torrent: bytes) -> Draft:
        """Its manifest names another torrent file++."""
        changed = self.with_release(
            torrent_sha256=hashlib.sha256(torrent).digest(), torrent_bytes=len(torrent)
        )
        return evolve(changed, torrent=torrent)

    def torrent_signed_by(self, key: SecretKey, **stated: Any) -> bytes:
        """The torrent with only a signature by this key, in the name of the signer that the manifest names."""
        bare = bep35.bencode.raw_items(self.torrent)
        del bare[b"signatures"]
        statement = torrent_statement(self.release) | stated
        name = bep35.signing.signer_id_of(self.release.signer)
        return bep35.signing.sign(bep35.bencode.join_raw(bare), name, key.signing_key, statement)

    def unsigned_torrent(self) -> bytes:
        """The torrent without its signatures."""
        bare = bep35.bencode.raw_items(self.torrent)
        del bare[b"signatures"]
        return bep35.bencode.join_raw(bare)

    def record(self, keys: Sequence[SecretKey]) -> Record:
        """The manifest's record, signed by these keys."""
        unsigned = Record("manifest", self.key, self.sequence, self.manifest.encode())
        return signed(unsigned, *keys) if keys else unsigned


class Forge:
    """Makes drafts of ever higher release numbers for one swarm."""

    def __init__(self, maintainers: Maintainers, folder: Path) -> None:
        self.maintainers = maintainers
        self.quorum = maintainers.release_keys[:2]
        self._folder = folder
        self._last = 0

    def next_bundle(self, image: Path) -> Bundle:
        """A good release, signed by as many as must."""
        self._last += 1
        return self.maintainers.release(image, self._last, self._folder / f"release-{self._last}")

    def next_draft(self, image: Path) -> Draft:
        """The same, to be spoilt."""
        return Draft.of(self.next_bundle(image))


def publish_bytes(node: NodeProcess, manifest: bytes, torrent: bytes, image: Path | str) -> dict[str, Any]:
    """`POST /v1/publish` with whatever; raises RefusedError with the node's words."""
    body = {
        "manifest": base64.b64encode(manifest).decode(),
        "torrent": base64.b64encode(torrent).decode(),
        "image": str(image),
    }
    return node.post("/v1/publish", body)
