"""Tells everybody who watches that the node's status has changed."""

from __future__ import annotations

import trio


class Changes:
    """A counter of changes that tasks can wait on.

    Nobody is ever late: a change made while a watcher was busy is seen by its next `wait`.
    """

    def __init__(self) -> None:
        self._revision = 1
        self._changed = trio.Event()

    def bump(self) -> None:
        """The status has changed; wakes every watcher. Cheap when there is none."""
        self._revision += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, seen: int) -> int:
        """Return the revision as soon as it differs from `seen`; 0 is older than any."""
        while self._revision == seen:
            await self._changed.wait()
        return self._revision
