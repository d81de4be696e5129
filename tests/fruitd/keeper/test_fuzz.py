"""What the keeper reads: requests from a daemon that may be somebody else's by now, and its own book after a power cut."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.errors import FruitError
from fruitd.keeper import wire
from fruitd.keeper.book import Book, Image
from tests.fruitd.keeper.bench import proof

SEEDS = [
    wire.encode_request(wire.Check("b", proof())),
    wire.encode_request(wire.Lend("b", 1 << 40)),
    wire.encode_failed(FruitError("no")),
    Book().proved("b", Image(bytes(32), bytes(32), 1, 1)).encode(),
]


@pytest.mark.fuzz
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.integers(0, 5000),
)
def test_only_our_own_errors_escape(seed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """One bad message, or one bad sector, and no slot of the node could be armed again."""
    data = bytearray(seed)
    for at, value in changes:
        data[at % len(data)] = value
    mutated = bytes(data)[: cut or None]
    for read in (wire.decode_request, wire.decode_reply, Book.decode):
        with contextlib.suppress(FruitError):
            read(mutated)


@given(st.integers(0, 2**53), st.booleans(), st.booleans(), st.integers(1, 2**40))
def test_a_book_is_read_as_it_was_written(floor: int, good: bool, proved: bool, length_bytes: int) -> None:
    """The keeper would forget what it had proved, or believe what it had not."""
    book = Book(floor=floor).started("a", "a" if good else "b")
    if proved:
        book = book.proved("b", Image(bytes(32), bytes(32), length_bytes, 7))
    assert Book.decode(book.encode()) == book
