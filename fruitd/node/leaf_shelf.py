"""Leaf hashes kept in memory while somebody uses them: 32 bytes for each 16 KiB of an image.

They can always be made again from the image (or fetched from a peer), so they are never written to disk: 0.2 % of an image
would be a large part of what a small update writes.
"""

from __future__ import annotations

UNUSED_S_MAX = 600.0
"""Leaves nobody asked for in this time are dropped. Shorter: a seed hashes its slot again for each late node; longer: 2 MiB
for each GiB of image stay in memory when nothing is going on."""
SHELF_BYTES_MAX = 16 * 1024 * 1024
"""Two 4 GiB images. Above it the least recently used go first, whoever uses them."""


class LeafShelf:
    """Leaves by pieces root, least recently used first."""

    def __init__(self) -> None:
        self._leaves: dict[bytes, bytes] = {}
        self._used_s: dict[bytes, float] = {}

    def put(self, root: bytes, leaves: bytes, now_s: float) -> None:
        """Keep these for now."""
        self._leaves[root] = leaves
        self._used_s[root] = now_s
        while len(self._leaves) > 1 and sum(map(len, self._leaves.values())) > SHELF_BYTES_MAX:
            self._drop(min(self._used_s, key=self._used_s.__getitem__))

    def get(self, root: bytes) -> bytes | None:
        """The leaves of this image, if they are here."""
        return self._leaves.get(root)

    def used(self, root: bytes, now_s: float) -> None:
        """Somebody needed them just now."""
        if root in self._used_s:
            self._used_s[root] = now_s

    def forget_unused(self, now_s: float) -> None:
        """Drop what nobody has used for `UNUSED_S_MAX`."""
        for root in [r for r, used_s in self._used_s.items() if now_s - used_s > UNUSED_S_MAX]:
            self._drop(root)

    def _drop(self, root: bytes) -> None:
        del self._leaves[root]
        del self._used_s[root]
