"""Looking at a release: what it is and changes, who has signed, whether nodes will believe it, and what to hand to one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

import bep35.merkle
import bep35.metainfo
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle, check_before
from fruitd.maintainer.changes import Change, changes
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.review import Known, refuse, review
from fruitd.maintainer.root_description import SCHEMA, named, named_all
from fruitd.maintainer.signing import described_release
from swarm.news.record import Record
from swarm.root_file import load_root
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, TrustRoot
from swarm.trust.trusted_set import TrustedSet


def describe_release(folder: Path, known: Known | None = None) -> dict[str, Any]:
    """What the release in `folder` is, what it changes, who has signed it, and which mistakes were found, for
    `fruit release show --json` (docs/releasing.md).

    Signatures are counted by the trust root in `known`, or else by the one in the folder. Raises `RefusedError` where files are
    missing, damaged or contradict each other.
    """
    bundle, known = Bundle.load(folder), known or Known()
    plan, root = bundle.plan, known.root or bundle.root
    torrent_signer = None
    with as_refusals(str(folder)):
        if bundle.manifest is not None:
            torrent_signer = named(root, described_release(bundle).signer)
        intended = bundle.intended()
        before = _before(bundle, known)
        earlier = None if before is None else Manifest.decode(before.body)
    signers = bundle.signers(root)
    threshold = root.roles[Role.RELEASE].threshold
    return {
        "schema": SCHEMA,
        "swarm": plan.swarm,
        "root": {"version": root.version, "expires_at_s": root.expires_at_s or None},
        "channel": plan.channel,
        "sequence": plan.sequence,
        "issued_at_s": plan.issued_at_s,
        "resource": plan.resource,
        "release": plan.release,
        "version": plan.version,
        "compatible": list(plan.compatible),
        "image": plan.image,
        "length_bytes": plan.length_bytes,
        "infohash": plan.infohash,
        "torrent": {
            "sha256": hashlib.sha256(bundle.torrent).hexdigest(),
            "bytes": len(bundle.torrent),
            "signed_by": torrent_signer,
        },
        "parcels": [
            {
                "from": parcel.from_root or None,
                "from_image": parcel.from_image or None,
                "length_bytes": parcel.length_bytes,
                "infohash": parcel.infohash,
            }
            for parcel in plan.parcels
        ],
        "content_hash": None if bundle.manifest is None else bundle.manifest.content_hash.hex(),
        "signed_by": named_all(root, signers),
        "not_signed_by": named_all(root, root.roles[Role.RELEASE].keys - signers),
        "threshold": threshold,
        "missing": max(threshold - len(signers), 0),
        "compared_with": None if before is None else before.sequence,
        "changes": [_described_change(change) for change in changes(earlier, intended, known.nodes)],
        "mistakes": [attrs.asdict(mistake) for mistake in review(bundle, known)],
        "anyway": plan.anyway,
    }


def manifest_before(data: bytes, roots: Sequence[TrustRoot]) -> Record:
    """A channel's manifest, to compare a release with; raises `RefusedError` unless enough have signed it."""
    with as_refusals("previous manifest"):
        record = Record.decode(data)
    check_before(record, roots)
    return record


def image_as_found(image: Path) -> tuple[int, int] | None:
    """Size and time of an image, for `Known`; None where there is none."""
    try:
        status = image.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _before(bundle: Bundle, known: Known) -> Record | None:
    """The newest manifest before this one."""
    own = None if bundle.manifest is None else bundle.manifest.content_hash
    told = [r for r in (*known.manifests, bundle.previous) if r is not None and r.content_hash != own]
    of_channel = [r for r in told if r.key == bundle.plan.channel.encode()]
    return max(of_channel, key=lambda record: record.sequence, default=None)


def _described_change(change: Change) -> dict[str, Any]:
    return {
        "resource": change.resource,
        "hardware": change.hardware,
        "before": _numbered(change.before),
        "after": _numbered(change.after),
        "same": change.same,
        "nodes": change.nodes,
        "would_take": change.would_take,
        "keeping": [{"name": name, "why": why} for name, why in change.keeping],
    }


def _numbered(release: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    return {
        "release": release.release,
        "version": release.version,
        "length_bytes": release.length_bytes,
        "infohash": release.infohash.hex(),
    }


def verify_release(
    folder: Path,
    root_file: bytes,
    *,
    image: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Release:
    """Judge a release as a node with this trust root will; with `image`, also whether these are its bytes.

    Raises `RefusedError` with the first reason for which a node would not install it.
    """
    bundle = Bundle.load(folder)
    with as_refusals("trust root"):
        trusted = TrustedSet(load_root(root_file))
    with as_refusals(str(folder)):
        release = described_release(bundle)
        assert bundle.manifest is not None, "described_release has checked it"
        trusted.check_manifest(bundle.manifest)
        trusted.check_torrent(release, bundle.torrent)
    if image is not None:
        _check_image(image, bundle.torrent, progress)
        for path, torrent in parcel_files(bundle):
            _check_image(path, torrent, None, "parcel")
    return release


def parcel_files(bundle: Bundle) -> list[tuple[Path, bytes]]:
    """Where each parcel lies, and its torrent."""
    paths = (bundle.folder / f"{parcel.name}.parcel" for parcel in bundle.plan.parcels)
    return list(zip(paths, bundle.parcels, strict=True))


def publish_request(
    folder: Path, image: Path | None = None, *, known: Known | None = None, anyway: str = ""
) -> dict[str, Any]:
    """What `POST /v1/publish` of a node takes; checked first, as `sign_release` does.

    `image` None is the image it was built from. Raises `RefusedError` where signatures are missing, the release is a mistake, or
    there is no image.
    """
    bundle = Bundle.load(folder)
    known = known or Known()
    with as_refusals(str(folder)):
        if bundle.manifest is not None:
            described_release(bundle)
        refuse(review(bundle, known), anyway)
    root = known.root or bundle.root
    threshold = root.roles[Role.RELEASE].threshold
    missing = threshold - len(bundle.signers(root))
    if missing > 0 or bundle.manifest is None:
        raise RefusedError(
            f"{folder} lacks {missing} of {threshold} signatures: fruit release sign {folder} --key NAME.key"
        )
    source = Path(bundle.plan.image) if image is None else image.absolute()
    if not source.is_file() and not source.is_block_device():
        raise RefusedError(f"the image is not at {source}; say where it is with --image")
    if source.is_file() and source.stat().st_size != bundle.plan.length_bytes:
        raise RefusedError(f"{source} has another size than the image this release was built from")
    request: dict[str, Any] = {
        "manifest": base64.b64encode(bundle.manifest.encode()).decode(),
        "torrent": base64.b64encode(bundle.torrent).decode(),
        "image": str(source),
    }
    parcels = parcel_files(bundle)
    for planned, (path, _) in zip(bundle.plan.parcels, parcels, strict=True):
        if not path.is_file() or path.stat().st_size != planned.length_bytes:
            raise RefusedError(
                f"{path} is not there, or not as long as it was built: build the release again"
            )
    if parcels:
        request["parcels"] = [
            {"torrent": base64.b64encode(raw).decode(), "path": str(path.absolute())} for path, raw in parcels
        ]
    return request


def _check_image(
    image: Path, torrent: bytes, progress: Callable[[int, int], None] | None, what: str = "image"
) -> None:
    metainfo = bep35.metainfo.parse(torrent)
    length_bytes = metainfo.length_bytes
    with as_refusals(f"{what} {image}"):
        if image.stat().st_size != length_bytes:
            raise RefusedError(
                f"{image} has {image.stat().st_size} bytes, the release's {what} has {length_bytes}"
            )
        with open(image, "rb", buffering=0) as file:
            tell = None if progress is None else lambda done: progress(done, length_bytes)
            leaves = bep35.merkle.leaf_hashes_of(file, length_bytes, tell)
    layer, signed = bep35.merkle.layer_of(leaves, metainfo.piece_bytes), metainfo.piece_layer
    if layer != signed:
        differing = [
            at
            for at in range(metainfo.piece_count)
            if layer[32 * at : 32 * at + 32] != signed[32 * at : 32 * at + 32]
        ]
        raise RefusedError(
            f"{image} is not the release's {what}: {len(differing)} of {metainfo.piece_count} pieces differ, "
            f"the first at byte {differing[0] * metainfo.piece_bytes}"
        )
