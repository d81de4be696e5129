"""The swarm keys of a node: a small file that only the node's own user may read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from fruitd.errors import UsageError

KEY_FILE_BYTES_MAX = 4096
SWARM_KEYS_MAX = 8
"""Two are enough to change a key; each one more is tried on every datagram whose key id it shares."""
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
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
    for number, line in numbered:
        if not _KEY_LINE.fullmatch(line):
            raise UsageError(f"{file}: line {number} is not a swarm key: allowed are 64 hex digits")
    if not 1 <= len(numbered) <= SWARM_KEYS_MAX:
        raise UsageError(f"{file}: holds {len(numbered)} swarm keys; allowed: 1 to {SWARM_KEYS_MAX}")
    return tuple(bytes.fromhex(line) for _, line in numbered)


def _others_may_read(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IROTH)
