"""The swarm keys of a node: a small file that only the node's own user may read, and how it is changed."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from fruitd.errors import RefusedError, UsageError
from swarm.durable import sync_folder
from swarm.seal import key_id

KEY_FILE_BYTES_MAX = 4096
SWARM_KEYS_MAX = 8
"""Two are enough to change a key; more are forgotten keys."""
_KEY_LINE = re.compile(r"[0-9a-fA-F]{64}")


def read_swarm_keys(file: Path) -> tuple[bytes, ...]:
    """The swarm keys of `[swarm] key_file`, in its order: the first seals, all open.

    The file holds 1 to 8 lines of 64 hex digits; empty lines and lines that begin with `#` do not count.
    Raises `UsageError`; a message never holds any part of a key.
    """
    try:
        with open(file, "rb") as opened:
            open_to_all = _others_may_read(opened.fileno())
            data = opened.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{file}: the swarm key cannot be read: {error.strerror or error}") from error
    if open_to_all:
        raise UsageError(f"{file}: everybody on this machine can read the swarm key; do: chmod 600 {file}")
    if len(data) > KEY_FILE_BYTES_MAX:
        raise UsageError(f"{file}: larger than {KEY_FILE_BYTES_MAX} bytes, this is no swarm key file")
    numbered = [(n, line) for n, line in enumerate(_lines(data), 1) if line and not line.startswith("#")]
    for number, line in numbered:
        if not _KEY_LINE.fullmatch(line):
            raise UsageError(f"{file}: line {number} is not a swarm key: allowed are 64 hex digits")
    if not 1 <= len(numbered) <= SWARM_KEYS_MAX:
        raise UsageError(f"{file}: holds {len(numbered)} swarm keys; allowed: 1 to {SWARM_KEYS_MAX}")
    return tuple(bytes.fromhex(line) for _, line in numbered)


def write_swarm_keys(file: Path, keys: tuple[bytes, ...]) -> None:
    """Replace the keys in a key file, whole and durable; comments, owner and permissions stay. Raises `RefusedError`."""
    file = file.resolve()
    beside = file.with_name(f".{file.name}.new")
    try:
        before = file.stat()
        comments = [line for line in _lines(file.read_bytes()) if line.startswith("#")]
        data = "".join(f"{line}\n" for line in [*comments, *(key.hex() for key in keys)]).encode(
            "ascii", "replace"
        )
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
        beside.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise RefusedError(f"{file} cannot be written: {error.strerror or error}; it is as it was") from error


def added(keys: tuple[bytes, ...], new: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """With keys that open and do not seal yet. Raises `RefusedError` where there would be too many."""
    together = keys + tuple(key for key in new if key not in keys)
    if len(together) > SWARM_KEYS_MAX:
        raise RefusedError(
            f"that would be {len(together)} swarm keys, at most {SWARM_KEYS_MAX} fit; drop an old one first"
        )
    return together


def promoted(keys: tuple[bytes, ...], key: bytes) -> tuple[bytes, ...]:
    """With this key as the one that seals. Raises `RefusedError` where it is not there."""
    if key not in keys:
        raise RefusedError(
            f"key {key_id(key).hex()} is not in the file; add it everywhere before it is promoted anywhere"
        )
    return (key, *(other for other in keys if other != key))


def dropped(keys: tuple[bytes, ...], key: bytes) -> tuple[bytes, ...]:
    """Without this key. Raises `RefusedError` for the one that seals."""
    if keys[0] == key:
        raise RefusedError(
            f"key {key_id(key).hex()} is the one that seals; promote another everywhere before it is dropped"
        )
    return tuple(other for other in keys if other != key)


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("ascii", "replace").splitlines()]


def _others_may_read(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IROTH)
