"""Bringing together what several people have signed apart from each other: signature files, folders, or only their manifests.

Order and repetition change nothing. All or nothing: one signature that cannot count, or is over other content, and the folder
stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
from attrs import frozen

from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.signature_file import SignatureFile
from fruitd.maintainer.signing import check_holds, described_release, first_signed, write_release
from swarm.news.record import RECORD_BYTES_MAX, Record, Signature
from swarm.signing import with_signatures
from swarm.trust.key_files import read_bounded
from swarm.trust.keys import verifies


@frozen
class _Contribution:
    """What one file or folder brings."""

    where: Path
    who: str
    content_hash: bytes
    signatures: tuple[Signature, ...]
    first: Bundle | None
    """The release as its first signer made it, if this brings it."""


def merge_release(folder: Path, others: Sequence[Path]) -> int:
    """Add the signatures in `others` to the release in `folder`; how many were new.

    Raises `RefusedError` where one of them is over another release, holds no release role, or does not verify.
    """
    bundle = Bundle.load(folder)
    with as_refusals(str(folder)):
        if bundle.manifest is not None:
            described_release(bundle)
    brought = [_contribution(bundle, path) for path in others]
    with as_refusals(str(folder)):
        base = bundle if bundle.manifest is not None else _first(bundle, brought)
        assert base.manifest is not None, "_first returns none without"
        for contribution in brought:
            _check(base, base.manifest, contribution)
        before = {s.public_key: s for s in base.manifest.signatures}
        # A key may sign one thing in two ways: the lesser bytes are kept, whatever the order.
        told = sorted((s for c in brought for s in c.signatures), key=lambda s: s.signature, reverse=True)
        new = {s.public_key: s for s in told if s.public_key not in before}
        record = with_signatures(base.manifest, new.values())
        write_release(bundle, attrs.evolve(base, manifest=record))
    return len(new)


def _contribution(bundle: Bundle, path: Path) -> _Contribution:
    with as_refusals(str(path)):
        if path.is_dir():
            other = Bundle.load(path)
            described_release(other)
            assert other.manifest is not None, "described_release has checked it"
            first = attrs.evolve(other, folder=bundle.folder, chain=bundle.chain)
            return _Contribution(
                path, str(path), other.manifest.content_hash, other.manifest.signatures, first
            )
        data = read_bounded(path, RECORD_BYTES_MAX)
        if not data.lstrip().startswith(b"{"):
            record = Record.decode(data)
            return _Contribution(path, str(path), record.content_hash, record.signatures, None)
        file = SignatureFile.decode(data)
        signature = Signature(file.public_key, file.signature)
        who = file.signed_by or str(path)
        if file.torrent_signature is None or bundle.manifest is not None:
            return _Contribution(path, who, file.content_hash, (signature,), None)
        first = _unsigned_first(bundle, file, file.torrent_signature)
        return _Contribution(path, who, file.content_hash, (signature,), first)


def _unsigned_first(bundle: Bundle, file: SignatureFile, torrent_signature: bytes) -> Bundle:
    try:
        return first_signed(bundle, file.public_key, torrent_signature, file.parcel_signatures)
    except RefusedError as error:
        raise RefusedError(
            f"signs another release ({file.about}), or its signature does not verify: {error}"
        ) from error


def _first(bundle: Bundle, brought: Sequence[_Contribution]) -> Bundle:
    """The release as its one first signer made it, with the manifest that everybody signs and no signature under it."""
    made = {c.content_hash: (c.who, c.first) for c in brought if c.first is not None}
    if not made:
        raise RefusedError(
            "nobody has signed the torrent yet, which makes the manifest that these signatures are under: merge the folder or "
            "the signature file of who signed first as well"
        )
    if len(made) > 1:
        raise RefusedError(
            f"{' and '.join(sorted(who for who, _ in made.values()))} have each signed as the first, so each signed another "
            f"torrent: merge one of them, and let the others sign {bundle.folder} again"
        )
    [(who, first)] = made.values()
    if (first.plan.signed_part, first.previous) != (bundle.plan.signed_part, bundle.previous):
        raise RefusedError(f"{who} holds another release: {first.plan.words}, not {bundle.plan.words}")
    manifest = attrs.evolve(first.manifest, signatures=()) if first.manifest is not None else None
    return attrs.evolve(bundle, torrent=first.torrent, parcels=first.parcels, manifest=manifest)


def _check(base: Bundle, manifest: Record, brought: _Contribution) -> None:
    if brought.content_hash != manifest.content_hash:
        raise RefusedError(
            f"{brought.where} is a signature under other content than {base.folder}: another release, or another first signer; "
            "whoever made it has to sign this folder"
        )
    for signature in brought.signatures:
        name = base.root.names.get(signature.public_key, signature.public_key.hex()[:16])
        check_holds(base, signature.public_key, name)
        if not verifies(signature.public_key, manifest.signed_bytes, signature.signature):
            raise RefusedError(f"{brought.where} holds a signature of {name} that does not verify")
