"""Room set aside on the data partition, so that on a full disk the journal can still be saved (design D9)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

RESERVE_BYTES = 256 * 1024
"""What the database's log may grow to between two checkpoints (state_schema.CHECKPOINT_PAGES). Less would not be enough for it;
more is taken from an owner's small disk."""
FREE_BYTES_MIN = 4 * RESERVE_BYTES
"""Free space needed to set it aside (again). Less: it would be taken in the middle of the same trouble."""


class Reserve:
    """A file of random bytes, as a file system that compresses would keep no room for zeros."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"

    def held(self) -> bool:
        """True if the room is set aside now, which is tried where it is not. While it is not, only the journal is written."""
        try:
            if self._path.exists() and self._path.stat().st_size == RESERVE_BYTES:
                return True
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize < FREE_BYTES_MIN:
                return False
            self._path.write_bytes(os.urandom(RESERVE_BYTES))
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> None:
        """Free the room."""
        with contextlib.suppress(OSError):
            self._path.unlink()
