"""Behind one NAT address stand honest nodes and a liar: whatever he sends from his port, those at other ports are heard."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from swarm.address import Address
from swarm.effects import Refused, SendDatagram
from swarm.envelope import Envelope
from swarm.me import Hello, Me
from swarm.news.record import Record, Signature
from swarm.seal import Keyring
from swarm.wire import Chunk, Exchange, Get, Push, Records
from tests.swarm.core.village import FORGED, KEYRING, Resident, Village, manifest, node_id

NAT = "203.0.113.7"
LIAR, HONEST = Address(NAT, 61001), Address(NAT, 61002)
ENVELOPE = Envelope(KEYRING, random.Random(3))
STRANGER = Envelope(Keyring((b"\7" * 32,)), random.Random(4))
Sends = Callable[[Resident, int, float], None]


def garbage(node: Resident, number: int, now_s: float) -> None:
    node.core.on_datagram(random.Random(number).randbytes(200), LIAR, now_s)
    node.core.answer(random.Random(number).randbytes(200), LIAR, now_s)


def sealed_by_strangers(node: Resident, number: int, now_s: float) -> None:
    node.core.on_datagram(STRANGER.seal_datagram(Push(manifest(number + 1))), LIAR, now_s)


def invented_peers(node: Resident, number: int, now_s: float) -> None:
    me = Me(node_id(10**6 + number), "ghost", "", 1 + number % 60_000, 1)
    node.core.on_datagram(ENVELOPE.seal_datagram(Hello(me, bytes(16), ())), LIAR, now_s)


def forged_records(node: Resident, number: int, now_s: float) -> None:
    record = Record("manifest", b"stable", number + 1, bytes(300), (FORGED, Signature(bytes(32), bytes(64))))
    node.core.on_datagram(ENVELOPE.seal_datagram(Push(record)), LIAR, now_s)
    node.core.answer(ENVELOPE.seal_request(Exchange((record,), ()))[1], LIAR, now_s)


def blobs_that_nobody_has(node: Resident, number: int, now_s: float) -> None:
    wanted = Get("leaves", number.to_bytes(32, "big"), 0, 100)
    node.core.answer(ENVELOPE.seal_request(wanted)[1], LIAR, now_s)


@pytest.mark.parametrize(
    "sends", [garbage, sealed_by_strangers, invented_peers, forged_records, blobs_that_nobody_has]
)
def test_a_neighbour_of_a_liar_is_heard_answered_and_served(sends: Sends) -> None:
    """One rotten node would cut off everybody behind its address, a whole site perhaps."""
    place = Village(5)
    node = place.add(0)
    node.blobs["torrent", bytes(32)] = b"torrent"
    place.do(
        node,
        node.core.publish(Record("status", b"s", 1, b"x", (Signature(bytes(32), bytes(64)),)), place.now_s),
    )
    for number in range(2000):
        sends(node, number, place.now_s)

    me = Me(node_id(1), "honest", "", HONEST.port, 47102)
    ping = ENVELOPE.seal_datagram(Hello(me, bytes(16), (), ping=b"12345678"))
    answers = [e for e in node.core.on_datagram(ping, HONEST, place.now_s) if isinstance(e, SendDatagram)]
    pongs = [ENVELOPE.open_datagram(e.data) for e in answers if e.destination == HONEST]
    assert b"12345678" in [pong.pong for pong in pongs if isinstance(pong, Hello)], (
        "its question was not answered"
    )

    exchange_id, request = ENVELOPE.seal_request(Get("torrent", bytes(32), 0, 7))
    reply, effects = node.core.answer(request, HONEST, place.now_s)
    assert ENVELOPE.open_reply(exchange_id, reply) == Chunk(7, b"torrent")
    exchange_id, request = ENVELOPE.seal_request(Exchange((), (("status", b"s"),)))
    reply, _ = node.core.answer(request, HONEST, place.now_s)
    given = ENVELOPE.open_reply(exchange_id, reply)
    assert isinstance(given, Records)
    assert len(given.records) == 1

    effects = node.core.on_datagram(ENVELOPE.seal_datagram(Push(manifest(1))), HONEST, place.now_s)
    assert not [e for e in effects if isinstance(e, Refused)]
    held = node.store.get("manifest", b"stable")
    assert held is not None
    assert held.sequence == 1, "its news was not taken"
