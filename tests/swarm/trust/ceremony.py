"""Keys, roots, manifests and torrents for the tests of trust: a small, complete ceremony in memory."""

from __future__ import annotations

import hashlib

import attrs

import bep35.merkle
import bep35.metainfo
import bep35.signing
from swarm.news.record import Record
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.trusted_set import torrent_statement


def key(name: str) -> SecretKey:
    """A key that is the same in every run."""
    return SecretKey(hashlib.sha256(name.encode()).digest(), name)


ROOTS = (key("ann"), key("ben"))
RELEASERS = (key("cora"), key("dan"), key("eve"))
STRANGER = key("mallory")
IMAGE = bytes(range(256)) * 200


def trust_root(threshold: int = 2, swarm: str = "fruits") -> TrustRoot:
    """Two root keys, both needed; three release keys."""
    names = {k.public.raw: k.name for k in ROOTS + RELEASERS}
    return TrustRoot(
        swarm=swarm,
        version=1,
        names=names,
        roles={
            Role.ROOT: RoleKeys(2, frozenset(k.public.raw for k in ROOTS)),
            Role.RELEASE: RoleKeys(threshold, frozenset(k.public.raw for k in RELEASERS)),
        },
    )


def root_bytes(*keys: SecretKey) -> bytes:
    """The root file, signed by these."""
    return signed(root_record(trust_root()), *keys).encode()


def torrent_and_release(signer: SecretKey = RELEASERS[0], **changes: object) -> tuple[bytes, Release]:
    """A signed torrent of IMAGE and the release that describes it; `changes` go into what the torrent's signer states."""
    leaves = bep35.merkle.leaf_hashes(IMAGE)
    unsigned = bep35.metainfo.build("rootfs-2.img", len(IMAGE), leaves, 16 * 1024)
    release = Release(
        resource="org.fruit-testbed.os/rootfs",
        compatible=("pi4", "pi5"),
        release=2,
        version="2.0",
        length_bytes=len(IMAGE),
        infohash=bep35.metainfo.parse(unsigned).infohash,
        torrent_sha256=bytes(32),
        torrent_bytes=1,
        signer=signer.public.raw,
    )
    statement = torrent_statement(release) | changes
    signer_id = bep35.signing.signer_id_of(signer.public.raw)
    torrent = bep35.signing.sign(unsigned, signer_id, signer.signing_key, statement)
    return torrent, naming(release, torrent)


def naming(release: Release, torrent: bytes) -> Release:
    """The release with hash and size of exactly this torrent."""
    return attrs.evolve(release, torrent_sha256=hashlib.sha256(torrent).digest(), torrent_bytes=len(torrent))


def manifest_record(*keys: SecretKey, key_bytes: bytes = b"stable", **changes: object) -> Record:
    """A manifest with one release, signed by these keys; `changes` go into the manifest."""
    _, release = torrent_and_release()
    manifest = attrs.evolve(Manifest("fruits", "stable", 1_800_000_000, (release,)), **changes)
    return signed(Record("manifest", key_bytes, 7, manifest.encode()), *keys)
