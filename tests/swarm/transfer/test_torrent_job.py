"""Looked at too seldom, a parcel's first segment waits; looked at too often, the whole node does."""

from __future__ import annotations

import pytest

from swarm.transfer.piece_order import AHEAD_BYTES, BEGINNING_BYTES, first_until
from swarm.transfer.port import ImageJob
from swarm.transfer.torrent_job import EAGER_LOOKS, FAST_BYTES, TorrentJob

PIECE_BYTES = 64 * 1024


def job(*, streamed: bool = True, cautious_bytes_per_s: int = 0) -> TorrentJob:
    asked = ImageJob(b"", bytes(32), "", 1, streamed=streamed, cautious_bytes_per_s=cautious_bytes_per_s)
    return TorrentJob(asked, -1, fetching=True, piece_bytes=PIECE_BYTES)


def test_until_its_first_piece_has_come_a_parcel_begins() -> None:
    parcel = job()
    assert parcel.is_urgent
    assert parcel.tell_arrived([True, False])
    assert not parcel.is_urgent
    assert not job(streamed=False).is_urgent


def test_a_cautious_one_begins_until_it_has_been_of_use() -> None:
    parcel = job(cautious_bytes_per_s=1)
    parcel.tell_arrived([True, False])
    assert parcel.is_urgent
    parcel.hurried = True
    assert not parcel.is_urgent


@pytest.mark.parametrize("cautious_bytes_per_s", [0, 1])
def test_a_slow_one_has_begun_after_a_while(cautious_bytes_per_s: int) -> None:
    parcel = job(cautious_bytes_per_s=cautious_bytes_per_s)
    parcel.looks = EAGER_LOOKS
    assert not parcel.is_urgent


def test_what_comes_fast_is_looked_at_often() -> None:
    """All that was asked for first would have come long before more is."""
    parcel, few = job(), FAST_BYTES // PIECE_BYTES
    parcel.tell_arrived([True] * few + [False] * few)
    assert parcel.is_urgent
    parcel.tell_arrived([True] * (2 * few - 1) + [False])
    assert not parcel.is_urgent
    image = job(streamed=False)
    image.tell_arrived([True] * few)
    assert not image.is_urgent


def test_as_much_is_asked_for_first_as_has_come_in_a_row() -> None:
    """A header would come late on a slow line, or a fast one would be asked for a little at a time."""
    beginning, most = BEGINNING_BYTES // PIECE_BYTES, AHEAD_BYTES // PIECE_BYTES
    assert first_until(0, PIECE_BYTES) == beginning
    assert first_until(beginning - 1, PIECE_BYTES) == 2 * beginning - 1
    assert first_until(3 * beginning, PIECE_BYTES) == 6 * beginning
    assert first_until(10 * most, PIECE_BYTES) == 11 * most
    assert first_until(0, 16 * BEGINNING_BYTES) == 1


def test_each_piece_is_hastened_once() -> None:
    """libtorrent would be told of thousands of pieces ten times a second; or one would never be asked for first."""
    parcel, here = job(), [False] * 100
    hastened: list[int] = []
    while not all(here):
        hastened += parcel.to_hasten(here)
        first = here.index(False)
        here[first] = here[min(first + 7, len(here) - 1)] = True
    assert hastened == list(range(len(here)))


def test_what_comes_in_order_anyway_is_not_hastened() -> None:
    """A cautious parcel would come faster than it may; an image in an order in which neighbours have nothing to give."""
    cautious = job(cautious_bytes_per_s=1)
    assert not cautious.to_hasten([False] * 9)
    cautious.hurried = True
    assert cautious.to_hasten([False] * 9) == range(9)
    assert not job(streamed=False).to_hasten([False] * 9)
