"""Chains of records in the store: if they failed, nodes that missed some would never get them, or never be quiet again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from swarm.news.limits import NEWS_LIMITS
from swarm.news.reconcile import BUCKETS, bucket_digests, differing_rows, lacking
from swarm.news.record import Record
from swarm.news.store import CHAIN_AHEAD_MAX, RecordStore, Standing


def link(sequence: int, body: bytes = b"") -> Record:
    return Record("root", b"fruits\0" + sequence.to_bytes(4, "big"), sequence, body)


def holding(first: int, last: int) -> RecordStore:
    store = RecordStore(lambda record: None)
    for number in range(first, last + 1):
        assert store.offer(link(number)).standing is Standing.NEW
    return store


def test_stores_agree_where_the_newest_is_the_same_whatever_came_before() -> None:
    """A node flashed with a late root would compare its store with every peer for ever."""
    early, late = holding(1, 9), holding(7, 9)
    assert early.digest() == late.digest()
    assert early.summary() == late.summary() == [("root", b"fruits", 9, link(9).content_hash[:8])]
    assert late.wanted(early.summary()) == []
    assert lacking(early, range(BUCKETS), late.summary()) == []
    assert early.digest() != holding(1, 8).digest()


@given(st.integers(1, 20), st.integers(0, 20), st.randoms())
def test_what_was_missed_is_asked_for_and_given_oldest_first(
    held: int, missed: int, rng: random.Random
) -> None:
    """A root that comes before the one it follows cannot be judged."""
    behind, ahead = holding(1, held), holding(1, held + missed)
    names = [("root", link(n).key) for n in range(held + 1, held + missed + 1)]
    assert behind.wanted(ahead.summary()) == names
    assert behind.behind_a_chain(ahead.summary()) == bool(missed)
    whole, rows = differing_rows(behind.summary(), bucket_digests(ahead.summary()), 100)
    assert [(r.kind, r.key) for r in lacking(ahead, whole, rows)] == names
    while names:  # any order of arrival ends the same
        name = names.pop(rng.randrange(len(names)))
        behind.offer(link(int.from_bytes(name[1][-4:], "big")))
    assert behind.digest() == ahead.digest()


def test_a_peer_that_claims_a_far_root_costs_one_question() -> None:
    """A liar could keep a node asking for roots that do not exist."""
    held = holding(1, 3)
    wanted = held.wanted([("root", b"fruits", 2**31, bytes(8))])
    assert len(wanted) == CHAIN_AHEAD_MAX
    assert wanted[0] == ("root", link(4).key)
    assert held.wanted([("root", b"nuts", 2**31, bytes(8))]) == []
    assert held.wanted([("root", b"fruits", 2**40, bytes(8))])[-1] == ("root", link(67).key)


def test_a_contradiction_at_the_end_of_a_chain_spreads() -> None:
    """Nodes that heard one of two roots would go on with it while others doubt."""
    one, other = holding(1, 3), holding(1, 2)
    other.offer(link(3, b"rival"))
    assert one.digest() != other.digest()
    assert one.wanted(other.summary()) == [("root", link(3).key)]
    one.offer(link(3, b"rival"))
    other.offer(link(3))
    assert one.digest() == other.digest()


def test_forgetting_the_end_of_a_chain_brings_back_the_one_before() -> None:
    """The digest would name a record that is not held, and no comparison could end."""
    held = holding(1, 4)
    held.forget("root", link(4).key)
    assert held.digest() == holding(1, 3).digest()
    for number in (1, 2, 3):
        held.forget("root", link(number).key)
    assert held.digest() == RecordStore(lambda record: None).digest()


def test_the_number_of_roots_kept_is_bounded_and_the_newest_stay() -> None:
    """Roots could fill the memory of a small Pi, or the newest be dropped for the oldest."""
    most = NEWS_LIMITS["root"].keys_max
    held = holding(1, most + 10)
    entries = held.entries("root")
    assert (len(entries), entries[0].sequence, entries[-1].sequence) == (most, 11, most + 10)
