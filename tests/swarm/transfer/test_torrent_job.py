"""Looked at too seldom, a parcel's first segment waits; looked at too often, the whole node does."""

from __future__ import annotations

import pytest

from swarm.transfer.port import ImageJob
from swarm.transfer.torrent_job import EAGER_LOOKS, TorrentJob


def job(*, streamed: bool = True, cautious_bytes_per_s: int = 0) -> TorrentJob:
    asked = ImageJob(b"", bytes(32), "", 1, streamed=streamed, cautious_bytes_per_s=cautious_bytes_per_s)
    return TorrentJob(asked, -1, fetching=True)


def test_until_its_first_piece_has_come_a_parcel_begins() -> None:
    parcel = job()
    assert parcel.begins
    assert parcel.tell_arrived([True, False])
    assert not parcel.begins
    assert not job(streamed=False).begins


def test_a_cautious_one_begins_until_it_has_been_of_use() -> None:
    parcel = job(cautious_bytes_per_s=1)
    parcel.tell_arrived([True, False])
    assert parcel.begins
    parcel.hurried = True
    assert not parcel.begins


@pytest.mark.parametrize("cautious_bytes_per_s", [0, 1])
def test_a_slow_one_has_begun_after_a_while(cautious_bytes_per_s: int) -> None:
    parcel = job(cautious_bytes_per_s=cautious_bytes_per_s)
    parcel.looks = EAGER_LOOKS
    assert not parcel.begins
