"""Who signs in the world: keys from the seed, real torrents and real manifests around virtual images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import frozen
from nacl.signing import SigningKey

from bep35.metainfo import build, parse, piece_bytes_for
from bep35.signing import sign, signer_id_of
from simulations.world.heap import Dice
from simulations.world.images import Image
from swarm.news.record import Record, Signature
from swarm.trust.manifest import Manifest, Release

CALENDAR_S = 1_800_000_000.0
"""Calendar time at the world's beginning, seconds since 1970; whole, so that sums with it are exact."""
SWARM = "world"
CHANNEL = "stable"
RESOURCE = "org.fruit-testbed.os/rootfs"
HARDWARE = "pi-virtual"
OTHER_HARDWARE = "pi-other"
RELEASE_KEYS = 3
RELEASE_THRESHOLD = 2


@frozen
class Published:
    """A signed release: what is true of it, and the bytes that say so."""

    release: int
    compatible: tuple[str, ...]
    image: Image
    infohash: bytes
    piece_bytes: int
    torrent: bytes
    manifest: Record

    @property
    def path(self) -> str:
        """Where the publisher keeps the image file."""
        return f"/srv/rootfs-{self.release}.img"


class Maintainer:
    """Holds the keys and signs. Everything it makes is a function of the seed and of what was signed before."""

    def __init__(self, dice: Dice) -> None:
        self.root_key = SigningKey(dice.bytes_for("root key"))
        self.release_keys = [SigningKey(dice.bytes_for("release key", n)) for n in range(RELEASE_KEYS)]
        self._sequence = 0
        self._current: dict[tuple[str, ...], Release] = {}

    def sign(self, release: int, image: Image, compatible: Sequence[str], now_s: float) -> Published:
        """Make a release of an image, and the channel's next manifest, which names it beside those for other hardware."""
        signer = self.release_keys[release % RELEASE_KEYS]
        public = bytes(signer.verify_key)
        piece_bytes = piece_bytes_for(image.length_bytes)
        unsigned = build(f"rootfs-{release}.img", image.length_bytes, image.leaves, piece_bytes)
        stated: dict[str, str | int | Sequence[str]] = {
            "resource": RESOURCE,
            "release": release,
            "version": f"1.{release}",
            "compatible": list(compatible),
        }
        torrent = sign(unsigned, signer_id_of(public), signer, stated)
        metainfo = parse(torrent)
        self._current[tuple(compatible)] = Release(
            resource=RESOURCE,
            compatible=tuple(compatible),
            release=release,
            version=f"1.{release}",
            length_bytes=image.length_bytes,
            infohash=metainfo.infohash,
            torrent_sha256=hashlib.sha256(torrent).digest(),
            torrent_bytes=len(torrent),
            signer=public,
        )
        record = self.sign_manifest(tuple(self._current.values()), now_s)
        return Published(release, tuple(compatible), image, metainfo.infohash, piece_bytes, torrent, record)

    def sign_manifest(self, releases: tuple[Release, ...], now_s: float) -> Record:
        """The next manifest of the channel, under a threshold of release keys."""
        self._sequence += 1
        return manifest_record(
            Manifest(SWARM, CHANNEL, int(now_s), releases),
            self._sequence,
            self.release_keys[:RELEASE_THRESHOLD],
        )


def manifest_record(manifest: Manifest, sequence: int, keys: Sequence[SigningKey]) -> Record:
    """A manifest as a record, signed by these keys: enough of them, or, for those who try, too few."""
    unsigned = Record("manifest", manifest.channel.encode(), sequence, manifest.encode())
    signatures = tuple(
        Signature(bytes(key.verify_key), key.sign(unsigned.signed_bytes).signature) for key in keys
    )
    return Record(unsigned.kind, unsigned.key, unsigned.sequence, unsigned.body, signatures)
