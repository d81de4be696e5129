"""The vocabulary: what one node writes another reads, and nothing else gets through."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.address import Address
from swarm.errors import RefusedError
from swarm.me import HOLDINGS_MAX, NAME_CHARS_MAX, Hello, Me
from swarm.news.record import Record, Signature
from swarm.wire import (
    BUCKETS,
    CHUNK_BYTES,
    DATAGRAM_BODY_BYTES_MAX,
    RECORDS_BYTES_MAX,
    Chunk,
    Exchange,
    Get,
    Have,
    Message,
    No,
    Push,
    Records,
    Sync,
    SyncReply,
    decode_datagram,
    decode_reply,
    decode_request,
    encode,
    fits_datagram,
)

texts = st.text(max_size=NAME_CHARS_MAX).filter(str.isprintable)
ports = st.integers(1, 65535)
kinds = st.text(min_size=1, max_size=16).filter(str.isprintable)
keys = st.binary(max_size=64)
sequences = st.integers(0, 2**53 - 1)
hash8s = st.binary(min_size=8, max_size=8)
ids = st.binary(min_size=32, max_size=32)
echoes = st.one_of(st.just(b""), hash8s)
mes = st.builds(Me, st.binary(min_size=20, max_size=20), texts, texts, ports, st.integers(0, 65535))
signatures = st.builds(Signature, ids, st.binary(min_size=64, max_size=64))
records = st.builds(
    Record, kinds, keys, sequences, st.binary(max_size=200), st.lists(signatures, max_size=2).map(tuple)
)
addresses = st.builds(Address, st.ip_addresses(v=4).map(str).filter(lambda h: h[:1] == "1"), ports).filter(
    lambda a: int(a.host.split(".")[0]) < 200
)
rows = st.tuples(kinds, keys, sequences, hash8s)


def tuples(of: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=most).map(tuple)


datagrams = st.one_of(
    st.builds(
        Hello,
        mes,
        st.binary(min_size=16, max_size=16),
        tuples(hash8s, HOLDINGS_MAX),
        st.booleans(),
        echoes,
        echoes,
    ),
    st.builds(Push, records),
    st.builds(Have, kinds, keys, sequences, hash8s),
)
requests = st.one_of(
    st.builds(Sync, st.lists(hash8s, min_size=BUCKETS, max_size=BUCKETS).map(tuple)),
    st.builds(Exchange, tuples(records, 3), tuples(st.tuples(kinds, keys), 5)),
    st.builds(Get, kinds, ids, st.integers(0, 2**40), st.integers(1, CHUNK_BYTES)),
)
replies = st.one_of(
    st.builds(
        SyncReply,
        st.sets(st.integers(0, BUCKETS - 1)).map(lambda s: tuple(sorted(s))),
        tuples(rows, 5),
        tuples(addresses, 8),
    ),
    st.builds(Records, tuples(records, 3)),
    st.builds(Chunk, st.integers(0, 2**40), st.binary(max_size=500)),
    st.builds(No, texts),
)
READERS: list[tuple[Callable[[bytes], Message], st.SearchStrategy[Any]]] = [
    (decode_datagram, datagrams),
    (decode_request, requests),
    (decode_reply, replies),
]
HELLO = Hello(Me(bytes(20), "n1", "hut", 47101, 47102), bytes(16), (bytes(8),), False, bytes(8), b"")
SAMPLES: list[tuple[Callable[[bytes], Message], Message]] = [
    (decode_datagram, HELLO),
    (decode_datagram, Push(Record("manifest", b"stable", 1, b"body"))),
    (decode_datagram, Have("manifest", b"stable", 1, bytes(8))),
    (decode_request, Sync((bytes(8),) * BUCKETS)),
    (decode_request, Exchange((Record("status", b"k", 1, b""),), (("status", b"k"),))),
    (decode_request, Get("torrent", bytes(32), 0, 1)),
    (decode_reply, SyncReply((1, 2), (("status", b"k", 1, bytes(8)),), (Address("10.0.0.1", 1),))),
    (decode_reply, Records((Record("status", b"k", 1, b""),))),
    (decode_reply, Chunk(5, b"data")),
    (decode_reply, No("why")),
]


@pytest.mark.parametrize(("reader", "strategy"), READERS)
@settings(max_examples=60)
@given(data=st.data())
def test_round_trip(reader: Callable[[bytes], Message], strategy: Any, data: st.DataObject) -> None:
    """A node could not read what another, or itself, has written."""
    message = data.draw(strategy)
    assert reader(encode(message)) == message


@pytest.mark.parametrize(("reader", "message"), SAMPLES)
def test_cut_or_lengthened_messages_are_refused(reader: Callable[[bytes], Message], message: Message) -> None:
    """Half a message could be taken for a whole one."""
    whole = encode(message)
    for length in range(len(whole)):
        with pytest.raises(RefusedError):
            reader(whole[:length])
    with pytest.raises(RefusedError):
        reader(whole + b"\xc0")


@pytest.mark.parametrize(("reader", "message"), SAMPLES)
def test_messages_count_only_where_they_belong(reader: Callable[[bytes], Message], message: Message) -> None:
    """A reply could be slipped in as a request."""
    for other, _ in READERS:
        if other is not reader:
            with pytest.raises(RefusedError):
                other(encode(message))


@pytest.mark.parametrize(("reader", "message"), SAMPLES)
def test_every_field_of_another_type_is_refused(reader: Callable[[bytes], Message], message: Message) -> None:
    """A field of the wrong type could travel into a core that trusts its types."""
    fields = msgpack.unpackb(encode(message), use_list=True)
    for index in range(len(fields)):
        for wrong in (None, 1.5, -1, 2**60, "x" * 500, b"x" * 70_000, [[1]], {"a": 1}, "\n"):
            changed = [*fields[:index], wrong, *fields[index + 1 :]]
            with pytest.raises(RefusedError):
                reader(bytes(msgpack.packb(changed)))
        if not isinstance(fields[index], bool):
            with pytest.raises(RefusedError):
                reader(bytes(msgpack.packb([*fields[:index], True, *fields[index + 1 :]])))


def test_two_spellings_are_not_one_message() -> None:
    """The same news in two spellings could pass as two."""
    spelled = bytearray(encode(No("")))
    assert decode_reply(bytes(spelled)) == No("")
    longer = b"\x93\x01\xcc\x16\xa0"
    assert msgpack.unpackb(longer) == msgpack.unpackb(bytes(spelled))
    with pytest.raises(RefusedError, match="canonical"):
        decode_reply(longer)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "224.0.0.1", "example.org", "010.0.0.1", "fe80::1%eth0", "::0:1", ""]
)
def test_told_peers_are_addresses_of_one_computer(host: str) -> None:
    """A peer could make this node look up names or send to groups."""
    said = bytes(msgpack.packb([1, 17, [], [], [[host, 1]]]))
    with pytest.raises(RefusedError):
        decode_reply(said)


def test_the_largest_hello_fits_a_datagram() -> None:
    """A node with a long name and many images could never introduce itself."""
    wide = "\U0001f600" * NAME_CHARS_MAX
    holdings = tuple(bytes([n]) * 8 for n in range(HOLDINGS_MAX))
    hello = Hello(Me(bytes(20), wide, wide, 65535, 65535), bytes(16), holdings, True, bytes(8), bytes(8))
    assert fits_datagram(hello)
    assert decode_datagram(encode(hello)) == hello


def test_size_bounds_hold_before_anything_is_read() -> None:
    """A peer could fill a small Pi's memory."""
    with pytest.raises(RefusedError, match="too large"):
        decode_datagram(bytes(DATAGRAM_BODY_BYTES_MAX + 1))
    with pytest.raises(RefusedError, match="too large"):
        decode_reply(bytes(256 * 1024 + 1))
    fat = tuple(Record("status", bytes([n]), 1, bytes(4000)) for n in range(60))
    assert sum(len(r.encode()) for r in fat) > RECORDS_BYTES_MAX
    with pytest.raises(RefusedError):
        decode_reply(encode(Records(fat)))
    bomb = b"\x93\x01\x16" + b"\xdd\xff\xff\xff\xff"
    with pytest.raises(RefusedError):
        decode_reply(bomb)


@pytest.mark.fuzz
@pytest.mark.parametrize("reader", [decode_datagram, decode_request, decode_reply])
def test_fuzz(reader: Callable[[bytes], Message]) -> None:
    """A member gone mad could stop other nodes with one message."""
    rng = random.Random(reader.__name__)
    seeds = [encode(message) for _, message in SAMPLES]
    end_s = time.monotonic() + 1.0
    read = 0
    while time.monotonic() < end_s:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        try:
            message = reader(bytes(data))
        except RefusedError:
            continue
        assert encode(message) == bytes(data)
        read += 1
    assert read > 0
