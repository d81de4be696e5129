"""Looked at too seldom, a parcel's first segment waits; looked at too often, the whole node does."""

from __future__ import annotations

import pytest

from swarm.transfer.piece_order import AHEAD_BYTES, FAST_BYTES
from swarm.transfer.port import ImageJob
from swarm.transfer.torrent_job import EAGER_LOOKS, TorrentJob

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


def test_what_comes_fast_is_asked_for_from_the_beginning_on() -> None:
    """A parcel would be here as a whole before the second of its segments can be made."""
    parcel, few, ahead = job(), FAST_BYTES // PIECE_BYTES, AHEAD_BYTES // PIECE_BYTES
    here = [True] * few + [False] * 10 * ahead
    parcel.tell_arrived(here)
    assert parcel.to_hasten(here) == range(few, few + ahead)
    assert not parcel.to_hasten(here)
    here[few : 2 * few] = [True] * few
    parcel.tell_arrived(here)
    assert parcel.to_hasten(here) == range(few + ahead, 2 * few + ahead)  # each piece once
    here[:-few] = [True] * (len(here) - few)
    parcel.tell_arrived(here)
    assert parcel.to_hasten(here) == range(len(here) - few, len(here))


@pytest.mark.parametrize("before", [0, 500])
def test_what_comes_slowly_is_not_hastened(before: int) -> None:
    """Sites would ask for the same, and have less to give each other; after a restart, too."""
    parcel, few = job(), FAST_BYTES // PIECE_BYTES - 1
    parcel.prepared = frozenset(range(before))
    here = [True] * (before + few) + [False] * few
    assert len(parcel.tell_arrived(here)) == before + few
    assert not parcel.to_hasten(here)


def test_what_comes_in_order_anyway_is_not_hastened() -> None:
    """A cautious parcel would come faster than it may; an image in an order in which neighbours have nothing to give."""
    here = [True] * (FAST_BYTES // PIECE_BYTES) + [False]
    cautious, image = job(cautious_bytes_per_s=1), job(streamed=False)
    for each in (cautious, image):
        each.tell_arrived(here)
        assert not each.to_hasten(here)
    cautious.hurried = True
    assert cautious.to_hasten(here) == range(len(here) - 1, len(here))
