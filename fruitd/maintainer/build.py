"""From an image to an unsigned release: hash it, make its torrent, write the folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import frozen

import bep35.merkle
import bep35.metainfo
import swarm.errors
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.bundle import (
    PLAN_FILE,
    PREVIOUS_FILE,
    ROOT_FILE,
    TORRENT_FILE,
    Bundle,
    Plan,
)
from fruitd.maintainer.mistakes import as_refusals
from swarm.durable import write_durably
from swarm.news.record import KEY_BYTES_MAX, SEQUENCE_MAX, Record, Signature
from swarm.root_file import load_root
from swarm.trust.manifest import IMAGE_BYTES_MAX, TORRENT_BYTES_MAX, Manifest
from swarm.trust.root import Role
from swarm.trust.trusted_set import TrustedSet


@frozen
class ReleasePlan:
    """What a maintainer says of a release."""

    resource: str
    release: int
    version: str
    compatible: tuple[str, ...]
    channel: str = "stable"
    sequence: int | None = None
    """None: one more than the previous manifest's, or `now_s` where none is given."""


def build_release(
    image: Path,
    folder: Path,
    plan: ReleasePlan,
    root_file: bytes,
    *,
    now_s: float,
    previous: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Hash the image and make the folder of its release, whole or not at all.

    Args:
        image: read once, never changed.
        folder: must not exist yet, or be empty.
        plan: see there.
        root_file: the swarm's trust root.
        now_s: seconds since 1970; goes into the manifest.
        previous: the channel's current manifest; its releases for other resources and hardware are carried
        on.
        progress: called with (bytes hashed, bytes in all).

    Raises:
        UsageError: a value cannot be meant.
        RefusedError: the image, the trust root or the previous manifest cannot be used.
        RetryError: the disk is full, or a file cannot be read.
    """
    with as_refusals("trust root"):
        root = load_root(root_file)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is there already; choose another folder or remove it")
    before = _previous(previous, TrustedSet(root), plan)
    planned = Plan(
        swarm=root.swarm,
        channel=plan.channel,
        resource=plan.resource,
        release=plan.release,
        version=plan.version,
        compatible=plan.compatible,
        sequence=_sequence(plan, before, now_s),
        issued_at_s=int(now_s),
        image=str(image.resolve()),
        length_bytes=_image_bytes(image),
        infohash=bytes(32).hex(),
    )
    draft = Bundle(folder, planned, root, b"", None, before)
    _check_fits(draft)
    torrent = _torrent(image, planned, progress)
    infohash = bep35.metainfo.parse(torrent).infohash.hex()
    bundle = Bundle(folder, attrs.evolve(planned, infohash=infohash), root, torrent, None, before)
    with as_refusals():
        _write(bundle, root_file)
    return bundle


def _previous(data: bytes | None, trusted: TrustedSet, plan: ReleasePlan) -> Record | None:
    if data is None:
        return None
    with as_refusals("previous manifest"):
        record = Record.decode(data)
        manifest = trusted.check_manifest(record)
    if manifest.channel != plan.channel:
        raise UsageError(f"the previous manifest is of channel {manifest.channel}, not {plan.channel}")
    _check_rises(manifest, plan)
    return record


def _check_rises(manifest: Manifest, plan: ReleasePlan) -> None:
    for row in manifest.releases:
        shared = sorted(set(row.compatible) & set(plan.compatible))
        if row.resource == plan.resource and shared and row.release >= plan.release:
            raise UsageError(
                f"{shared[0]} is already at release {row.release} ({row.version}) of {row.resource}, and nodes "
                f"never go back: use --release {row.release + 1} or higher"
            )


def _sequence(plan: ReleasePlan, previous: Record | None, now_s: float) -> int:
    least = previous.sequence + 1 if previous is not None else 0
    if plan.sequence is None:
        return least if previous is not None else int(now_s)
    if not least <= plan.sequence <= SEQUENCE_MAX:
        raise UsageError(f"--sequence {plan.sequence} is not from {least} to {SEQUENCE_MAX}")
    return plan.sequence


def _image_bytes(image: Path) -> int:
    with as_refusals(f"image {image}"):
        status = image.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"image {image} is not a file; write the image to a file first")
    if not 1 <= status.st_size <= IMAGE_BYTES_MAX:
        raise RefusedError(f"image {image} has {status.st_size} bytes; allowed are 1 to {IMAGE_BYTES_MAX}")
    return status.st_size


def _check_fits(draft: Bundle) -> None:
    """Refuse before an hour of hashing what would be refused after it: compose the manifest with made-up hashes."""
    plan, held = draft.plan, draft.root.roles[Role.RELEASE]
    if len(set(plan.compatible)) != len(plan.compatible):
        raise UsageError("one --compatible is given twice")
    if len(plan.channel.encode("utf-8", "replace")) > KEY_BYTES_MAX:
        raise UsageError(f"--channel is longer than {KEY_BYTES_MAX} bytes")
    row = plan.release_of(b"x" * TORRENT_BYTES_MAX, bytes(32), min(held.keys))
    try:
        record = draft.compose(row)
        Manifest.decode(record.body)
        signatures = tuple(Signature(raw, bytes(64)) for raw in sorted(held.keys)[: held.threshold])
        Record.decode(attrs.evolve(record, signatures=signatures).encode())
    except (swarm.errors.RefusedError, ValueError, OverflowError) as error:
        raise UsageError(f"this release cannot be described: {error}") from error


def _torrent(image: Path, plan: Plan, progress: Callable[[int, int], None] | None) -> bytes:
    """The unsigned torrent; `RefusedError` if the image changes under our eyes."""
    length_bytes = plan.length_bytes
    with as_refusals(f"image {image}"), open(image, "rb", buffering=0) as file:
        opened = os.fstat(file.fileno())
        tell = None if progress is None else lambda done: progress(done, length_bytes)
        leaves = bep35.merkle.leaf_hashes_of(file, length_bytes, tell)
        closed = os.fstat(file.fileno())
    if (opened.st_size, opened.st_mtime_ns) != (
        length_bytes,
        closed.st_mtime_ns,
    ) or closed.st_size != length_bytes:
        raise RefusedError(f"image {image} changed while it was read; build again when it is finished")
    with as_refusals(f"torrent of {image}"):
        piece_bytes = bep35.metainfo.piece_bytes_for(length_bytes)
        return bep35.metainfo.build(_torrent_name(plan), length_bytes, leaves, piece_bytes)


def _torrent_name(plan: Plan) -> str:
    """What other torrent clients call the file, such as rootfs-2.img."""
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", plan.resource.rsplit("/", 1)[-1]).strip(".-") or "image"
    return f"{last}-{plan.release}.img"


def _write(bundle: Bundle, root_file: bytes) -> None:
    folder = bundle.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unnamed = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    unnamed.mkdir()
    try:
        write_durably(unnamed / PLAN_FILE, bundle.plan.encode())
        write_durably(unnamed / ROOT_FILE, root_file)
        write_durably(unnamed / TORRENT_FILE, bundle.torrent)
        if bundle.previous is not None:
            write_durably(unnamed / PREVIOUS_FILE, bundle.previous.encode())
        unnamed.rename(folder)
    except BaseException:
        shutil.rmtree(unnamed, ignore_errors=True)
        raise
