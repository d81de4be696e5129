"""Signing a release: the first signer signs the torrent and writes the manifest, every further one adds to
it.

The manifest names the torrent by hash, and with it the one key that signed the torrent; so the torrent is
signed first, once. Whoever signs later signs only what agrees with the plan, the torrent and the previous
manifest, all over again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import frozen

import bep35.metainfo
import bep35.signing
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import MANIFEST_FILE, TORRENT_FILE, Bundle
from fruitd.maintainer.mistakes import as_refusals
from swarm.durable import write_durably
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role
from swarm.trust.trusted_set import TrustedSet, torrent_statement


@frozen
class Signing:
    """What a signature changed."""

    manifest: Record
    first: bool
    """This key signed the torrent too."""
    signers: int
    """Distinct release keys that have signed the manifest now."""
    missing: int
    """How many more are needed before nodes believe it."""


def sign_release(folder: Path, key: SecretKey) -> Signing:
    """Add one release key's signature to the release in `folder`. Signing twice with one key changes nothing.

    Raises `RefusedError` where the key holds no release role or the files of the folder contradict each
    other.
    """
    bundle = Bundle.load(folder)
    if not bundle.root.holds(Role.RELEASE, key.public.raw):
        raise RefusedError(
            f"key {key.name} ({key.key_id}) is no release key of swarm {bundle.root.swarm}: "
            f"fruit trust show {folder}/root.fruit lists those that are"
        )
    first = bundle.manifest is None
    with as_refusals(str(folder)):
        if bundle.manifest is None:
            torrent = _signed_torrent(bundle, key)
            release = bundle.plan.release_of(torrent, hashlib.sha256(torrent).digest(), key.public.raw)
            unsigned = bundle.compose(release)
            write_durably(folder / TORRENT_FILE, torrent)
        else:
            described_release(bundle)
            unsigned = bundle.manifest
        record = signed(unsigned, key)
        write_durably(folder / MANIFEST_FILE, record.encode())
    valid = bundle.root.authorises(Role.RELEASE, record.signed_bytes, record.signatures)
    missing = max(bundle.root.roles[Role.RELEASE].threshold - valid, 0)
    return Signing(record, first, valid, missing)


def described_release(bundle: Bundle) -> Release:
    """The release of a bundle with a manifest, after checking that manifest, torrent, plan and previous
    manifest agree.

    Not whether enough have signed. Raises `RefusedError`.
    """
    if bundle.manifest is None:
        raise RefusedError(
            f"{bundle.folder} is not signed yet: fruit release sign {bundle.folder} --key NAME.key"
        )
    sha256 = hashlib.sha256(bundle.torrent).digest()
    rows = [r for r in Manifest.decode(bundle.manifest.body).releases if r.torrent_sha256 == sha256]
    if len(rows) != 1:
        raise RefusedError(
            f"the manifest does not name {TORRENT_FILE}: one of the two was exchanged; build again"
        )
    release = rows[0]
    expected = bundle.compose(bundle.plan.release_of(bundle.torrent, sha256, release.signer))
    if expected.signed_bytes != bundle.manifest.signed_bytes:
        raise RefusedError(
            "the manifest is not what release.json describes: one of the two was changed; build again"
        )
    with as_refusals():
        TrustedSet(bundle.root).check_torrent(release, bundle.torrent)
    return release


def _signed_torrent(bundle: Bundle, key: SecretKey) -> bytes:
    metainfo = bep35.metainfo.parse(bundle.torrent)
    plan = bundle.plan
    if metainfo.infohash.hex() != plan.infohash or metainfo.length_bytes != plan.length_bytes:
        raise RefusedError(f"{TORRENT_FILE} is not the one release.json describes; build again")
    statement = torrent_statement(plan.release_of(bundle.torrent, bytes(32), key.public.raw))
    signer_id = bep35.signing.signer_id_of(key.public.raw)
    return bep35.signing.sign(bundle.torrent, signer_id, key.signing_key, statement)
