"""If one of these failed, a node would forget after a restart what it had tried, and boot a bad release again."""

from __future__ import annotations

import contextlib
import json
import random

import attrs
import pytest
from hypothesis import given

from fruitd.errors import RefusedError
from fruitd.state.journal_codec import DOCUMENT_BYTES_MAX, decode_journal, encode_journal
from fruitd.updater.journal import SLOTS, Journal, Quarantine
from tests.fruitd.state.journals import JOURNALS


@given(JOURNALS)
def test_a_journal_comes_back_as_it_was(journal: Journal) -> None:
    """A field that is not kept would be lost at every power cut."""
    assert decode_journal(encode_journal(journal)) == journal


def test_every_field_of_the_journal_is_in_the_strategy() -> None:
    """A new field would not be tested."""
    names = {field.name for field in attrs.fields(Journal)}
    document = json.loads(encode_journal(Journal()))["journal"]
    assert set(document) == names
    assert set(document["slots"]) == set(SLOTS)


def test_the_largest_journal_fits_its_bound() -> None:
    """A node with a long history of bad releases could not read its own journal."""
    entry = Quarantine("f" * 64, 2**53 - 1, "v" * 128, "w" * 1000, 1e12, 99)
    journal = Journal(quarantined=(entry,) * 32, why="w" * 1000)
    assert len(encode_journal(journal)) < DOCUMENT_BYTES_MAX
    assert decode_journal(encode_journal(journal)) == journal


def test_what_a_newer_fruitd_added_is_left_out() -> None:
    """After a rollback the older fruitd would lose the quarantine over a field it does not know."""
    document = json.loads(encode_journal(Journal(highest_release=7)))
    document["journal"]["colour"] = {"of": "the sky"}
    assert decode_journal(json.dumps(document).encode()) == Journal(highest_release=7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempts", "1"),
        ("attempts", 1.5),
        ("attempts", True),
        ("why", None),
        ("state", "flying"),
        ("since_s", "now"),
        ("slots", {"a": None}),
        ("slots", {"a": None, "b": None, "c": None}),
        ("target_slot", "c"),
        ("target", {"release": 1}),
        ("quarantined", [{"infohash": "x"}]),
        ("quarantined", 7),
        ("trial_passed", "yes"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(field: str, value: object) -> None:
    """A damaged journal would be half believed."""
    document = json.loads(encode_journal(Journal()))
    document["journal"][field] = value
    with pytest.raises(RefusedError):
        decode_journal(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"version":2,"journal":{}}',
        b'{"version":1}',
        b'{"version":1,"journal":{"since_s":NaN}}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (DOCUMENT_BYTES_MAX + 1),
    ],
)
def test_what_is_no_journal_is_refused(document: bytes) -> None:
    """The daemon would not start over a damaged file."""
    with pytest.raises(RefusedError):
        decode_journal(document)


@pytest.mark.fuzz
def test_no_bytes_raise_anything_but_our_own_error() -> None:
    """The daemon would not start over a damaged file."""
    rng = random.Random(3)
    base = encode_journal(Journal())
    for _ in range(6_000):
        data = bytearray(base[: rng.randint(0, len(base))] if rng.random() < 0.3 else base)
        for _ in range(rng.randint(1, 6)):
            if data:
                data[rng.randrange(len(data))] = rng.choice(b'0123456789{}[]",:truefalsn\\ \xff')
        with contextlib.suppress(RefusedError):
            decode_journal(bytes(data))
