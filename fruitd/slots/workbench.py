"""What is kept from one segment of a parcel to the next."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from swarm.parcel.frames import PARTS_AHEAD, FrameOpener


class Workbench:
    """Segments of one parcel after the other are made here, one at a time. Blocks; for worker threads.

    The slot stays open: when a block device is closed for the last time, whoever closes it waits until all of it is written, and
    what was read of it has to be read again. And so do the memory that frames are opened in, and the thread that opens them.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._opener: FrameOpener | None = None
        self._helper: ThreadPoolExecutor | None = None

    def hold(self, path: Path) -> None:
        """Have this slot open, and no other. What is wrong with it those find who write it."""
        if path == self._path:
            return
        self.let_go()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self._path = path

    def let_go(self) -> None:
        """Keep nothing; what comes next is taken anew."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        helper, self._helper, self._opener = self._helper, None, None
        if helper is not None:
            helper.shutdown()
        if descriptor is not None:
            os.close(descriptor)

    @property
    def opener(self) -> FrameOpener:
        """Opens frames."""
        self._opener = self._opener or FrameOpener()
        return self._opener

    def ahead(self, parts: Iterator[memoryview]) -> Iterator[memoryview]:
        """One processor opens the next parts of a frame while another hashes and writes what came of the last."""
        self._helper = self._helper or ThreadPoolExecutor(1, "open-segment")
        coming: deque[Future[memoryview | None]] = deque()
        while True:
            while len(coming) <= PARTS_AHEAD:
                coming.append(self._helper.submit(next, parts, None))
            part = coming.popleft().result()
            if part is None:
                return
            yield part

    def settle(self) -> None:
        """Return when nothing is opened any more: what it is read from may be closed then."""
        if self._helper is not None:
            self._helper.submit(int).result()
