"""What the keeper knows of the slots, and may therefore do with them. Pure; the file it is kept in is `book_file`.

A slot is *proved* for an image once the keeper has judged the signatures and read it back whole, until it is lent again. A slot
is *good* once it was the default while it ran, until it is lent again. Only a proved slot is armed; only a slot that runs, or a
good one, becomes the default. So whoever takes over the daemon can neither boot what was not signed nor make it stay.

Body of the file: msgpack ``[1, floor, holders, roots, [row of slot a, row of slot b]]``; a row is ``[good, image or None]``, an
image ``[infohash, pieces_root, length_bytes, release]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
from attrs import field, frozen

from fruitd.errors import RefusedError, SlotError

SLOTS = ("a", "b")
BOOK_BYTES_MAX = 8 * 1024 * 1024
"""A chain of 1,024 roots of 4 KiB, twice."""
ROOTS_MAX = 1024
"""As many as TUF advises to follow (specification 5.3.3)."""
_FORMAT = 1


@frozen
class Image:
    """An image that a slot was read back against."""

    infohash: bytes
    pieces_root: bytes
    length_bytes: int
    release: int


@frozen
class SlotRow:
    """One slot: the image it is proved for, and whether it was the default while it ran."""

    image: Image | None = None
    good: bool = False


LENT = SlotRow()
"""Nothing is known of a slot that somebody may write."""


def _both(rows: Mapping[str, SlotRow]) -> dict[str, SlotRow]:
    return {slot: rows.get(slot, LENT) for slot in SLOTS}


@frozen
class Book:
    """All the keeper remembers. Every method returns the book that follows."""

    rows: Mapping[str, SlotRow] = field(factory=dict, converter=_both)
    floor: int = 0
    """The highest release that was committed: an older one is not proved any more (TUF: rollback attack)."""
    holders: bytes = b""
    """SHA-256 over the release keys under which the floor was reached. Other keys begin anew, so that an abused key that
    pushed the number up can be got rid of (TUF: fast-forward attack)."""
    roots: tuple[bytes, ...] = ()
    """Records of the trust roots after the one on the card: a root once seen is never forgotten."""

    def row(self, slot: str) -> SlotRow:
        """What is known of a slot; raises `SlotError` for a slot that is none."""
        if slot not in self.rows:
            raise SlotError(f"there is no slot {slot!r:.20}, only {' and '.join(SLOTS)}")
        return self.rows[slot]

    def started(self, active: str, default: str) -> Book:
        """The keeper starts: the slot that runs by default is good, whoever wrote it."""
        if active != default:
            return self
        return self._with(active, attrs.evolve(self.row(active), good=True))

    def lent(self, slot: str, active: str) -> Book:
        """The daemon may write `slot` from now on."""
        if slot == active:
            raise SlotError(f"slot {slot} is the active slot, which is never written")
        self.row(slot)
        return self._with(slot, LENT)

    def proved(self, slot: str, image: Image) -> Book:
        """The slot was read back and holds the image, whose signatures hold."""
        return self._with(slot, attrs.evolve(self.row(slot), image=image))

    def proved_before(self, slot: str, infohash: bytes) -> Image | None:
        """The image the slot was proved for, if it is this one."""
        image = self.row(slot).image
        return image if image is not None and image.infohash == infohash else None

    def check_armable(self, slot: str, infohash: bytes) -> None:
        """Raise `RefusedError` unless the slot is proved for this image."""
        if self.proved_before(slot, infohash) is None:
            raise RefusedError(
                f"slot {slot} was not read back for image {infohash.hex()[:16]} since it was last written"
            )

    def committed(self, slot: str, active: str, default: str) -> Book:
        """`slot` is to become the default; raises `RefusedError` unless it runs, is good, or is the default already."""
        row = self.row(slot)
        if slot not in (active, default) and not row.good:
            raise RefusedError(f"slot {slot} does not run and never was the default: it cannot become it")
        if slot != active:
            return self
        release = row.image.release if row.image is not None else 0
        return attrs.evolve(self._with(slot, attrs.evolve(row, good=True)), floor=max(self.floor, release))

    def believing(self, roots: tuple[bytes, ...], holders: bytes) -> Book:
        """The trust roots were followed to the end of a longer chain, or for the first time."""
        if holders == self.holders:
            return attrs.evolve(self, roots=roots)
        # Numbers that other keys gave count no more: neither the floor, nor what would raise it at the next commit.
        rows = {slot: _unnumbered(row) for slot, row in self.rows.items()}
        return attrs.evolve(self, rows=rows, roots=roots, holders=holders, floor=0)

    def check_release(self, release: int) -> None:
        """Raise `RefusedError` for a release older than one that was committed under the same release keys."""
        if release < self.floor:
            raise RefusedError(
                f"release {release} is older than release {self.floor}, which this node has kept"
            )

    def _with(self, slot: str, row: SlotRow) -> Book:
        return attrs.evolve(self, rows={**self.rows, slot: row})

    def encode(self) -> bytes:
        """The body of the file."""
        rows = [
            [row.good, None if row.image is None else list(attrs.astuple(row.image))]
            for row in self.rows.values()
        ]
        return bytes(msgpack.packb([_FORMAT, self.floor, self.holders, list(self.roots), rows]))

    @classmethod
    def decode(cls, data: bytes) -> Book:
        """Read a body; raises `SlotError` on anything `encode` could not have written."""
        try:
            value = msgpack.unpackb(data, raw=False, use_list=True, max_bin_len=4096, max_array_len=ROOTS_MAX)
            match value:
                case [int(form), int(floor), bytes(holders), list(roots), [list(a), list(b)]] if (
                    form == _FORMAT
                ):
                    rows = {slot: _row(row) for slot, row in zip(SLOTS, (a, b), strict=True)}
                    book = cls(rows, floor, holders, tuple(roots))
                case _:
                    raise SlotError(f"is not of format {_FORMAT}")
            if book.encode() != data:
                raise SlotError("is not in its one canonical encoding")
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise SlotError(f"is not msgpack: {error}") from error
        return book


def _unnumbered(row: SlotRow) -> SlotRow:
    return row if row.image is None else attrs.evolve(row, image=attrs.evolve(row.image, release=0))


def _row(row: list[Any]) -> SlotRow:
    match row:
        case [bool(good), None]:
            return SlotRow(None, good)
        case [bool(good), [bytes(infohash), bytes(pieces_root), int(length_bytes), int(release)]]:
            return SlotRow(Image(infohash, pieces_root, length_bytes, release), good)
    raise SlotError("has a slot that is not [good, image]")
