"""The record's codec: if it failed, a peer's bytes could crash a node or mean two things."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.news.record import RECORD_BYTES_MAX, Record, Signature

signatures = st.builds(Signature, st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
records = st.builds(
    Record,
    kind=st.text(st.characters(codec="utf-8"), min_size=1, max_size=16),
    key=st.binary(max_size=64),
    sequence=st.integers(0, 2**53 - 1),
    body=st.binary(max_size=1000),
    signatures=st.lists(signatures, max_size=16).map(tuple),
)


@given(records)
def test_what_is_written_is_read_again(record):
    """If this failed, a record would change on its way from node to node and its signatures would break."""
    again = Record.decode(record.encode())
    assert again == record
    assert again.content_hash == record.content_hash


@given(records, st.data())
def test_cut_short_or_with_bytes_behind_it_is_refused(record, data):
    """If this failed, two encodings of one record would spread as different bytes."""
    raw = record.encode()
    cut = data.draw(st.integers(0, len(raw) - 1))
    for wrong in (raw[:cut], raw + b"\0"):
        with pytest.raises(RefusedError):
            Record.decode(wrong)


def test_the_kind_is_part_of_what_is_signed():
    """If this failed, a signature made for a status could be passed off as one for a manifest."""
    one = Record("status", b"k", 1, b"b")
    assert one.signed_bytes != Record("manifest", b"k", 1, b"b").signed_bytes
    assert one.signed_bytes.startswith(b"fruit-record-1\0")
    assert (
        one.content_hash == Record("status", b"k", 1, b"b", (Signature(bytes(32), bytes(64)),)).content_hash
    )


@pytest.mark.parametrize(
    "envelope",
    [
        [2, "k", b"", 0, b"", []],
        [1, "k", b"", 0, b""],
        [1, "", b"", 0, b"", []],
        [1, "k" * 17, b"", 0, b"", []],
        [1, b"k", b"", 0, b"", []],
        [1, "k", bytes(65), 0, b"", []],
        [1, "k", "", 0, b"", []],
        [1, "k", b"", -1, b"", []],
        [1, "k", b"", 2**53, b"", []],
        [1, "k", b"", True, b"", []],
        [1, "k", b"", 0.0, b"", []],
        [1, "k", b"", 0, "", []],
        [1, "k", b"", 0, b"", [[bytes(32), bytes(63)]]],
        [1, "k", b"", 0, b"", [[bytes(31), bytes(64)]]],
        [1, "k", b"", 0, b"", [[bytes(32), bytes(64)]] * 17],
        {"kind": "k"},
    ],
)
def test_every_wrong_field_is_refused(envelope):
    """If this failed, a record that no honest node writes would reach the store."""
    with pytest.raises(RefusedError):
        Record.decode(msgpack.packb(envelope))


def test_oversize_is_refused_before_it_is_read():
    """If this failed, one datagram could make a node parse megabytes."""
    with pytest.raises(RefusedError, match=str(RECORD_BYTES_MAX)):
        Record.decode(bytes(RECORD_BYTES_MAX + 1))


@pytest.mark.fuzz
@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none()
        | st.integers(-9, 9)
        | st.binary(max_size=70)
        | st.text(st.characters(codec="utf-8"), max_size=20),
        lambda inner: st.lists(inner, max_size=7),
        max_leaves=20,
    ).map(msgpack.packb)
)
@settings(max_examples=800, deadline=None)
def test_fuzz_only_refusals_escape(data):
    """If this failed, a peer could stop a node with one packet."""
    try:
        record = Record.decode(data)
    except RefusedError:
        return
    assert record.encode() == data
