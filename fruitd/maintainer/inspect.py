"""Looking at a release: what it is, who has signed, whether nodes will believe it, and what to hand to a node."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bep35.merkle
import bep35.metainfo
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.founding import SCHEMA, named, named_all
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.signing import described_release
from swarm.root_file import load_root
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, TrustRoot
from swarm.trust.trusted_set import TrustedSet


def describe_release(folder: Path) -> dict[str, Any]:
    """What the release in `folder` is and who has signed it, for `fruit release show --json`
    (docs/maintainer.md).

    Raises `RefusedError` where files are missing, damaged or contradict each other.
    """
    bundle = Bundle.load(folder)
    plan, root = bundle.plan, bundle.root
    signers: frozenset[bytes] = frozenset()
    torrent_signer = None
    with as_refusals(str(folder)):
        if bundle.manifest is not None:
            release = described_release(bundle)
            torrent_signer = named(root, release.signer)
            signers = _signers(root, bundle)
        else:
            release = plan.release_of(bundle.torrent, bytes(32), bytes(32))
        carried = Manifest.decode(bundle.compose(release).body).releases[1:]
    missing = max(root.roles[Role.RELEASE].threshold - len(signers), 0)
    return {
        "schema": SCHEMA,
        "swarm": plan.swarm,
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
        "signed_by": named_all(root, signers),
        "threshold": root.roles[Role.RELEASE].threshold,
        "missing": missing,
        "carried_on": [
            {
                "resource": r.resource,
                "release": r.release,
                "version": r.version,
                "compatible": list(r.compatible),
            }
            for r in carried
        ],
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
    return release


def publish_request(folder: Path, image: Path | None = None) -> dict[str, str]:
    """What `POST /v1/publish` of a node takes; checked first, against the bundle's own trust root.

    `image` None is the image it was built from. Raises `RefusedError` where signatures are missing or there
    is no image.
    """
    bundle = Bundle.load(folder)
    described = describe_release(folder)
    if described["missing"] or bundle.manifest is None:
        raise RefusedError(
            f"{folder} lacks {described['missing']} of {described['threshold']} signatures: "
            f"fruit release sign {folder} --key NAME.key"
        )
    source = Path(bundle.plan.image) if image is None else image.absolute()
    if not source.is_file() and not source.is_block_device():
        raise RefusedError(f"the image is not at {source}; say where it is with --image")
    if source.is_file() and source.stat().st_size != bundle.plan.length_bytes:
        raise RefusedError(f"{source} has another size than the image this release was built from")
    return {
        "manifest": base64.b64encode(bundle.manifest.encode()).decode(),
        "torrent": base64.b64encode(bundle.torrent).decode(),
        "image": str(source),
    }


def _signers(root: TrustRoot, bundle: Bundle) -> frozenset[bytes]:
    assert bundle.manifest is not None
    return root.valid_signers(Role.RELEASE, bundle.manifest.signed_bytes, bundle.manifest.signatures)


def _check_image(image: Path, torrent: bytes, progress: Callable[[int, int], None] | None) -> None:
    metainfo = bep35.metainfo.parse(torrent)
    length_bytes = metainfo.length_bytes
    with as_refusals(f"image {image}"):
        if image.stat().st_size != length_bytes:
            raise RefusedError(
                f"{image} has {image.stat().st_size} bytes, the release's image has {length_bytes}"
            )
        with open(image, "rb", buffering=0) as file:
            tell = None if progress is None else lambda done: progress(done, length_bytes)
            leaves = bep35.merkle.leaf_hashes_of(file, length_bytes, tell)
    layer = bep35.merkle.layer_of(leaves, metainfo.piece_bytes)
    if layer != metainfo.piece_layer:
        differing = [
            at
            for at in range(metainfo.piece_count)
            if layer[32 * at : 32 * at + 32] != metainfo.piece_layer[32 * at : 32 * at + 32]
        ]
        raise RefusedError(
            f"{image} is not the release's image: {len(differing)} of {metainfo.piece_count} pieces differ, "
            f"the first at byte {differing[0] * metainfo.piece_bytes}"
        )
