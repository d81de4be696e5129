"""Which parcels this node keeps: a bounded cache on its data partition, so that others can have them from here. Pure.

Images that are relayed have their room here, too, and count as parcels do. Kept is what was used here, since nodes of one site
mostly come from one release, until the room is needed. What goes first: parcels of which only a part is here, then those that the
manifest names no more, then the oldest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import frozen

SUFFIX = ".parcel"


@frozen
class CachedParcel:
    """A file in the cache."""

    infohash: str
    length_bytes: int
    whole: bool


class ParcelCache:
    """The cache's content, as far as deciding needs it. `bytes_max` 0: there is none, and no parcel is used."""

    def __init__(self, folder: str, bytes_max: int, cached: Iterable[CachedParcel] = ()) -> None:
        """`cached`: the oldest first."""
        self._folder = folder
        self.bytes_max = bytes_max
        self._cached = {parcel.infohash: parcel for parcel in cached}

    def path_of(self, infohash: str) -> str:
        """Where a parcel lies, or would."""
        return f"{self._folder}/{infohash}{SUFFIX}"

    def begun(self, infohash: str) -> bool:
        """Is some of it here?"""
        return infohash in self._cached

    def make_room(self, infohash: str, length_bytes: int, named: Collection[str]) -> list[str] | None:
        """Give this parcel room; which others have to go for it. None where it is larger than the whole cache.

        `named`: infohashes of what the manifest names.
        """
        if length_bytes > self.bytes_max:
            return None
        others = [parcel for parcel in self._cached.values() if parcel.infohash != infohash]
        others.sort(key=lambda parcel: (parcel.whole, parcel.infohash in named))
        held_bytes = sum(parcel.length_bytes for parcel in others)
        going = []
        while held_bytes + length_bytes > self.bytes_max:
            held_bytes -= others[0].length_bytes
            going.append(others.pop(0).infohash)
        self._cached.setdefault(infohash, CachedParcel(infohash, length_bytes, whole=False))
        return going

    def whole(self, infohash: str) -> None:
        """All of it is here; it is the newest now."""
        parcel = self._cached.pop(infohash, None)
        if parcel is not None:
            self._cached[infohash] = CachedParcel(infohash, parcel.length_bytes, whole=True)

    def dropped(self, infohash: str) -> None:
        """It is here no more."""
        self._cached.pop(infohash, None)
