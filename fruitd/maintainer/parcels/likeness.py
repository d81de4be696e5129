"""Which pages of what a node already has make the best dictionary for some fresh bytes.

Both are sampled at places that their bytes choose (about one in 256): at each, the CRC of 16 bytes is a *feature*. Where a fresh
feature was seen before, it is a vote for that page, and a smaller one for the pages around it: a file that was compiled again has
new addresses everywhere and keeps most of its features, and what is between two of them belongs to the same file.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from zlib import crc32

from fruitd.maintainer.parcels.mapping import Data
from fruitd.maintainer.parcels.movement import PAGE_BYTES, byte_class

FEATURE_BYTES = 16
_PLACE = re.compile(byte_class(5) + byte_class(13), re.DOTALL)
_SLOTS_BITS_MIN, _SLOTS_BITS_MAX = 16, 26
_BYTES_PER_SLOT = 128
_GONE_WEIGHT = 3
_NEIGHBOURS = ((0, 8), (1, 4), (-1, 4), (2, 2), (-2, 2), (3, 1), (-3, 1))


class Likeness:
    """Where features were seen first. Six bytes for every 128 bytes of both images."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: how much it is going to see."""
        bits = (bytes_max // _BYTES_PER_SLOT).bit_length()
        self._mask = (1 << min(max(bits, _SLOTS_BITS_MIN), _SLOTS_BITS_MAX)) - 1
        self._pages = array("I", bytes(4 * (self._mask + 1)))
        self._tags = array("H", bytes(2 * (self._mask + 1)))

    def learn(self, data: Data, at: int, end: int, page_offset: int) -> None:
        """See bytes `at` to `end`; the page of byte n is called n // PAGE_BYTES + page_offset."""
        mask, pages, tags = self._mask, self._pages, self._tags
        for match in _PLACE.finditer(data, at, end):
            place = match.start()
            feature = crc32(data[place : place + FEATURE_BYTES])
            slot = feature & mask
            # The first one stays: whatever is there many times is needed once.
            if not pages[slot]:
                pages[slot] = place // PAGE_BYTES + page_offset + 1
                tags[slot] = feature >> 16

    def votes(self, parts: Iterable[tuple[Data, int, int]]) -> dict[int, int]:
        """How many features of these bytes (of what, from where, to where) each page has."""
        mask, pages, tags = self._mask, self._pages, self._tags
        votes: dict[int, int] = {}
        for data, at, end in parts:
            for match in _PLACE.finditer(data, at, end):
                place = match.start()
                feature = crc32(data[place : place + FEATURE_BYTES])
                slot = feature & mask
                page = pages[slot]
                if page and tags[slot] == feature >> 16:
                    votes[page - 1] = votes.get(page - 1, 0) + 1
        return votes


def best_pages(
    votes: dict[int, int], gone: Sequence[int], most: int, usable: Callable[[int], bool]
) -> list[int]:
    """At most `most` usable pages, in order: those with the most votes for themselves and their neighbours.

    Pages that are `gone`, in the older image and nowhere in the new one, count thrice: what took their place is likely what
    is to be packed. Where room is left, more of these are taken, nearest first to those that were chosen. `gone` rises.
    """
    scores: dict[int, int] = {}
    for page, count in votes.items():
        for distance, weight in _NEIGHBOURS:
            near = page + distance
            scores[near] = scores.get(near, 0) + weight * count
    for page in gone:
        if page in scores:
            scores[page] *= _GONE_WEIGHT
    ranked = sorted((page for page in scores if usable(page)), key=lambda page: (-scores[page], page))
    chosen = sorted(ranked[:most])
    if len(chosen) < most:
        rest = [page for page in gone if page not in scores]
        rest.sort(key=lambda page: (_distance(chosen, page), page))
        chosen = sorted(chosen + rest[: most - len(chosen)])
    return chosen


def _distance(chosen: Sequence[int], page: int) -> int:
    """Pages to the nearest one of `chosen`, which rises."""
    at = bisect_left(chosen, page)
    return min((abs(page - near) for near in chosen[max(at - 1, 0) : at + 1]), default=0)
