"""The store of records: if it failed, two nodes could meet for ever without agreeing on what is new."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.news.limits import KindLimits
from swarm.news.record import RECORD_BYTES_MAX, Record, Signature
from swarm.news.store import RecordStore, Standing

LIMITS = {"manifest": KindLimits(2), "status": KindLimits(4, lifetime_s=7 * 86_400)}


def believe(record: Record) -> None:
    """A verdict that accepts everything."""


def store(limits: dict[str, KindLimits] | None = None) -> RecordStore:
    return RecordStore(believe, limits or LIMITS)


def record(key: bytes = b"stable", sequence: int = 1, body: bytes = b"x", kind: str = "manifest") -> Record:
    return Record(kind, key, sequence, body)


def content(held: RecordStore) -> set[Record]:
    return {r for kind in LIMITS for entry in held.entries(kind) for r in entry.records}


def oracle(records: list[Record]) -> set[Record]:
    """What a store must hold after seeing these in any order: slow, and plainly the rule in the docstring."""
    kept: set[Record] = set()
    for kind, limits in LIMITS.items():
        highest: dict[bytes, int] = {}
        for r in records:
            if r.kind == kind:
                highest[r.key] = max(highest.get(r.key, -1), r.sequence)
        ranked = sorted(((sequence, key) for key, sequence in highest.items()), reverse=True)
        for sequence, key in ranked[: limits.keys_max]:
            same = {r for r in records if (r.kind, r.key, r.sequence) == (kind, key, sequence)}
            kept |= set(sorted(same, key=lambda r: r.content_hash)[:2])
    return kept


records_of_few_keys = st.lists(
    st.builds(
        Record,
        kind=st.sampled_from(["manifest", "status"]),
        key=st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]),
        sequence=st.integers(1, 3),
        body=st.sampled_from([b"", b"x", b"y", b"z"]),
    ),
    max_size=30,
)


@given(records_of_few_keys, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_any_order_and_any_repetition_ends_in_the_same_store(records, rng):
    """If this failed, nodes that heard the same news in another order would disagree for ever."""
    first, second = store(), store()
    for r in records:
        first.offer(r)
    shuffled = records + rng.choices(records, k=len(records)) if records else []
    rng.shuffle(shuffled)
    for r in shuffled:
        second.offer(r)
    assert content(first) == content(second) == oracle(records)
    assert first.digest() == second.digest()
    assert first.summary() == second.summary()


@given(records_of_few_keys, records_of_few_keys)
@settings(max_examples=150)
def test_two_stores_that_exchange_what_summaries_ask_for_end_equal(ours, theirs):
    """If this failed, a pull between two nodes would leave one of them behind although both did their part."""
    left, right = store(), store()
    for r in ours:
        left.offer(r)
    for r in theirs:
        right.offer(r)
    summary = left.summary()
    for_left = right.missing_from(summary)
    wanted = right.wanted(summary)
    for_right = [r for kind, key in wanted for r in left.get(kind, key).records]
    for r in for_left:
        left.offer(r)
    for r in for_right:
        right.offer(r)
    assert content(left) == content(right) == oracle(ours + theirs)
    assert left.digest() == right.digest()
    assert left.missing_from(right.summary()) == []
    assert left.wanted(right.summary()) == []


@given(records_of_few_keys, records_of_few_keys)
def test_digests_are_equal_exactly_if_the_content_is(ours, theirs):
    """If this failed, nodes would take different news for the same, or sync over and over with nothing to say."""
    left, right = store(), store()
    for r in ours:
        left.offer(r)
    for r in theirs:
        right.offer(r)
    assert (left.digest() == right.digest()) == (content(left) == content(right))


def test_a_store_that_lost_all_it_held_has_the_digest_of_an_empty_one():
    """If this failed, the running sum would drift and equal stores would look different until a restart."""
    held = store()
    for sequence in range(1, 20):
        held.offer(record(sequence=sequence))
        held.offer(record(sequence=sequence, body=b"y"))
    assert held.digest() != store().digest()
    assert held.forget("manifest", b"stable")
    assert not held.forget("manifest", b"stable")
    assert held.digest() == store().digest()
    assert len(held.digest()) == 16


def test_known_and_older_records_are_never_verified():
    """If this failed, repeats and replays would cost a small Pi a signature check each."""
    verified: list[Record] = []
    held = RecordStore(verified.append, LIMITS)
    new, older = record(sequence=5), record(sequence=4)
    assert held.offer(new).standing is Standing.NEW
    assert held.offer(new).standing is Standing.KNOWN
    resigned = Record(new.kind, new.key, new.sequence, new.body, (Signature(bytes(32), bytes(64)),))
    assert held.offer(resigned).standing is Standing.KNOWN
    assert held.offer(older).standing is Standing.OLDER
    assert verified == [new]


def test_a_refused_record_changes_nothing():
    """If this failed, a forged record could displace a good one."""

    def doubt(r: Record) -> None:
        if r.body == b"forged":
            raise RefusedError("forged")

    held = RecordStore(doubt, LIMITS)
    held.offer(record(sequence=1))
    before = held.digest()
    for forged in (record(sequence=9, body=b"forged"), record(sequence=1, body=b"forged")):
        with pytest.raises(RefusedError, match="forged"):
            held.offer(forged)
    assert held.digest() == before
    assert held.get("manifest", b"stable").record == record(sequence=1)


def test_contradicting_records_are_kept_as_proof_until_a_higher_sequence_settles_it():
    """If this failed, a node would act on one half of a contradiction, or never recover from it."""
    held = store()
    one, two = record(body=b"one"), record(body=b"two")
    held.offer(one)
    outcome = held.offer(two)
    assert outcome.standing is Standing.DISPUTED
    assert outcome.news
    assert outcome.displaced == ()
    entry = held.get("manifest", b"stable")
    assert entry.disputed
    assert entry.record is None
    assert set(entry.records) == {one, two}
    settled = held.offer(record(sequence=2))
    assert settled.standing is Standing.NEW
    assert set(settled.displaced) == {one, two}
    assert held.get("manifest", b"stable").record == record(sequence=2)


def test_a_third_contradiction_is_news_only_if_its_hash_is_smaller():
    """If this failed, a signer could grow the store, or keep stores apart, with contradiction after contradiction."""
    bodies = sorted((record(body=bytes([i])) for i in range(9)), key=lambda r: r.content_hash)
    held = store()
    held.offer(bodies[3])
    held.offer(bodies[5])
    assert held.offer(bodies[8]).standing is Standing.KNOWN
    outcome = held.offer(bodies[0])
    assert outcome.standing is Standing.DISPUTED
    assert outcome.displaced == (bodies[5],)
    assert held.get("manifest", b"stable").records == (bodies[0], bodies[3])


def test_a_full_kind_forgets_those_silent_longest_and_refuses_those_behind_them_unverified():
    """If this failed, strangers could fill a node's memory or push out nodes that are alive."""
    verified: list[Record] = []
    held = RecordStore(verified.append, LIMITS)
    for sequence in range(10, 14):
        held.offer(record(bytes([sequence]), sequence, kind="status"))
    outcome = held.offer(record(b"new", 20, kind="status"))
    assert outcome.forgotten == (("status", bytes([10])),)
    assert held.offer(record(bytes([10]), 10, kind="status")).standing is Standing.OLDER
    assert held.wanted([("status", bytes([10]), 10, bytes(8))]) == []
    assert held.wanted([("status", bytes([10]), 30, bytes(8))]) == [("status", bytes([10]))]
    assert len(verified) == 5
    assert len(held.entries("status")) == 4


def test_a_full_kind_that_moves_on_moves_its_bar_as_well():
    """If this failed, a full store would drop a node that has just spoken and keep one that is long silent."""
    held = store()
    for sequence in range(10, 14):
        held.offer(record(bytes([sequence]), sequence, kind="status"))
    assert held.offer(record(b"late", 5, kind="status")).standing is Standing.OLDER
    held.offer(record(bytes([10]), 30, kind="status"))
    assert held.wanted([("status", b"late", 10, bytes(8))]) == []
    assert held.offer(record(b"new", 20, kind="status")).forgotten == (("status", bytes([11])),)
    assert held.get("status", bytes([10])).sequence == 30


def test_an_expired_status_goes_and_does_not_come_back_from_a_peer_that_still_has_it():
    """If this failed, nodes gone for months would haunt every list, or two stores would swap the dead for ever."""
    held = store()
    week_ms = 7 * 86_400_000
    old, young = record(b"old", 3_600_000, kind="status"), record(b"young", 9_000_000, kind="status")
    manifest = record(sequence=1)
    for r in (old, young, manifest):
        held.offer(r)
    assert held.prune((week_ms + 3_600_000) / 1000) == []
    assert held.prune((week_ms + 7_200_000) / 1000) == [("status", b"old")]
    assert held.offer(old).standing is Standing.OLDER
    assert held.wanted([("status", b"old", old.sequence, bytes(8))]) == []
    assert content(held) == {young, manifest}


def test_a_clock_that_ran_ahead_costs_no_news_once_it_is_right_again():
    """If this failed, an hour in a wrong century, by a broken clock or a stolen key, would cost a node all statuses until it
    is restarted."""
    held = store()
    status = record(b"young", 9_000_000, kind="status")
    held.offer(status)
    assert held.prune(4e9) == [("status", b"young")]
    held.prune(9_100.0)
    assert held.offer(status).standing is Standing.NEW


def test_kinds_nobody_asked_for_are_refused_and_not_wanted():
    """If this failed, any invented kind would be stored and spread, or asked for again and again."""
    held = store()
    with pytest.raises(RefusedError, match="'gossip'"):
        held.offer(record(kind="gossip"))
    assert held.wanted([("gossip", b"k", 1, bytes(8))]) == []


def test_a_record_too_large_to_travel_is_refused():
    """If this failed, a node could hold news that no peer would ever take."""
    held = store()
    with pytest.raises(RefusedError, match="larger"):
        held.offer(record(body=bytes(RECORD_BYTES_MAX)))
    assert held.entries("manifest") == []


def test_missing_records_come_newest_first():
    """If this failed, a peer that cuts a long answer short would lose the newest news instead of the oldest."""
    held = store()
    for sequence in (5, 9, 7):
        held.offer(record(bytes([sequence]), sequence, kind="status"))
    assert [r.sequence for r in held.missing_from([])] == [9, 7, 5]
