"""Who signs in the world: keys from the seed, real torrents and real manifests around virtual images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import evolve, frozen
from nacl.signing import SigningKey

from bep35.metainfo import build, parse, piece_bytes_for
from bep35.signing import sign, signer_id_of
from simulations.world.heap import Dice
from simulations.world.images import Image
from simulations.world.parcels import VirtualParcel, pack
from swarm.joining import TokenFile, token_record
from swarm.news.record import Record, Signature
from swarm.root_file import root_record
from swarm.trust.freshness import Freshness
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, NamedParcel, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.tokens import JoinToken
from swarm.trust.trusted_set import parcel_statement

CALENDAR_S = 1_800_000_000.0
"""Calendar time at the world's beginning, seconds since 1970; whole, so that sums with it are exact."""
SWARM = "world"
CHANNEL = "stable"
RESOURCE = "org.fruit-testbed.os/rootfs"
HARDWARE = "pi-virtual"
OTHER_HARDWARE = "pi-other"
RELEASE_KEYS = 3
RELEASE_THRESHOLD = 2
FAST_FORWARD = 2**50
"""Sequence and release number that whoever abuses the keys pushes to."""


@frozen
class SignedParcel:
    """A parcel of a release, and the bytes that say so."""

    infohash: bytes
    torrent: bytes
    content: VirtualParcel
    path: str
    """Where the publisher keeps it."""


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
    signer: bytes
    """Public key that signed the torrent."""
    parcels: tuple[SignedParcel, ...] = ()

    @property
    def path(self) -> str:
        """Where the publisher keeps the image file."""
        return f"/srv/rootfs-{self.release}.img"


class Maintainer:
    """Holds the keys and signs. Everything it makes is a function of the seed and of what was signed before."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.root_key = SigningKey(dice.bytes_for("root key"))
        self.release_keys = [SigningKey(dice.bytes_for("release key", n)) for n in range(RELEASE_KEYS)]
        self.freshness_key = SigningKey(dice.bytes_for("freshness key"))
        self.operator_key = SigningKey(dice.bytes_for("operator key"))
        self.token = self._sign_token()
        """Lies on every card."""
        self.stolen_keys: list[SigningKey] = []
        """Release keys that were rotated out."""
        self.roots: list[Record] = []
        self._sequence = self._honest_sequence = 0
        self._current: dict[tuple[str, ...], Release] = {}
        self._sign_root(0)

    def _sign_token(self) -> TokenFile:
        secret = SecretKey(self._dice.bytes_for("token"), "token")
        token = JoinToken(SWARM, "world", secret.public.raw)
        return TokenFile(secret, signed_record(token_record(token, int(CALENDAR_S)), [self.operator_key]))

    def rotate(self, expires_at_s: int = 0) -> Record:
        """Take the release keys out of use: others sign from now on, and go on from where the maintainers were."""
        version = len(self.roots) + 1
        self.stolen_keys += self.release_keys
        keys = range(RELEASE_KEYS)
        self.release_keys = [SigningKey(self._dice.bytes_for("release key", n, version)) for n in keys]
        self._sequence = self._honest_sequence
        self._current.clear()
        return self._sign_root(expires_at_s)

    def _sign_root(self, expires_at_s: int) -> Record:
        """Two of three release keys; one key for each of the other roles."""
        root, fresh = bytes(self.root_key.verify_key), bytes(self.freshness_key.verify_key)
        operator = bytes(self.operator_key.verify_key)
        release = [bytes(key.verify_key) for key in self.release_keys]
        names = {root: "root", fresh: "freshness", operator: "operator"}
        names |= {key: f"release-{n}" for n, key in enumerate(release)}
        roles = {
            Role.ROOT: RoleKeys(1, frozenset({root})),
            Role.RELEASE: RoleKeys(RELEASE_THRESHOLD, frozenset(release)),
            Role.FRESHNESS: RoleKeys(1, frozenset({fresh})),
            Role.OPERATOR: RoleKeys(1, frozenset({operator})),
        }
        made = TrustRoot(SWARM, len(self.roots) + 1, names, roles, expires_at_s)
        self.roots.append(signed_record(root_record(made), [self.root_key]))
        return self.roots[-1]

    def says_current(self, manifest: Record, now_s: float, valid_for_s: int = 7 * 86_400) -> Record:
        """The word that this manifest is the newest."""
        said = Freshness(SWARM, CHANNEL, manifest.sequence, manifest.content_hash, int(now_s), valid_for_s)
        return signed_record(Record("fresh", said.key, said.at_s, said.encode()), [self.freshness_key])

    def sign(
        self,
        release: int,
        image: Image,
        compatible: Sequence[str],
        now_s: float,
        parcels_from: Sequence[Image | None] = (),
    ) -> Published:
        """Make a release of an image, and the channel's next manifest, which names it beside those for other hardware.

        `parcels_from`: older images to which there shall be a parcel; None: from nothing.
        """
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
        row = Release(
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
        parcels = self._parcels(row, image, parcels_from, signer)
        self._current[tuple(compatible)] = evolve(row, parcels=tuple(named for named, _ in parcels))
        record = self.sign_manifest(tuple(self._current.values()), now_s)
        return Published(
            release, tuple(compatible), image, metainfo.infohash, piece_bytes, torrent, record, public,
            tuple(parcel for _, parcel in parcels),
        )  # fmt: skip

    def _parcels(
        self, row: Release, image: Image, olds: Sequence[Image | None], signer: SigningKey
    ) -> list[tuple[NamedParcel, SignedParcel]]:
        rng = self._dice.named("parcels", row.release)
        made = []
        by_root = {old.pieces_root if old is not None else b"": old for old in olds}
        for from_root, old in sorted(by_root.items()):
            content = pack(rng, image, old)
            name = f"{row.release}-{from_root.hex()[:8] or 'nothing'}.parcel"
            unsigned = content.unsigned_torrent(name)
            torrent = sign(unsigned, signer_id_of(row.signer), signer, parcel_statement(row, from_root))
            infohash, sha256 = parse(torrent).infohash, hashlib.sha256(torrent).digest()
            named = NamedParcel(infohash, sha256, len(torrent), content.length_bytes, from_root)
            made.append((named, SignedParcel(infohash, torrent, content, f"/srv/{name}")))
        return made

    def push_ahead(self) -> None:
        """The keys are abused: what they sign next has the highest sequence there is room behind."""
        self._honest_sequence, self._sequence = self._sequence, FAST_FORWARD

    def sign_manifest(self, releases: tuple[Release, ...], now_s: float) -> Record:
        """The next manifest of the channel, under a threshold of release keys."""
        self._sequence += 1
        if self._sequence < FAST_FORWARD:
            self._honest_sequence = self._sequence
        return manifest_record(
            Manifest(SWARM, CHANNEL, int(now_s), releases),
            self._sequence,
            self.release_keys[:RELEASE_THRESHOLD],
        )


def manifest_record(manifest: Manifest, sequence: int, keys: Sequence[SigningKey]) -> Record:
    """A manifest as a record, signed by these keys: enough of them, or, for those who try, too few."""
    return signed_record(Record("manifest", manifest.channel.encode(), sequence, manifest.encode()), keys)


def signed_record(unsigned: Record, keys: Sequence[SigningKey]) -> Record:
    """The record with the signatures of these keys."""
    signatures = tuple(
        Signature(bytes(key.verify_key), key.sign(unsigned.signed_bytes).signature) for key in keys
    )
    return Record(unsigned.kind, unsigned.key, unsigned.sequence, unsigned.body, signatures)
