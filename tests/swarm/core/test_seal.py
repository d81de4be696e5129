"""Sealing: strangers stay out, and a frame counts only where it was meant to."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.envelope import EXCHANGE_ID_BYTES, Envelope
from swarm.errors import KeyFileError, RefusedError
from swarm.seal import NONCE_BYTES, OVERHEAD_BYTES, Keyring
from swarm.wire import Get, Have, No

OLD, NEW, STRANGE = bytes(32), bytes(range(32)), b"\x07" * 32
NONCE = bytes(range(NONCE_BYTES))


@given(data=st.binary(max_size=300), context=st.binary(max_size=40))
def test_round_trip(data: bytes, context: bytes) -> None:
    """Nodes of one swarm could not talk to each other."""
    ring = Keyring((NEW,))
    sealed = ring.seal(data, context, NONCE)
    assert len(sealed) == len(data) + OVERHEAD_BYTES
    assert ring.open(sealed, context) == data


def test_every_flipped_bit_is_noticed() -> None:
    """Somebody on the wire could change what nodes say to each other."""
    ring = Keyring((NEW,))
    sealed = ring.seal(b"hello", b"c", NONCE)
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(RefusedError):
            ring.open(changed, b"c")
    for length in range(len(sealed)):
        with pytest.raises(RefusedError):
            ring.open(sealed[:length], b"c")


def test_other_contexts_do_not_open() -> None:
    """A recorded datagram could be passed off as the reply of a stream."""
    ring = Keyring((NEW,))
    with pytest.raises(RefusedError, match="meant for something else"):
        ring.open(ring.seal(b"x", b"datagram", NONCE), b"reply")


def test_keys_can_be_changed_node_by_node() -> None:
    """A key change would split the swarm into those who have the new key and those who do not yet."""
    before, during, after = Keyring((OLD,)), Keyring((OLD, NEW)), Keyring((NEW, OLD))
    for speaker in (before, during, after):
        for listener in (during, after):
            assert listener.open(speaker.seal(b"x", b"", NONCE), b"") == b"x"
    with pytest.raises(RefusedError, match="not in this keyring"):
        before.open(after.seal(b"x", b"", NONCE), b"")
    with pytest.raises(RefusedError, match="not in this keyring"):
        Keyring((STRANGE,)).open(before.seal(b"x", b"", NONCE), b"")


@pytest.mark.parametrize("keys", [(), (b"short",), (NEW, NEW), tuple(bytes([n]) * 32 for n in range(9))])
def test_bad_keyrings_are_named(keys: tuple[bytes, ...]) -> None:
    """An operator's mistake with keys would show as a node that hears nobody."""
    with pytest.raises(KeyFileError):
        Keyring(keys)


def test_keys_are_never_shown() -> None:
    """A log line or a traceback could give the swarm key away."""
    assert "\\x01" not in repr(Keyring((NEW,)))


def test_stream_frames_stay_on_their_connection() -> None:
    """A reply recorded on one connection could be given to another question."""
    envelope = Envelope(Keyring((NEW,)), random.Random(1))
    question = Get("torrent", bytes(32), 0, 1)
    first, frame = envelope.seal_request(question)
    second, _ = envelope.seal_request(question)
    assert envelope.open_request(frame) == (first, question)
    reply = envelope.seal_reply(first, No("not here"))
    assert envelope.open_reply(first, reply) == No("not here")
    with pytest.raises(RefusedError):
        envelope.open_reply(second, reply)
    with pytest.raises(RefusedError):
        envelope.open_request(second + frame[EXCHANGE_ID_BYTES:])
    with pytest.raises(RefusedError):
        envelope.open_reply(first, frame[EXCHANGE_ID_BYTES:])
    with pytest.raises(RefusedError):
        envelope.open_datagram(frame[EXCHANGE_ID_BYTES:])


@pytest.mark.fuzz
def test_fuzz_everything_that_opens() -> None:
    """A stranger's bytes could stop a node."""
    rng = random.Random(2)
    envelope = Envelope(Keyring((NEW,)), rng)
    seeds = [
        envelope.seal_datagram(Have("manifest", b"k", 1, bytes(8))),
        envelope.seal_request(Get("leaves", bytes(32), 0, 9))[1],
    ]
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:
        whole = rng.choice(seeds)
        data = whole[: rng.randrange(len(whole))] + rng.randbytes(rng.randrange(60))
        if data in seeds:
            continue
        for opener in (envelope.open_datagram, envelope.open_request):
            with pytest.raises(RefusedError):
                opener(data)
