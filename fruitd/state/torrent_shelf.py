"""Torrent files++ on disk: each under its own hash, written so that a power cut leaves a whole file or none."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection
from pathlib import Path

from fruitd.errors import RetryError
from swarm.durable import write_durably

TORRENT_BYTES_MAX = 8 * 1024 * 1024
"""As the manifest allows; a larger file here was not put by us."""
SUFFIX = ".torrent"


class TorrentShelf:
    """A folder of torrent files++, named by SHA-256 in hex."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}{SUFFIX}"

    def keep(self, sha256: str, raw: bytes) -> None:
        """Make a torrent durable. Raises `RetryError` if it cannot be written; then nothing is left behind."""
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise ValueError(f"these bytes are not the torrent {sha256}")
        if self._path(sha256).exists():
            return
        try:
            write_durably(self._path(sha256), raw)
        except OSError as error:
            raise RetryError(f"torrent {sha256[:16]} cannot be kept: {error.strerror}") from error

    def all(self) -> list[bytes]:
        """Every torrent that is still what its name says. One that is not is deleted: it will be fetched again."""
        found = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            raw = _read(path)
            if raw is not None and hashlib.sha256(raw).hexdigest() == path.stem:
                found.append(raw)
            else:
                path.unlink(missing_ok=True)
        return found

    def prune(self, keep: Collection[str]) -> None:
        """Delete every torrent whose SHA-256 (hex) is not in `keep`, and what an interrupted write left."""
        for path in self._folder.iterdir():
            if path.suffix != SUFFIX or path.stem not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            raw = file.read(TORRENT_BYTES_MAX + 1)
    except OSError:
        return None
    return raw if len(raw) <= TORRENT_BYTES_MAX else None
