"""Who gave how much, kept beyond the end of connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarm.address import Address
from swarm.transfer.sources import NOBODY, SOURCES_MAX, Connection, SourceLedger

WHERE = Address("192.0.2.1", 47102)
A, B, C = (bytes([letter]) * 20 for letter in b"ABC")


def _open(node_id: bytes, received_bytes: int, rate_bytes_per_s: float = 0.0) -> Connection:
    return Connection(node_id, WHERE, received_bytes, rate_bytes_per_s)


def _given(ledger: SourceLedger) -> dict[bytes, int]:
    return {source.node_id: source.received_bytes for source in ledger.totals()}


def test_keeps_what_a_peer_gave_when_it_has_gone() -> None:
    """At the end of an update nobody would know where the bytes came from: seeds leave when an image is whole."""
    ledger = SourceLedger()
    ledger.snapshot([_open(A, 100, 7.0), _open(B, 50)], 150)
    ledger.snapshot([], 150, [(A, WHERE), (B, WHERE)])
    assert _given(ledger) == {A: 100, B: 50}
    assert [source.rate_bytes_per_s for source in ledger.totals()] == [0.0, 0.0]


def test_the_only_one_who_left_gets_the_rest() -> None:
    """The last moment before a connection closes would be nobody's."""
    ledger = SourceLedger()
    ledger.snapshot([_open(A, 100), _open(B, 50)], 150)
    ledger.snapshot([_open(A, 120)], 190, [(B, WHERE)])
    assert _given(ledger) == {A: 120, B: 70}


def test_those_who_left_together_share_by_what_they_gave_last() -> None:
    """A slow far peer would be said to have given as much as a fast near one."""
    ledger = SourceLedger()
    ledger.snapshot([_open(A, 0), _open(B, 0)], 0)
    ledger.snapshot([_open(A, 299), _open(B, 99)], 398)
    ledger.snapshot([], 798, [(A, WHERE), (B, WHERE)])
    assert _given(ledger) == {A: 599, B: 199}


def test_a_peer_that_comes_back_counts_on() -> None:
    """A connection that breaks would wipe out what its peer gave."""
    ledger = SourceLedger()
    ledger.snapshot([_open(A, 100)], 100)
    ledger.snapshot([_open(A, 30)], 130, [(A, WHERE)])
    ledger.snapshot([_open(A, 40)], 140)
    assert _given(ledger) == {A: 140}


def test_a_peer_whose_new_connection_counts_on_is_booked_once() -> None:
    """Over a line that breaks now and then a node would say it fetched an image seven times (libtorrent, seen at 30 % loss)."""
    ledger = SourceLedger()
    ledger.snapshot([_open(A, 5000)], 5000)
    ledger.snapshot([], 5100, [(A, WHERE)])
    ledger.snapshot([_open(NOBODY, 4096)], 5100)
    ledger.snapshot([_open(A, 4196), _open(B, 10)], 5210)
    ledger.snapshot([_open(A, 4296), _open(B, 10)], 5310)
    assert _given(ledger) == {A: 5300, B: 10}


def test_who_was_never_seen_alive_counts_too() -> None:
    """A small image arrives between two looks: all of it would be nobody's."""
    ledger = SourceLedger()
    ledger.snapshot([], 1000, [(C, WHERE)])
    assert _given(ledger) == {C: 1000}


def test_names_without_number_are_bounded() -> None:
    """A peer that invents node ids would fill the memory of a small node."""
    ledger = SourceLedger()
    for number in range(3 * SOURCES_MAX):
        ledger.snapshot([_open(number.to_bytes(20, "big"), 10)], 10 * (number + 1))
    assert len(ledger.totals()) <= SOURCES_MAX + 1
    assert _given(ledger)[NOBODY] > 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]),
            st.integers(0, 1000),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_the_sum_is_always_the_total(steps: list[tuple[bytes, int, bool, bool]]) -> None:
    """Sources would not add up to what was received.

    Model: peers give bytes over connections that close now and then; not every moment is looked at.
    """
    ledger = SourceLedger()
    live: dict[bytes, int] = {}
    departed: list[tuple[bytes, Address]] = []
    total = 0
    for node_id, count, leaves, look in steps:
        live[node_id] = live.get(node_id, 0) + count
        total += count
        if leaves:
            del live[node_id]
            departed.append((node_id, WHERE))
        if look:
            ledger.snapshot([_open(*item) for item in live.items()], total, departed)
            departed.clear()
            assert ledger.received_bytes == total
    departed += [(node_id, WHERE) for node_id in live]
    ledger.snapshot([], total, departed)
    assert ledger.received_bytes == sum(_given(ledger).values()) == total
