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
from swarm.errors import RefusedError
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, TrustRoot
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


class TrustedSet:
    """Judges manifests and torrents by one trust root."""

    def __init__(self, root: TrustRoot) -> None:
        self.root = root

    def check_manifest(self, fact: SignedFact) -> Manifest:
        """The manifest in a record, or `RefusedError` saying why nobody should act on it."""
        if fact.kind != MANIFEST_KIND:
            raise RefusedError(f"record is of kind {fact.kind!r}, a manifest is of kind {MANIFEST_KIND!r}")
        # The signatures first (TUF 5.5.2): nothing inside is worth reading before that.
        self.root.check_threshold(Role.RELEASE, fact)
        manifest = Manifest.decode(fact.body)
        if manifest.swarm != self.root.swarm:
            raise RefusedError(f"manifest is for swarm {manifest.swarm!r}, this is {self.root.swarm!r}")
        # Otherwise a manifest of one channel could be replayed as another's (TUF: mix-and-match).
        if fact.key != manifest.channel.encode():
            raise RefusedError(
                f"manifest of channel {manifest.channel!r} travels under another channel's key"
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
        # Size and hash before parsing: bytes nobody signed reach no parser.
        _agree("size", release.torrent_bytes, len(raw))
        _agree("SHA-256", release.torrent_sha256.hex(), hashlib.sha256(raw).hexdigest())
        self._check_signer(release)
        try:
            metainfo = bep35.metainfo.parse(raw)
            signer_id = bep35.signing.signer_id_of(release.signer)
            stated = bep35.signing.verify(metainfo, signer_id, release.signer)
        except Bep35Error as error:
            raise RefusedError(f"torrent: {error}") from error
        _agree("infohash", release.infohash.hex(), metainfo.infohash.hex())
        _agree("length", release.length_bytes, metainfo.length_bytes)
        expected = {"alg": bep35.signing.ALGORITHM, **torrent_statement(release)}
        for name in sorted(expected.keys() | stated.keys()):
            _agree(name, expected.get(name), stated.get(name))
        return metainfo

    def _check_signer(self, release: Release) -> None:
        if not self.root.holds(Role.RELEASE, release.signer):
            raise RefusedError(
                f"{release.resource} {release.version} names a torrent signer that holds no release key"
            )


def _check_one_choice(manifest: Manifest) -> None:
    """No hardware may find two releases of one resource with one number: nodes would choose differently."""
    seen = set()
    for release in manifest.releases:
        for hardware in release.compatible:
            choice = (release.resource, hardware, release.release)
            if choice in seen:
                raise RefusedError(
                    f"manifest names {release.resource} release {release.release} twice for {hardware}"
                )
            seen.add(choice)


def _agree(what: str, manifest_says: object, torrent_says: object) -> None:
    if type(manifest_says) is not type(torrent_says) or manifest_says != torrent_says:
        raise RefusedError(
            f"torrent and manifest disagree on {what}: manifest says {manifest_says!r:.120}, "
            f"torrent says {torrent_says!r:.120}"
        )
