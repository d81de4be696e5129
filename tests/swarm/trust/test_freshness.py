"""The codec of freshness: if it failed, a node could be told that yesterday's manifest is today's."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.trust.freshness import VALID_FOR_S_MAX, Freshness
from swarm.trust.times import TIME_S_MAX

FRESH = Freshness("fruits", "stable", 7, bytes(range(32)), 1_800_000_000, 7 * 86_400)
names = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=40).filter(
    str.isprintable
)


@given(
    st.builds(
        Freshness,
        names,
        names,
        st.integers(0, 2**53 - 1),
        st.binary(min_size=32, max_size=32),
        st.integers(0, TIME_S_MAX),
        st.integers(1, VALID_FOR_S_MAX),
    )
)
def test_what_is_written_is_read_again(fresh: Freshness) -> None:
    """If this failed, some node would not hear that its manifest is current; times beyond 2038 are times like others."""
    assert Freshness.decode(fresh.encode()) == fresh


@pytest.mark.parametrize(
    "changes",
    [
        {"swarm": ""}, {"channel": "a\0"}, {"channel": "x" * 129}, {"manifest_sequence": -1}, {"manifest_sequence": True},
        {"manifest_hash": bytes(31)}, {"at_s": -1}, {"at_s": TIME_S_MAX + 1}, {"valid_for_s": 0},
        {"valid_for_s": VALID_FOR_S_MAX + 1},
    ],
)  # fmt: skip
def test_a_field_outside_its_bounds_is_refused(changes: dict[str, object]) -> None:
    """If this failed, one word of a stolen key could stand for centuries, or break a reader."""
    with pytest.raises(RefusedError):
        Freshness.decode(attrs.evolve(FRESH, **changes).encode())


@given(st.binary(max_size=200))
def test_nothing_but_our_own_error_escapes(data: bytes) -> None:
    """If this failed, a peer could end the daemon with a record."""
    try:
        fresh = Freshness.decode(data)
    except RefusedError:
        return
    assert fresh.encode() == data


def test_other_formats_and_second_encodings_are_refused() -> None:
    """If this failed, two records could say the same with different bytes, which looks like a contradiction."""
    fields = msgpack.unpackb(FRESH.encode())
    padded = b"\xdc\x00\x07" + FRESH.encode()[1:]
    for wrong in (msgpack.packb([2, *fields[1:]]), msgpack.packb([*fields, 0]), padded, b""):
        with pytest.raises(RefusedError):
            Freshness.decode(wrong)
