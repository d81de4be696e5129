"""From an image to an unsigned release: hash it, make its torrent, write the folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

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
    PlannedParcel,
    check_before,
)
from fruitd.maintainer.image_kind import image_kind
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.parcels.build import BuiltParcel, Progress, build_parcel
from fruitd.maintainer.parcels.packing import LEVEL
from fruitd.maintainer.review import Known, refuse, review
from swarm.durable import write_durably
from swarm.news.record import KEY_BYTES_MAX, SEQUENCE_MAX, Record, Signature
from swarm.parcel.header import NOTHING
from swarm.root_file import RootChain, load_chain
from swarm.trust.manifest import IMAGE_BYTES_MAX, PARCELS_MAX, TORRENT_BYTES_MAX, Manifest
from swarm.trust.root import Role


class BuildParcel(Protocol):
    """Builds one parcel."""

    def __call__(self, *, level: int = LEVEL, progress: Progress | None = None) -> BuiltParcel:
        """`level` of zstd; `progress` is told how far it is."""
        ...


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
    anyway: str = ""
    """Why it is built in spite of mistakes that are not final; empty: it is not (`review`)."""


def build_release(
    image: Path,
    folder: Path,
    plan: ReleasePlan,
    root_file: bytes,
    *,
    now_s: float,
    previous: bytes | None = None,
    known: Known | None = None,
    progress: Callable[[int, int], None] | None = None,
    older: Sequence[Path | None] = (),
    packing: Callable[[BuildParcel], BuiltParcel] | None = None,
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
        known: what mistakes are looked for by, besides the previous manifest and `now_s`.
        progress: called with (bytes hashed, bytes in all).
        older: images that nodes may have, each for a parcel from it; None among them: one from nothing.
        packing: calls what builds a parcel, and so sees how far it is and what came of it.

    Raises:
        UsageError: a value cannot be meant.
        RefusedError: the image, the trust root or the previous manifest cannot be used, or the release is a mistake.
        RetryError: the disk is full, or a file cannot be read.
    """
    with as_refusals("trust root"):
        chain = load_chain(root_file)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is there already; choose another folder or remove it")
    before = _previous(previous, chain, plan)
    length_bytes, mtime_ns = _image_bytes_mtime_ns(image)
    planned = Plan(
        swarm=chain.newest.swarm,
        channel=plan.channel,
        resource=plan.resource,
        release=plan.release,
        version=plan.version,
        compatible=plan.compatible,
        sequence=_sequence(plan, before, now_s),
        issued_at_s=int(now_s),
        image=str(image.resolve()),
        length_bytes=length_bytes,
        infohash=bytes(32).hex(),
        image_kind=image_kind(image),
        image_mtime_ns=mtime_ns,
        anyway=plan.anyway,
    )
    draft = Bundle(folder, planned, chain, b"", None, before)
    _check_fits(draft, len(older))
    known = attrs.evolve(known or Known(), now_s=now_s)
    refuse(review(draft, known), plan.anyway)
    torrent = _torrent(image, planned, progress)
    metainfo = bep35.metainfo.parse(torrent)
    planned = attrs.evolve(planned, infohash=metainfo.infohash.hex())
    bundle = Bundle(folder, planned, chain, torrent, None, before)
    refuse(review(bundle, known), plan.anyway)
    with as_refusals(), _new_folder(folder) as unnamed:
        parcels = _parcels(image, planned, metainfo.pieces_root, older, unnamed, packing)
        planned = attrs.evolve(planned, parcels=tuple(parcel for parcel, _ in parcels))
        bundle = attrs.evolve(bundle, plan=planned, parcels=tuple(raw for _, raw in parcels))
        _write(bundle, root_file, unnamed)
    return bundle


def _previous(data: bytes | None, chain: RootChain, plan: ReleasePlan) -> Record | None:
    if data is None:
        return None
    with as_refusals("previous manifest"):
        record = Record.decode(data)
    manifest = check_before(record, chain.roots)
    # Its rows are about to be carried into another channel otherwise.
    if manifest.channel != plan.channel:
        raise UsageError(f"the previous manifest is of channel {manifest.channel}, not {plan.channel}")
    return record


def _sequence(plan: ReleasePlan, previous: Record | None, now_s: float) -> int:
    least = previous.sequence + 1 if previous is not None else 0
    if plan.sequence is None:
        return least if previous is not None else int(now_s)
    if not least <= plan.sequence <= SEQUENCE_MAX:
        raise UsageError(f"--sequence {plan.sequence} is not from {least} to {SEQUENCE_MAX}")
    return plan.sequence


def _image_bytes_mtime_ns(image: Path) -> tuple[int, int]:
    with as_refusals(f"image {image}"):
        status = image.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"image {image} is not a file; write the image to a file first")
    if not 1 <= status.st_size <= IMAGE_BYTES_MAX:
        raise RefusedError(f"image {image} has {status.st_size} bytes; allowed are 1 to {IMAGE_BYTES_MAX}")
    return status.st_size, status.st_mtime_ns


def _check_fits(draft: Bundle, parcels: int) -> None:
    """Refuse before an hour of hashing what would be refused after it: compose the manifest with made-up hashes."""
    plan, held = draft.plan, draft.root.roles[Role.RELEASE]
    if len(set(plan.compatible)) != len(plan.compatible):
        raise UsageError("one --compatible is given twice")
    if len(plan.channel.encode("utf-8", "replace")) > KEY_BYTES_MAX:
        raise UsageError(f"--channel is longer than {KEY_BYTES_MAX} bytes")
    if parcels > PARCELS_MAX:
        raise UsageError(f"--from is given {parcels} times; a release names at most {PARCELS_MAX} parcels")
    made_up = (PlannedParcel(f"{n:064x}", "", IMAGE_BYTES_MAX, "0" * 64) for n in range(parcels))
    plan = attrs.evolve(plan, parcels=tuple(made_up))
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
    length_bytes, mtime_ns = plan.length_bytes, plan.image_mtime_ns
    with as_refusals(f"image {image}"), open(image, "rb", buffering=0) as file:
        tell = None if progress is None else lambda done: progress(done, length_bytes)
        leaves = bep35.merkle.leaf_hashes_of(file, length_bytes, tell)
        status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (length_bytes, mtime_ns):
        raise RefusedError(f"image {image} changed while it was read; build again when it is finished")
    with as_refusals(f"torrent of {image}"):
        piece_bytes = bep35.metainfo.piece_bytes_for(length_bytes)
        return bep35.metainfo.build(_torrent_name(plan), length_bytes, leaves, piece_bytes)


def _torrent_name(plan: Plan) -> str:
    """What other torrent clients call the file, such as rootfs-2.img."""
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", plan.resource.rsplit("/", 1)[-1]).strip(".-") or "image"
    return f"{last}-{plan.release}.img"


def _parcels(
    image: Path,
    plan: Plan,
    image_root: bytes,
    older: Sequence[Path | None],
    folder: Path,
    packing: Callable[[BuildParcel], BuiltParcel] | None,
) -> list[tuple[PlannedParcel, bytes]]:
    """The parcels and their unsigned torrents, in the order of their roots; the parcels themselves are left in `folder`."""
    made: dict[str, tuple[PlannedParcel, bytes]] = {}
    for source in older:
        build = partial(build_parcel, image, source, folder / "parcel")
        parcel = build() if packing is None else packing(build)
        if parcel.image_root != image_root:
            raise RefusedError(f"image {image} changed while it was read; build again when it is finished")
        planned = PlannedParcel(
            from_root="" if parcel.from_root == NOTHING else parcel.from_root.hex(),
            from_image="" if source is None else str(source.resolve()),
            length_bytes=parcel.length_bytes,
            infohash="",
        )
        if parcel.from_root == image_root:
            raise UsageError(
                f"{source} is the very image of this release: it has nothing to travel from there"
            )
        if planned.from_root in made:
            raise UsageError(f"{source or 'nothing'} is given twice to --from, or under two names")
        name = f"{_torrent_name(plan).removesuffix('.img')}-{planned.name}.parcel"
        with open(parcel.path, "rb", buffering=0) as file:
            leaves = bep35.merkle.leaf_hashes_of(file, parcel.length_bytes)
        piece_bytes = bep35.metainfo.piece_bytes_for(parcel.length_bytes)
        torrent = bep35.metainfo.build(name, parcel.length_bytes, leaves, piece_bytes)
        infohash = bep35.metainfo.parse(torrent).infohash.hex()
        made[planned.from_root] = attrs.evolve(planned, infohash=infohash), torrent
        parcel.path.rename(folder / f"{planned.name}.parcel")
    return [made[root] for root in sorted(made)]


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when all is in it, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unnamed = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    unnamed.mkdir()
    try:
        yield unnamed
        unnamed.rename(folder)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(unnamed, ignore_errors=True)
        raise


def _write(bundle: Bundle, root_file: bytes, folder: Path) -> None:
    write_durably(folder / PLAN_FILE, bundle.plan.encode())
    write_durably(folder / ROOT_FILE, root_file)
    write_durably(folder / TORRENT_FILE, bundle.torrent)
    for parcel, raw in zip(bundle.plan.parcels, bundle.parcels, strict=True):
        write_durably(folder / f"{parcel.name}.torrent", raw)
    if bundle.previous is not None:
        write_durably(folder / PREVIOUS_FILE, bundle.previous.encode())
