"""Two stores that compare end up with the same news, at the cost of what differs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.address import Address
from swarm.comparison import ROUNDS_MAX, Comparison
from swarm.errors import RefusedError
from swarm.news.reconcile import BUCKETS, bucket_digests, bucket_of, differing_rows, take
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.wire import (
    RECORDS_MAX,
    ROWS_MAX,
    Exchange,
    Records,
    Sync,
    SyncReply,
    decode_reply,
    decode_request,
    encode,
)

HERE = Address("10.0.0.1", 1)


def store_of(records: Iterable[Record], refused: frozenset[bytes] = frozenset()) -> RecordStore:
    def verdict(record: Record) -> None:
        if record.content_hash in refused:
            raise RefusedError("not here")

    store = RecordStore(verdict)
    for record in records:
        store.offer(record)
    return store


def compare(asker: RecordStore, answerer: RecordStore) -> tuple[int, int]:
    """Run one comparison to its end, every message through its codec; messages and bytes it took."""
    talk = Comparison(b"", HERE, b"")
    request: Sync | Exchange | None = talk.begin(asker)
    count = size = 0
    while request is not None:
        data = encode(request)
        count, size = count + 1, size + len(data)
        message = decode_request(data)
        if isinstance(message, Sync):
            whole, rows = differing_rows(answerer.summary(), message.buckets, ROWS_MAX)
            reply = decode_reply(encode(SyncReply(whole, tuple(rows), ())))
            assert isinstance(reply, SyncReply)
            size += len(encode(reply))
            request = talk.compared(reply, asker)
            continue
        assert isinstance(message, Exchange)
        offer_all(answerer, message.records)
        found = [r for kind, key in message.wanted if (e := answerer.get(kind, key)) for r in e.records]
        given = Records(tuple(take(found, RECORDS_MAX, 160 * 1024)[0]))
        size += len(encode(given))
        offer_all(asker, given.records)
        talk.changed = talk.changed or bool(given.records)
        request = talk.exchanged(given.records, asker)
    return count, size


def offer_all(store: RecordStore, records: Iterable[Record]) -> None:
    for record in records:
        try:
            store.offer(record)
        except RefusedError:
            continue


records = st.builds(
    Record,
    st.sampled_from(["manifest", "status"]),
    st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
    st.integers(1, 3),
    st.sampled_from([b"x", b"y", b"z"]),
)


@settings(max_examples=150)
@given(mine=st.lists(records, max_size=12), theirs=st.lists(records, max_size=12))
def test_after_comparing_both_hold_all_news(mine: list[Record], theirs: list[Record]) -> None:
    """Nodes that meet would go on disagreeing about what is new."""
    asker, answerer = store_of(mine), store_of(theirs)
    everything = store_of(mine + theirs)
    compare(asker, answerer)
    assert asker.summary() == everything.summary()
    assert answerer.summary() == everything.summary()
    assert asker.digest() == answerer.digest() == everything.digest()


def test_cost_follows_the_difference_not_the_store() -> None:
    """Each comparison of large swarms would cross a thin uplink with all that both know already."""
    common = [Record("status", n.to_bytes(20, "big"), 5, bytes(300)) for n in range(2000)]
    asker = store_of(common)
    answerer = store_of([*common, Record("manifest", b"stable", 7, b"news")])
    count, size = compare(asker, answerer)
    assert asker.digest() == answerer.digest()
    assert count == 2
    assert size < 3500


def test_a_newcomer_gets_everything_and_manifests_first() -> None:
    """A node that joins late would wait for a thousand statuses before it hears of the release."""
    asker = store_of([])
    full = [Record("status", n.to_bytes(20, "big"), 5, bytes(300)) for n in range(1500)]
    answerer = store_of([*full, Record("manifest", b"stable", 7, b"news")])
    talk = Comparison(b"", HERE, b"")
    whole, rows = differing_rows(answerer.summary(), talk.begin(asker).buckets, ROWS_MAX)
    first = talk.compared(SyncReply(whole, tuple(rows), ()), asker)
    assert first is not None
    assert first.wanted[0] == ("manifest", b"stable")
    compare(asker, answerer)
    assert asker.digest() == answerer.digest()


def test_more_rows_than_fit_are_told_in_turns() -> None:
    """Two large stores would never agree because one reply cannot hold the difference."""
    asker = store_of([])
    answerer = store_of([Record("status", n.to_bytes(20, "big"), 5, b"") for n in range(ROWS_MAX + 500)])
    compare(asker, answerer)
    assert asker.digest() == answerer.digest()


def test_buckets_not_told_whole_prove_no_lack() -> None:
    """A node would send a peer thousands of records it has, because the peer could not list them all."""
    rows = [Record("status", n.to_bytes(20, "big"), 5, b"") for n in range(400)]
    store = store_of(rows)
    whole, told = differing_rows(store.summary(), bucket_digests([]), 100)
    assert 0 < len(whole) < BUCKETS
    assert {bucket_of(row[0], row[1]) for row in told} == set(whole)
    none, some = differing_rows(store.summary(), bucket_digests([]), 1)
    assert none == ()
    assert len(some) == 1


def test_it_ends_though_the_other_refuses_or_lies() -> None:
    """A peer that promises records and never gives them would hold a node in one comparison for ever."""
    forged = Record("manifest", b"stable", 9, b"forged")
    asker = store_of([], frozenset({forged.content_hash}))
    answerer = store_of([forged])
    assert compare(asker, answerer)[0] <= 3
    assert asker.summary() == []
    talk = Comparison(b"", HERE, b"", wants=[("status", bytes([n])) for n in range(200)])
    request: Sync | Exchange | None = talk.next_exchange()
    asked = 0
    while request is not None:
        asked += 1
        assert asked <= ROUNDS_MAX
        request = talk.exchanged([], asker)
    assert asked == 4


@pytest.mark.parametrize(
    ("count_max", "bytes_max", "expected"), [(2, 10_000, 2), (9, 700, 2), (9, 10_000, 5)]
)
def test_take_keeps_both_bounds(count_max: int, bytes_max: int, expected: int) -> None:
    """A message could outgrow what the other side reads, and nothing would pass any more."""
    five = [Record("status", bytes([n]), 1, bytes(300)) for n in range(5)]
    first, rest = take(five, count_max, bytes_max)
    assert len(first) == expected
    assert first + rest == five
