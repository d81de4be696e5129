"""Bencoding: one value, one encoding, and nothing but our own error on anything else."""

from __future__ import annotations

from typing import Any

import libtorrent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bep35.bencode import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    VALUES_MAX,
    decode,
    encode,
    join_raw,
    raw_items,
)
from bep35.errors import BencodeError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

VALUES = st.recursive(
    st.integers(INTEGER_MIN, INTEGER_MAX) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=6), inner, max_size=5),
    max_leaves=25,
)
DICTIONARIES = st.dictionaries(st.binary(max_size=8), VALUES, max_size=6)


def oracle(value: Any) -> bytes:
    """BEP-3 word for word."""
    if isinstance(value, int):
        return b"i" + str(value).encode() + b"e"
    if isinstance(value, bytes):
        return str(len(value)).encode() + b":" + value
    if isinstance(value, list):
        return b"l" + b"".join(oracle(item) for item in value) + b"e"
    return b"d" + b"".join(oracle(key) + oracle(value[key]) for key in sorted(value)) + b"e"


@UNHURRIED
@given(VALUES)
def test_encoding_is_bep_3_and_comes_back(value: Any) -> None:
    """Torrents we write would be unreadable to others, or to ourselves."""
    assert encode(value) == oracle(value)
    assert decode(oracle(value)) == value


@UNHURRIED
@given(DICTIONARIES)
def test_libtorrent_reads_what_we_write(value: Any) -> None:
    """libtorrent would see another torrent than the one that was signed."""
    assert libtorrent.bdecode(encode(value)) == value


@UNHURRIED
@given(DICTIONARIES)
def test_raw_items_are_slices_that_join_again(value: dict[bytes, Any]) -> None:
    """Signing would rewrite parts of a torrent it must leave alone."""
    raw = encode(value)
    items = raw_items(raw)
    assert {key: decode(part) for key, part in items.items()} == value
    assert join_raw(items) == raw


@UNHURRIED
@given(
    st.lists(
        st.sampled_from([b"d", b"l", b"e", b"i", b"0", b"1", b"-", b":", b"0:", b"1:a", b"i1e"]), max_size=12
    )
)
def test_whatever_is_accepted_is_canonical(parts: list[bytes]) -> None:
    """Two different byte strings would mean the same signed torrent."""
    data = b"".join(parts)
    try:
        value = decode(data)
    except BencodeError:
        return
    assert oracle(value) == data


def test_text_is_written_as_utf_8_and_tuples_as_lists() -> None:
    """A signer stating text would sign something else than a checker reads."""
    assert encode({"naïve": ("a", 1)}) == "d6:naïvel1:ai1eee".encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"e",
        b"x",
        b"i e",
        b"ie",
        b"i-e",
        b"i-0e",
        b"i01e",
        b"i-01e",
        b"i+1e",
        b"i1",
        b"i1.0e",
        b"i9223372036854775808e",
        b"i-9223372036854775808e",
        b"i" + b"9" * 5000 + b"e",
        b"01:a",
        b"2:a",
        b"-1:a",
        b"1",
        b"1:",
        b"99999999999:a",
        b"9999999999:a",
        "١:a".encode(),
        b"l",
        b"li1e",
        b"d",
        b"d1:ae",
        b"d1:ai1e",
        b"di1ei1ee",
        b"d1:bi1e1:ai1ee",
        b"d1:ai1e1:ai1ee",
        b"i1ei1e",
        b"i1e\n",
        b" i1e",
    ],
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    """A torrent could be read in two ways."""
    with pytest.raises(BencodeError):
        decode(data)
    with pytest.raises(BencodeError):
        raw_items(b"d1:a" + data + b"e")


def test_bounds_hold_at_their_edge() -> None:
    """A hostile document could exhaust the stack or the memory of a small node."""
    deep = b"l" * DEPTH_MAX + b"e" * DEPTH_MAX
    many = b"l" + b"le" * (VALUES_MAX - 1) + b"e"
    assert decode(deep) == decode(encode(decode(deep)))
    assert len(decode(many)) == VALUES_MAX - 1  # type: ignore[arg-type]
    for beyond in (b"l" + deep + b"e", b"l" * 100_000, b"d0:" * 100_000, b"lle" + many[1:]):
        with pytest.raises(BencodeError):
            decode(beyond)
    assert decode(b"3:abc", size_bytes_max=5) == b"abc"
    with pytest.raises(BencodeError, match="limit is 4"):
        decode(b"3:abc", size_bytes_max=4)


def test_only_a_dictionary_has_raw_items() -> None:
    """A list would pass for a torrent."""
    for data in (b"", b"le", b"i1e", b"1:d", b"de "):
        with pytest.raises(BencodeError):
            raw_items(data)


@pytest.mark.parametrize(
    "value",
    [True, None, 1.5, {1: 2}, {"a": b"", b"a": b""}, 2**63, -(2**63), "\ud800", [set()]],
)
def test_what_bencoding_cannot_say_is_refused(value: object) -> None:
    """Something else than was meant would be signed without a word."""
    with pytest.raises(BencodeError):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """Encoding would overflow the stack with a foreign error."""
    value: list[object] = []
    value.append(value)
    with pytest.raises(BencodeError, match="nested"):
        encode(value)
