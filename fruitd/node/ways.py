"""The ways in which the rest of an image can come, what each costs, and which is the cheapest. Pure.

Block by block from the image's own torrent, always; by a parcel, where the manifest names one that fits: from the release that
runs here, or from nothing. Costs are bytes to fetch, known before anything is begun.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import frozen

from fruitd.amounts import size
from swarm.transfer.port import BLOCK_BYTES
from swarm.trust.manifest import NamedParcel


def usable(
    parcels: Iterable[NamedParcel], running_root: bytes | None, lost: Collection[bytes]
) -> tuple[NamedParcel, ...]:
    """Those that this node can use, the cheapest first.

    Args:
        parcels: what the manifest names for the release.
        running_root: pieces root of the image in the active slot; None where it is not known.
        lost: infohashes of parcels that led no further in this try.
    """
    fitting = [p for p in parcels if p.infohash not in lost and p.from_root in (b"", running_root or b"")]
    return tuple(sorted(fitting, key=lambda parcel: (parcel.length_bytes, parcel.infohash)))


def search_first(fitting: Iterable[NamedParcel]) -> bool:
    """Is it worth looking for blocks that have moved, before a way is chosen?

    A difference to what runs here has them all at a smaller price; looking takes four hashes for each block of the image.
    """
    return not any(parcel.from_root for parcel in fitting)


def by_parcel_words(parcel: NamedParcel, fetch_bytes: int, missing_bytes: int) -> str:
    """How the rest comes, for the history."""
    which = "the parcel from the release that runs" if parcel.from_root else "the parcel from nothing"
    return f"{size(missing_bytes)} to make with {which}, {size(fetch_bytes)} to fetch"


CAUTIOUS_S = 20
"""Until a parcel has shown that it fits what runs here, it comes as slowly as the cheapest other way would in so many seconds:
found out a second later, it has cost a twentieth of that way more. Longer makes nodes wait for its first segment; shorter costs
bytes."""
CAUTIOUS_BYTES_PER_S_MAX = 1024 * 1024
"""And no faster than this, since nothing says how long a card takes to read the dictionaries of the first segment."""


def cautious_bytes_per_s(other_bytes: int) -> int:
    """How fast to fetch a parcel that may be of no use, where the cheapest other way costs so many bytes."""
    return min(max(other_bytes // CAUTIOUS_S, BLOCK_BYTES), CAUTIOUS_BYTES_PER_S_MAX)


@frozen
class Harvest:
    """What a parcel has brought so far, in bytes of the image."""

    right_bytes: int
    wrong_bytes: int
    """Made, and not what the image's signed hashes say."""
    ahead_bytes: int
    """Of the parcel, not used yet."""
    missing_bytes: int
    """Of the image, not in place yet."""

    def goes_on(self, other_bytes: int) -> bool:
        """Is it still cheaper to use the rest of the parcel and heal what it makes wrong than to turn to another way?

        `other_bytes`: what the cheapest other way would cost from here on. What was wrong so far is taken for the share that
        will be wrong: a root that was mounted for writing spoils a block here and there, another image nearly all of them.
        """
        made = self.right_bytes + self.wrong_bytes
        if not self.wrong_bytes or not made:
            return True
        healing_bytes = self.missing_bytes * self.wrong_bytes // made
        return self.ahead_bytes + healing_bytes <= other_bytes
