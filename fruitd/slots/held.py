"""A slot that is kept open while one part of an image after the other is written to it."""

from __future__ import annotations

import os
from pathlib import Path


class HeldSlot:
    """When a block device is closed for the last time, whoever closes it waits until all of it is written, and what was read of
    it has to be read again. So somebody has it open from the first part to the last. Blocks; for worker threads."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._descriptor: int | None = None

    def hold(self, path: Path) -> None:
        """Have this one open, and no other. What is wrong with it those find who write it."""
        if path == self._path:
            return
        self.let_go()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self._path = path

    def let_go(self) -> None:
        """Have none open."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)
