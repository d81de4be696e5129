"""Streams as datagrams: whole, bounded, and only for peers."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from swarm.address import Address
from swarm.errors import RefusedError, UnavailableError
from swarm.shell.sliced import Sliced
from swarm.slices import (
    ASKED_MAX,
    REPLIES_BYTES_MAX,
    REPLIES_MAX,
    REPLY_LIFETIME_S,
    SLICE_BYTES,
    SLICES_MAX,
    Collector,
    ReplyShelf,
    Slice,
    Want,
    decode,
    slices_of,
)

ASKER, PEER = Address("198.51.100.1", 47101), Address("198.51.100.2", 40000)
TOKEN = bytes(range(8))


@given(st.binary(min_size=1, max_size=40 * SLICE_BYTES), st.floats(0, 0.4), st.integers(0, 2**32))
def test_a_reply_comes_whole_over_a_line_that_loses_repeats_and_reorders(
    reply: bytes, loss: float, seed: int
) -> None:
    """A torrent with a slice missing or in the wrong place would be refused, again and again."""
    rng = random.Random(seed)
    collector = Collector(TOKEN, b"request")
    now_s, asked = 0.0, 0
    while collector.reply is None:
        for datagram in collector.due(now_s):
            asked += 1
            want = decode(datagram)
            assert isinstance(want, Want)
            came = [d for d in slices_of(reply, want) if rng.random() >= loss]
            came += came[:1]
            rng.shuffle(came)
            for each in came if rng.random() >= loss else []:
                piece = decode(each)
                assert isinstance(piece, Slice)
                collector.take(piece, now_s)
        now_s += 0.1
        assert asked < 400
    assert collector.reply == reply


def test_nothing_is_asked_for_twice_while_it_may_be_on_its_way() -> None:
    """Each question is answered with sixteen times its size: asking too often would fill the line with what is there already."""
    collector = Collector(TOKEN, b"request")
    assert len(collector.due(0.0)) == 1
    assert collector.due(0.1) == []
    assert len(collector.due(1.0)) == 1


@given(st.binary(max_size=60))
def test_rubbish_is_refused(data: bytes) -> None:
    """Anybody can send anything to the control port."""
    for datagram in (data, b"\x02\x00" + data, b"\x02\x01" + data):
        try:
            message = decode(datagram)
        except RefusedError:
            continue
        assert message.encode() == datagram


@pytest.mark.parametrize(
    "wrong",
    [
        Want(TOKEN, 0, ASKED_MAX + 1, b""),
        Want(TOKEN, SLICES_MAX, 1, b""),
        Want(TOKEN, 0, 1, bytes(SLICE_BYTES + 1)),
        Slice(TOKEN, 0, SLICES_MAX + 1, bytes(SLICE_BYTES)),
        Slice(TOKEN, 3, 3, b"x"),
        Slice(TOKEN, 0, 2, b"short"),
        Slice(TOKEN, 0, 1, bytes(SLICE_BYTES + 1)),
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong: Want | Slice) -> None:
    """One datagram would make a node send, or hold, more than it may."""
    with pytest.raises(RefusedError):
        decode(wrong.encode())


def test_replies_are_kept_few_and_for_seconds() -> None:
    """Peers that begin and never end would fill memory."""
    shelf = ReplyShelf()
    for number in range(100):
        shelf.put(ASKER, bytes([number]) * 8, bytes(REPLIES_BYTES_MAX // 4), float(number) / 100)
    held = [n for n in range(100) if shelf.get(ASKER, bytes([n]) * 8, 1.0)]
    assert 1 <= len(held) <= min(4, REPLIES_MAX)
    assert shelf.get(PEER, bytes([99]) * 8, 1.0) is None
    assert shelf.get(ASKER, bytes([99]) * 8, 1.0 + REPLY_LIFETIME_S + 1) is None


class Line:
    """Two ends; what one sends the other receives, unless the line is dead."""

    def __init__(self, *, known: bool = True, dead: bool = False) -> None:
        self.known = known
        self.dead = dead
        self.sent_bytes = {ASKER: 0, PEER: 0}
        self.answered = 0
        self.asker = Sliced(self._from_asker, trio.current_time)
        self.peer = Sliced(self._from_peer, trio.current_time)

    def answer(self, request: bytes, source: Address) -> tuple[bytes, list[object]]:
        self.answered += 1
        return (request * 10_000 if request == b"good" else b""), ["effect"]

    async def _from_asker(self, datagram: bytes, to: Address) -> None:
        self.sent_bytes[ASKER] += len(datagram)
        if not self.dead:
            await self.peer.received(datagram, ASKER, self.answer, known=self.known)

    async def _from_peer(self, datagram: bytes, to: Address) -> None:
        self.sent_bytes[PEER] += len(datagram)
        await self.asker.received(datagram, PEER, self.answer, known=True)


async def no_stream() -> bytes:
    raise UnavailableError("cannot connect within 10 s")


async def slow_stream() -> bytes:
    await trio.sleep(30)
    raise UnavailableError("cannot connect within 30 s")


def test_where_no_stream_gets_through_datagrams_do() -> None:
    """Two nodes behind translators could tell each other that there is news and never give it to each other."""

    async def main() -> None:
        line = Line()
        began_s = trio.current_time()
        assert await line.asker.race(slow_stream, PEER, b"good", 10) == b"good" * 10_000
        assert trio.current_time() - began_s < 5
        assert line.answered == 1
        # The next exchange does not wait for a stream first.
        began_s = trio.current_time()
        assert await line.asker.race(slow_stream, PEER, b"good", 10) == b"good" * 10_000
        assert trio.current_time() - began_s < 1

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_stream_that_gets_through_is_enough() -> None:
    """Where streams work, datagrams would only cost."""

    async def stream() -> bytes:
        await trio.sleep(0.5)
        return b"by stream"

    async def main() -> None:
        line = Line()
        assert await line.asker.race(stream, PEER, b"good", 10) == b"by stream"
        assert line.sent_bytes[ASKER] == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_stranger_gets_no_slices_and_nonsense_no_answer() -> None:
    """Whoever puts somebody else's address under a recorded request would have this node drown that one."""

    async def main() -> None:
        line = Line(known=False)
        with pytest.raises(RefusedError):
            await line.peer.received(Want(TOKEN, 0, 16, b"good").encode(), ASKER, line.answer, known=False)
        assert line.answered == 0
        assert line.sent_bytes[PEER] == 0
        nonsense = Line()
        await nonsense.peer.received(Want(TOKEN, 0, 16, b"bad").encode(), ASKER, nonsense.answer, known=True)
        assert nonsense.sent_bytes[PEER] == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_nobody_there_ends_in_time_with_the_streams_words() -> None:
    """A node that waits for the dead for ever would stop asking the living."""

    async def main() -> None:
        line = Line(dead=True)
        began_s = trio.current_time()
        with pytest.raises(UnavailableError, match="cannot connect"):
            await line.asker.race(no_stream, PEER, b"good", 10)
        assert trio.current_time() - began_s < 12
        assert line.sent_bytes[ASKER] < 2000

    trio.run(main, clock=MockClock(autojump_threshold=0))
