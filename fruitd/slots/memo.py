"""What a slot held when it was last read back whole: so that an update need not read all of it to see what is in place.

On a card that is one of an update's three passes. It is a hint and no more: a sample of the slot is compared with it before it is
used, and what boots is read back whole and compared with the image's leaves as ever.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from swarm.durable import write_durably
from swarm.transfer.bitmap import block_count
from swarm.trust.manifest import IMAGE_BYTES_MAX

MEMO_BYTES = 4
"""Kept of each leaf's 32. Of a million blocks that differ one passes for the same, in one update of 4000; it is found when the
slot is read back, and fetched. More: what is written for it would count in a small update (an image of 2 GiB: 512 KiB)."""
_LENGTH_BYTES = 8
_WORDS = 32 // MEMO_BYTES


def memo_of(leaves: bytes) -> bytes:
    """Of leaves, 32 bytes for each block, what is kept: `MEMO_BYTES` for each."""
    return memoryview(leaves).cast("I")[::_WORDS].tobytes()


class SlotMemos:
    """One file for each slot in a folder. Blocks; for worker threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, slot: str, leaves: bytes, length_bytes: int) -> None:
        """The slot was read back, and holds the image with these leaves. Nothing is kept where there is no room for it."""
        with contextlib.suppress(OSError):
            write_durably(self._path(slot), length_bytes.to_bytes(_LENGTH_BYTES, "little") + memo_of(leaves))

    def take(self, slot: str, length_bytes: int) -> bytes | None:
        """What the slot is about to be filled with has this length: `memo_of` what it held, if that had the same.

        It is gone then: after a cut, what was written since is to be found.
        """
        kept = self.look(slot)
        try:
            self._path(slot).unlink(missing_ok=True)
        except OSError:
            return None
        return kept[1] if kept is not None and kept[0] == length_bytes else None

    def look(self, slot: str) -> tuple[int, bytes] | None:
        """The length of the image in a slot, and its memo, which stays; None where nothing is remembered."""
        try:
            with self._path(slot).open("rb") as file:
                length_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
                memo_bytes = MEMO_BYTES * block_count(min(length_bytes, IMAGE_BYTES_MAX))
                memo = file.read(memo_bytes + 1)
        except OSError:
            return None
        return (length_bytes, memo) if memo and len(memo) == memo_bytes else None

    def _path(self, slot: str) -> Path:
        return self._folder / f"slot-{slot}.memo"
