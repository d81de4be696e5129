"""Signing a release: who signs first signs the torrent too, and so fixes what everybody signs.

The manifest names the torrent by the hash of its signed bytes, and with it the one key that signed it (docs/adr/0007). From then
on any number of people can sign at the same time, apart from each other. Whoever signs, signs only what agrees with the plan, the
torrent and the previous manifest, all over again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

import bep35.metainfo
import bep35.signing
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import MANIFEST_FILE, TORRENT_FILE, Bundle, Plan, PlannedParcel, check_before
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.review import Known, refuse, review
from fruitd.maintainer.signature_file import SignatureFile
from swarm.durable import write_durably
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.keys import verifies
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role
from swarm.trust.signer import Signer
from swarm.trust.trusted_set import TrustedSet, parcel_statement, torrent_statement


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


def sign_release(folder: Path, key: Signer, *, known: Known | None = None, anyway: str = "") -> Signing:
    """Add one release key's signature to the release in `folder`. Signing twice with one key changes nothing.

    `known` is what mistakes are looked for by, `anyway` why those that are not final are meant (`review`).

    Raises `RefusedError` where the key holds no release role, the release is a mistake, or the files of the folder contradict
    each other.
    """
    bundle = Bundle.load(folder)
    first = bundle.manifest is None
    with as_refusals(str(folder)):
        ready, record, _, _ = _ready_to_sign(bundle, key, known or Known(), anyway)
        if key.public.raw not in attrs.evolve(bundle, manifest=record).signers():
            # A second signature of one key changes nothing, and some tokens would make another one.
            record = signed(record, key)
            _check_made(key, record)
        write_release(bundle, attrs.evolve(ready, manifest=record))
    valid = bundle.root.authorises(Role.RELEASE, record.signed_bytes, record.signatures)
    missing = max(bundle.root.roles[Role.RELEASE].threshold - valid, 0)
    return Signing(record, first, valid, missing)


def detached_signature(
    folder: Path, key: Signer, *, known: Known | None = None, anyway: str = ""
) -> SignatureFile:
    """One release key's signature under the release in `folder`, which stays as it is; see `sign_release`."""
    bundle = Bundle.load(folder)
    with as_refusals(str(folder)):
        _, manifest, torrent_signature, parcels = _ready_to_sign(bundle, key, known or Known(), anyway)
        record = signed(attrs.evolve(manifest, signatures=()), key)
        _check_made(key, record)
    return SignatureFile(
        about=bundle.plan.words,
        signed_by=key.public.name,
        public_key=key.public.raw,
        content_hash=record.content_hash,
        signature=record.signatures[0].signature,
        torrent_signature=torrent_signature,
        parcel_signatures=parcels,
    )


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
    expected = bundle.compose(bundle.plan.release_of(bundle.torrent, sha256, release.signer, bundle.parcels))
    if expected.signed_bytes != bundle.manifest.signed_bytes:
        raise RefusedError(
            "the manifest is not what release.json describes: one of the two was changed; build again"
        )
    with as_refusals():
        trusted = TrustedSet(bundle.root)
        trusted.check_torrent(release, bundle.torrent)
        for parcel, torrent in zip(release.parcels, bundle.parcels, strict=True):
            trusted.check_parcel(release, parcel, torrent)
    return release


def first_signed(
    bundle: Bundle, public_key: bytes, torrent_signature: bytes, parcel_signatures: Sequence[bytes] = ()
) -> Bundle:
    """An unsigned release after its first signer's signatures of the torrents: with the manifest that everybody signs, unsigned.

    Raises `RefusedError` where such a signature is not this key's, or one is missing.
    """
    if len(parcel_signatures) != len(bundle.parcels):
        raise RefusedError(f"{len(parcel_signatures)} parcels are signed, there are {len(bundle.parcels)}")
    unsigned = bundle.plan.release_of(b"", bytes(32), public_key)
    signer_id = bep35.signing.signer_id_of(public_key)
    torrent = bep35.signing.attach(bundle.torrent, signer_id, torrent_statement(unsigned), torrent_signature)
    parcels = tuple(
        bep35.signing.attach(raw, signer_id, parcel_statement(unsigned, named.from_root), signature)
        for raw, named, signature in zip(bundle.parcels, unsigned.parcels, parcel_signatures, strict=True)
    )
    release = bundle.plan.release_of(torrent, hashlib.sha256(torrent).digest(), public_key, parcels)
    ready = attrs.evolve(bundle, torrent=torrent, parcels=parcels, manifest=bundle.compose(release))
    described_release(ready)
    return ready


def check_holds(bundle: Bundle, public_key: bytes, name: str) -> None:
    """Raise `RefusedError` unless this key holds the release role."""
    if not bundle.root.holds(Role.RELEASE, public_key):
        raise RefusedError(
            f"key {name} is no release key of swarm {bundle.root.swarm}: "
            f"fruit trust show {bundle.folder}/root.fruit lists those that are"
        )


def write_release(before: Bundle, after: Bundle) -> None:
    """Write what a signature changed. The torrents first: without the manifest that names them, they change nothing."""
    for parcel, new, old in zip(after.plan.parcels, after.parcels, before.parcels, strict=True):
        if new != old:
            write_durably(after.folder / f"{parcel.name}.torrent", new)
    if after.torrent != before.torrent:
        write_durably(after.folder / TORRENT_FILE, after.torrent)
    if after.manifest is not None and after.manifest != before.manifest:
        write_durably(after.folder / MANIFEST_FILE, after.manifest.encode())


def _ready_to_sign(
    bundle: Bundle, key: Signer, known: Known, anyway: str
) -> tuple[Bundle, Record, bytes | None, tuple[bytes, ...]]:
    """The release with a manifest, the manifest, and a first signer's signatures: the torrent's, the parcels'."""
    check_holds(bundle, key.public.raw, f"{key.public.name} ({key.public.key_id})")
    if bundle.previous is not None:
        check_before(bundle.previous, bundle.chain.roots)
    refuse(review(bundle, known), anyway)
    if bundle.manifest is not None:
        described_release(bundle)
        return bundle, bundle.manifest, None, ()
    plan = bundle.plan
    release = plan.release_of(bundle.torrent, bytes(32), key.public.raw)

    def sign(file: str, raw: bytes, planned: Plan | PlannedParcel, statement: dict[str, Any]) -> bytes:
        metainfo = bep35.metainfo.parse(raw)
        if metainfo.infohash.hex() != planned.infohash or metainfo.length_bytes != planned.length_bytes:
            raise RefusedError(f"{file} is not the one release.json describes; build again")
        return key.sign(bep35.signing.signed_bytes(metainfo, statement))

    signature = sign(TORRENT_FILE, bundle.torrent, plan, torrent_statement(release))
    parcels = tuple(
        sign(f"{planned.name}.torrent", raw, planned, parcel_statement(release, named.from_root))
        for planned, raw, named in zip(plan.parcels, bundle.parcels, release.parcels, strict=True)
    )
    ready = first_signed(bundle, key.public.raw, signature, parcels)
    assert ready.manifest is not None, "first_signed has composed it"
    return ready, ready.manifest, signature, parcels


def _check_made(key: Signer, record: Record) -> None:
    """A key that is kept elsewhere may answer anything: nothing is written that would not count."""
    made = next(s for s in record.signatures if s.public_key == key.public.raw)
    if not verifies(made.public_key, record.signed_bytes, made.signature):
        raise RefusedError(f"key {key.public.name} gave a signature that is not its own; nothing was signed")
