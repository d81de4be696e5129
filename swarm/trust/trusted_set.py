"""What this node believes about releases. Pure; every check stands beside the reason for it (design D2, D3).

A node installs only where the manifest (signed by a threshold of release keys) and the torrent (signed by
the one key the manifest names) both verify and say the same, field by field.
"""

from __future__ import annotations

import hashlib
from typing import Any

import bep35.metainfo
import bep35.signing
from bep35.errors import Bep35Error
from bep35.metainfo import Metainfo
from swarm.errors import Reason, RefusedError
from swarm.trust.freshness import FRESH_KIND, Freshness
from swarm.trust.manifest import Manifest, NamedParcel, Release
from swarm.trust.root import Role, TrustRoot, check_successor, read_root
from swarm.trust.signed import SignedFact

MANIFEST_KIND = "manifest"


def torrent_statement(release: Release) -> dict[str, Any]:
    """What the signer of a torrent states about it: the signature's own `info`, beside `alg` (design D3)."""
    return {
        "compatible": list(release.compatible),
        "release": release.release,
        "resource": release.resource,
        "version": release.version,
    }


def parcel_statement(release: Release, from_root: bytes) -> dict[str, Any]:
    """What the signer of a parcel's torrent states: as of the image, and from what to what it leads."""
    return torrent_statement(release) | {
        "parcel_from": from_root.hex() or "nothing",
        "parcel_to": release.infohash.hex(),
    }


class TrustedSet:
    """Judges records and torrents by the newest trust root of a chain.

    Should two roots of one version contradict each other, the one that was followed first goes on to judge, as in TUF: so
    root keys that were rotated out cannot lead a node back by signing a second successor. `contradicted` then tells that
    nothing new may be installed before the next root settles it.
    """

    def __init__(self, root: TrustRoot, before: TrustRoot | None = None) -> None:
        """`before`: the root that this one replaced, where it is known."""
        self.root = root
        self.contradicted = False
        self._before = before

    @property
    def release_keys(self) -> frozenset[bytes]:
        """The public keys that may sign releases now."""
        return self.root.roles[Role.RELEASE].keys

    def advance(self, fact: SignedFact) -> bool:
        """Take a root in. True if it is the next one and judges from now on; False for the newest again, or one that
        contradicts it. Raises `RefusedError`, with nothing changed, as `check_root` does."""
        root = self.check_root(fact)
        if root.version > self.root.version:
            self._before, self.root, self.contradicted = self.root, root, False
            return True
        self.contradicted = self.contradicted or root != self.root
        return False

    def check_root(self, fact: SignedFact) -> TrustRoot:
        """The root in a record that may be held: the newest, the one after it, or one that contradicts the newest.

        Raises `NotYetError` where roots in between are missing. Expiry is not looked at: a node that slept for years must be
        able to follow the chain to its end.
        """
        root = read_root(fact)
        if root == self.root:
            return root
        if (root.swarm, root.version) != (self.root.swarm, self.root.version):
            return check_successor(self.root, fact)
        if self._before is None:
            raise RefusedError(
                f"trust root {root.version} is not the one that this node was given", Reason.NOT_SIGNED
            )
        return check_successor(self._before, fact)

    def check_freshness(self, fact: SignedFact) -> Freshness:
        """What a `fresh` record says, or `RefusedError` saying why it does not count."""
        if fact.kind != FRESH_KIND:
            raise _wrong_kind(fact, FRESH_KIND)
        self.root.check_threshold(Role.FRESHNESS, fact)
        fresh = Freshness.decode(fact.body)
        self._check_swarm(fresh.swarm, "freshness")
        if fact.key != fresh.key or fact.sequence != fresh.at_s:
            raise RefusedError(
                "freshness of another channel or time than the record that carries it", Reason.WRONG_CHANNEL
            )
        return fresh

    def check_manifest(self, fact: SignedFact) -> Manifest:
        """The manifest in a record, or `RefusedError` saying why nobody should act on it."""
        if fact.kind != MANIFEST_KIND:
            raise _wrong_kind(fact, MANIFEST_KIND)
        # The signatures first (TUF 5.5.2): nothing inside is worth reading before that.
        self.root.check_threshold(Role.RELEASE, fact)
        manifest = Manifest.decode(fact.body)
        self._check_swarm(manifest.swarm, "manifest")
        # Otherwise a manifest of one channel could be replayed as another's (TUF: mix-and-match).
        if fact.key != manifest.channel.encode():
            raise RefusedError(
                f"manifest of channel {manifest.channel!r} travels under another channel's key",
                Reason.WRONG_CHANNEL,
            )
        for release in manifest.releases:
            self._check_signer(release)
        _check_one_choice(manifest)
        return manifest

    def check_torrent(self, release: Release, raw: bytes) -> Metainfo:
        """The torrent of `release`, or `RefusedError` naming the field in which the two differ.

        Args:
            release: from a manifest that `check_manifest` returned.
            raw: the torrent file++ as a peer or a maintainer gave it.
        """
        return self._check_file(release, release, torrent_statement(release), raw)

    def check_parcel(self, release: Release, parcel: NamedParcel, raw: bytes) -> Metainfo:
        """The torrent of one of `release`'s parcels, or `RefusedError`; else as `check_torrent`."""
        return self._check_file(release, parcel, parcel_statement(release, parcel.from_root), raw)

    def _check_file(
        self, release: Release, named: Release | NamedParcel, statement: dict[str, Any], raw: bytes
    ) -> Metainfo:
        # Size and hash before parsing: bytes nobody signed reach no parser.
        _agree("size", named.torrent_bytes, len(raw))
        _agree("SHA-256", named.torrent_sha256.hex(), hashlib.sha256(raw).hexdigest())
        self._check_signer(release)
        try:
            metainfo = bep35.metainfo.parse(raw)
            signer_id = bep35.signing.signer_id_of(release.signer)
            stated = bep35.signing.verify(metainfo, signer_id, release.signer)
        except Bep35Error as error:
            raise RefusedError(f"torrent: {error}") from error
        _agree("infohash", named.infohash.hex(), metainfo.infohash.hex())
        _agree("length", named.length_bytes, metainfo.length_bytes)
        expected = {"alg": bep35.signing.ALGORITHM, **statement}
        for name in sorted(expected.keys() | stated.keys()):
            _agree(name, expected.get(name), stated.get(name))
        return metainfo

    def _check_signer(self, release: Release) -> None:
        if release.signer not in self.release_keys:
            raise RefusedError(
                f"{release.resource} {release.version} names a torrent signer that holds no release key",
                Reason.NO_ROLE,
            )

    def _check_swarm(self, swarm: str, what: str) -> None:
        if swarm != self.root.swarm:
            raise RefusedError(
                f"{what} is for swarm {swarm!r}, this is {self.root.swarm!r}", Reason.WRONG_SWARM
            )


def _wrong_kind(fact: SignedFact, kind: str) -> RefusedError:
    return RefusedError(
        f"record is of kind {fact.kind!r:.40}, this needs one of kind {kind!r}", Reason.WRONG_KIND
    )


def _check_one_choice(manifest: Manifest) -> None:
    """No hardware may find two releases of one resource with one number: nodes would choose differently."""
    seen = set()
    for release in manifest.releases:
        for hardware in release.compatible:
            choice = (release.resource, hardware, release.release)
            if choice in seen:
                raise RefusedError(
                    f"manifest names {release.resource} release {release.release} twice for {hardware}",
                    Reason.DISAGREES,
                )
            seen.add(choice)


def _agree(what: str, manifest_says: object, torrent_says: object) -> None:
    if type(manifest_says) is not type(torrent_says) or manifest_says != torrent_says:
        raise RefusedError(
            f"torrent and manifest disagree on {what}: manifest says {manifest_says!r:.120}, "
            f"torrent says {torrent_says!r:.120}",
            Reason.DISAGREES,
        )
