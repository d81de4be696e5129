"""Taking a release from a maintainer: everything is verified before anything is kept, the image file too."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from bep35.merkle import leaf_hashes_of, root_of
from bep35.metainfo import parse
from fruitd.errors import RefusedError
from fruitd.node.offer import PublishedParcel, parcel_in
from swarm.errors import Reason
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.news.record import Record

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon


async def take_release(
    daemon: Daemon, manifest: bytes, torrent: bytes, image: str, parcels: Sequence[tuple[bytes, str]] = ()
) -> dict[str, Any]:
    """Verify, keep, seed and spread; what was published. Raises `fruitd.errors.RefusedError`, with nothing changed.

    A refusal is counted too, so that it can be seen on the node by others than whoever asked.
    """
    try:
        return await _take(daemon, manifest, torrent, image, parcels)
    except (SwarmRefusedError, RefusedError) as error:
        reason = error.reason if isinstance(error, SwarmRefusedError) else Reason.OTHER
        daemon.refuse("publish", str(error), "API", reason)
        raise RefusedError(str(error)) from error


async def _take(
    daemon: Daemon, manifest: bytes, torrent: bytes, image: str, parcels: Sequence[tuple[bytes, str]]
) -> dict[str, Any]:
    record = Record.decode(manifest)
    release = daemon.core.published_release(record, torrent)
    for raw, path in parcels:
        named = parcel_in(release, raw, daemon.trusted)
        hashed = await trio.to_thread.run_sync(_leaves_of, Path(path), named.length_bytes)
        if root_of(hashed) != parse(raw).pieces_root:
            raise RefusedError(f"{path} is not the parcel its torrent was made from: its hash tree differs")
    metainfo = parse(torrent)
    leaves = await trio.to_thread.run_sync(_leaves_of, Path(image), metainfo.length_bytes)
    if root_of(leaves) != metainfo.pieces_root:
        raise RefusedError(f"{image} is not the image this torrent was made from: its hash tree differs")
    daemon.core.library.leaves.put(metainfo.pieces_root, leaves, daemon.time.now_s())
    daemon.publish(record, torrent, image, [PublishedParcel(raw, path) for raw, path in parcels])
    return {
        "release": release.release,
        "version": release.version,
        "infohash": release.infohash.hex(),
        "sequence": record.sequence,
    }


def _leaves_of(path: Path, length_bytes: int) -> bytes:
    """The leaves of an image file; it must be a regular file or a device of at least that length, readable by the daemon."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read by the daemon: {error.strerror}") from error
    try:
        # Looked at before Python's file object sees it: that one has errors of its own for directories.
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise RefusedError(f"{path} is neither a file nor a block device")
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        if size_bytes < length_bytes:
            raise RefusedError(f"{path} has {size_bytes} bytes, the release's image has {length_bytes}")
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return leaf_hashes_of(file, length_bytes)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read by the daemon: {error.strerror}") from error
    finally:
        os.close(descriptor)
