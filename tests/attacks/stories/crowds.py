"""Too many of everything, and strangers."""

from __future__ import annotations

import random

import msgpack

from fruitd.node.leaf_shelf import UNUSED_S_MAX
from swarm.address import Address
from swarm.errors import Reason
from swarm.me import Hello, Me
from swarm.news.limits import MEMBER_KEYS_MAX, STATUS_KEYS_MAX
from swarm.seal import NONCE_BYTES, Keyring
from swarm.wire import Get, Push, Sync
from tests.attacks.acts import DATAGRAM, evil_row, let_in, said
from tests.attacks.court import key, status
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


@story("too many", "ten thousand invented peers")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    rng = random.Random(4)
    assert s.victim.core is not None
    for number in range(10_000):
        me = Me(rng.randbytes(20), f"x{number}", "", 1 + number % 60_000, 1)
        hello = s.villain.envelope.seal_datagram(Hello(me, rng.randbytes(16), ()))
        source = Address(f"10.66.{number % 200}.{number % 250}", me.control_port)
        s.victim.carry_out(
            s.victim.core.on_datagram(hello, source, s.victim.steady_s(), multicast=number % 2 == 0)
        )
    peers = s.victim.node.swarm.peers()  # type: ignore[union-attr]
    assert len(peers) <= 512
    assert s.publisher.plan.node_id in {p.node_id for p in peers}, "an honest peer was pushed out"
    unmoved(s, before)


@story("too many", "statuses of two thousand nodes that are no members")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    for number in range(2000):
        s.push(status(key(f"x-{number}")))
    s.pass_time(5.0)
    store = s.victim.node.store  # type: ignore[union-attr]
    assert len(store.entries("status")) <= 3 <= STATUS_KEYS_MAX
    unmoved(s, before)


@story("too many", "two thousand members by a stolen token; the token is revoked", "a stolen token")
def _(s: Stage) -> None:
    leaked = s.court.new_token("leaked")
    let_in(s, leaked.terms)
    for number in range(2000):
        record = s.court.member(key(f"x-{number}"), leaked)
        s.world.surroundings.checker.add_genuine(record)
        s.push(record)
    s.pass_time(20.0)
    store = s.victim.node.store  # type: ignore[union-attr]
    assert 1000 < len(store.entries("member")) <= MEMBER_KEYS_MAX
    let_in(s, s.court.revoked(leaked.token.token_id))
    s.pass_time(60.0)
    assert len(store.entries("member")) == 2, "what the thief made is still here"


@story("too many", "leaves of images that nobody has are asked for, while a late node needs real ones")
def _(s: Stage) -> None:
    good = s.next_release()
    s.world.network.set_sides({s.victim.number: (s.victim.number,)})
    s.publish(good)
    s.until(lambda: s.runs(good, [s.publisher]))
    assert s.publisher.node is not None
    shelf = s.publisher.node.library.leaves
    s.until(lambda: shelf.get(good.image.pieces_root) is None, 2 * UNUSED_S_MAX)
    s.world.network.set_sides({})
    rng = random.Random(6)
    for _ in range(600):
        if s.runs(good):
            break
        for _ in range(64):
            s.villain.ask(s.address_of(s.publisher), Get("leaves", rng.randbytes(32), 0, 1))
        s.pass_time(0.1)
    assert s.runs(good), "the node that has the image never made its leaves"


@story("too many", "a thousand wrong records: what was refused is forgotten in time")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    for number in range(1000):
        s.push(s.court.manifest(s.sequence + 1 + number, [evil_row(s)], []))
    s.pass_time(10.0)
    assert len(s.refused) >= 900
    unmoved(s, before)


@story("endless data", "a push of a record larger than any", "the swarm key")
def _(s: Stage) -> None:
    raw = msgpack.packb([1, 2, bytes(4097)])
    s.villain.send_bytes(s.at, s.villain.keyring.seal(raw, DATAGRAM, bytes(NONCE_BYTES)))
    s.pass_time(1.0)
    said(s, "datagram is too large")


@story("fast-forward", "a sequence beyond all sequences", "the swarm key")
def _(s: Stage) -> None:
    record = msgpack.packb([1, "manifest", b"stable", 2**53, b"", []])
    raw = msgpack.packb([1, 2, record])
    s.villain.send_bytes(s.at, s.villain.keyring.seal(raw, DATAGRAM, bytes(NONCE_BYTES)))
    s.pass_time(1.0)
    said(s, "sequence is out of range")


@story("strangers", "a datagram sealed with another swarm's key", "nothing")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    other = Keyring((bytes(32),))
    s.villain.send_bytes(s.at, other.seal(b"x" * 100, DATAGRAM, bytes(NONCE_BYTES)))
    s.pass_time(1.0)
    said(s, "a key that is not in this keyring", Reason.NOT_SEALED)
    unmoved(s, before)


@story("strangers", "a sealed datagram with one bit changed, each in turn", "what was recorded")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    data = s.villain.envelope.seal_datagram(Push(s.old[1]))
    for bit in range(0, 8 * len(data), 7):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        s.villain.send_bytes(s.at, bytes(changed))
    s.pass_time(3.0)
    assert all(r.what == "datagram" for r in s.refused)
    assert len(s.refused) >= len(data)
    unmoved(s, before)


@story("strangers", "a stream's answer in place of a datagram, and the other way", "what was recorded")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    _, request = s.villain.envelope.seal_request(Sync(tuple(bytes(8) for _ in range(64))))
    s.villain.send_bytes(s.at, request[16:])
    s.world.network.open_stream(
        2, s.at, bytes(16) + s.villain.envelope.seal_datagram(Push(s.old[1])), 10.0, lambda *_: None
    )
    s.pass_time(3.0)
    assert len(s.refused) >= 2
    unmoved(s, before)
