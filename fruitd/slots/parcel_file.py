"""A parcel in the cache: a file as long as the parcel, whose room on the disk is taken before the first byte of it is fetched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bep35.merkle import HASH_BYTES, leaf_hashes, root_of
from bep35.metainfo import Metainfo
from fruitd.errors import RetryError
from fruitd.slots.leaves import is_hole
from swarm.transfer.bitmap import block_count, empty_bitmap, set_block
from swarm.transfer.port import BLOCK_BYTES

FREE_BYTES_MIN = 32 * 1024 * 1024
"""Left to the node's state and everything else on that disk. Less: a parcel could keep the node from writing its journal. More:
nodes with small data partitions use no parcels."""
CHUNK_BYTES = 1024 * 1024
_ZEROS = bytes(BLOCK_BYTES)


def open_parcel(path: Path, length_bytes: int, checkpoint: Callable[[], None]) -> bytes:
    """Take room for a parcel, and see what an earlier try left of it. Blocks; for a worker thread.

    Returns:
        Bitmap of its blocks that hold something; the transfer hashes them all. A parcel is compressed: it has no block of zeros.

    Raises:
        RetryError: there is no room, or the file cannot be used. Nothing is left of it then.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RetryError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _take_room(descriptor, path, length_bytes)
        return _blocks_in(descriptor, length_bytes, checkpoint)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise RetryError(f"{path} cannot be used: {error.strerror}") from error
    except RetryError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _take_room(descriptor: int, path: Path, length_bytes: int) -> None:
    os.ftruncate(descriptor, length_bytes)
    taken_bytes = 512 * os.fstat(descriptor).st_blocks
    disk = os.statvfs(path)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes - max(length_bytes - taken_bytes, 0) < FREE_BYTES_MIN:
        raise RetryError(f"no room for {length_bytes} bytes beside what has to stay free in {path.parent}")
    try:
        os.posix_fallocate(descriptor, 0, length_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _blocks_in(descriptor: int, length_bytes: int, checkpoint: Callable[[], None]) -> bytes:
    bitmap = empty_bitmap(block_count(length_bytes))
    for offset in range(0, length_bytes, CHUNK_BYTES):
        checkpoint()
        if is_hole(descriptor, offset, min(CHUNK_BYTES, length_bytes - offset)):
            continue  # room that was taken, and never written to
        data = os.pread(descriptor, CHUNK_BYTES, offset)
        for at in range(0, len(data), BLOCK_BYTES):
            if not _ZEROS.startswith(data[at : at + BLOCK_BYTES]):
                set_block(bitmap, (offset + at) // BLOCK_BYTES)
    return bytes(bitmap)


def flush_parcel(path: Path) -> None:
    """Return when all of it is on the medium. Raises `RetryError`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RetryError(f"{path} cannot be flushed: {error.strerror}") from error


@contextmanager
def parts_of(path: Path, offset: int = 0) -> Iterator[Callable[[int, int], bytes]]:
    """Gives so many bytes from so many behind the offset; fewer where the parcel ends or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield lambda at, length_bytes: b""
        return

    def read(at: int, length_bytes: int) -> bytes:
        try:
            return os.pread(descriptor, length_bytes, offset + at)
        except OSError:
            return b""

    try:
        yield read
    finally:
        os.close(descriptor)


def read_part(path: Path, offset: int, length_bytes: int) -> bytes:
    """A part of a parcel; short where it ends or cannot be read."""
    with parts_of(path) as read:
        return read(offset, length_bytes)


def is_damaged(path: Path, torrent: Metainfo, offset: int, length_bytes: int) -> bool:
    """Is what lies in the cache another thing than what was fetched, in the pieces that this part touches?"""
    piece_bytes, layer = torrent.piece_bytes, torrent.piece_layer
    for piece in range(offset // piece_bytes, -(-(offset + length_bytes) // piece_bytes)):
        begin = piece * piece_bytes
        data = read_part(path, begin, min(piece_bytes, torrent.length_bytes - begin))
        leaves = leaf_hashes(data)
        if torrent.piece_count > 1:
            leaves = leaves.ljust(HASH_BYTES * (piece_bytes // BLOCK_BYTES), b"\0")
        if not leaves or root_of(leaves) != layer[HASH_BYTES * piece :][:HASH_BYTES]:
            return True
    return False
