"""Messages, sealed and opened: `swarm.wire` inside `swarm.seal`, each under the context it belongs to.

A stream's request is preceded by an exchange id, 16 random bytes chosen by the asker; request and reply are
sealed with it in their contexts. There is one frame in each direction, so direction and exchange id bind a
frame to its place: a frame recorded on one connection does not open on another, nor a request as a reply.
"""

from __future__ import annotations

import random

from swarm.errors import Reason, RefusedError
from swarm.seal import NONCE_BYTES, OVERHEAD_BYTES, Keyring
from swarm.wire import (
    FRAME_BYTES_MAX,
    Datagram,
    Reply,
    Request,
    decode_datagram,
    decode_reply,
    decode_request,
    encode,
)

EXCHANGE_ID_BYTES = 16
STREAM_FRAME_BYTES_MAX = FRAME_BYTES_MAX + OVERHEAD_BYTES + EXCHANGE_ID_BYTES
"""The longest frame on a stream, without its length prefix."""
_DATAGRAM = b"fruit-datagram-1"
_REQUEST = b"fruit-request-1"
_REPLY = b"fruit-reply-1"


class Envelope:
    """Seals and opens with one keyring, which may be changed between two calls.

    Nonces come from `rng`: on a real node it must draw on the system's entropy.
    """

    def __init__(self, keyring: Keyring, rng: random.Random) -> None:
        self.keyring = keyring
        self._rng = rng

    def seal_datagram(self, message: Datagram) -> bytes:
        """One datagram, ready to send to anybody."""
        return self._seal(encode(message), _DATAGRAM)

    def open_datagram(self, sealed: bytes) -> Datagram:
        """Raises `RefusedError` for anything but a datagram of this swarm."""
        return decode_datagram(self.keyring.open(sealed, _DATAGRAM))

    def seal_request(self, message: Request) -> tuple[bytes, bytes]:
        """The exchange id, to open the reply with, and the frame to send."""
        exchange_id = self._rng.randbytes(EXCHANGE_ID_BYTES)
        return exchange_id, exchange_id + self._seal(encode(message), _REQUEST + exchange_id)

    def open_request(self, frame: bytes) -> tuple[bytes, Request]:
        """The exchange id and the request; raises `RefusedError`."""
        if len(frame) > STREAM_FRAME_BYTES_MAX:
            raise RefusedError("stream frame is too large", Reason.TOO_LARGE)
        exchange_id, sealed = frame[:EXCHANGE_ID_BYTES], frame[EXCHANGE_ID_BYTES:]
        return exchange_id, decode_request(self.keyring.open(sealed, _REQUEST + exchange_id))

    def seal_reply(self, exchange_id: bytes, message: Reply) -> bytes:
        """The frame that answers the request of this exchange."""
        return self._seal(encode(message), _REPLY + exchange_id)

    def open_reply(self, exchange_id: bytes, frame: bytes) -> Reply:
        """The reply to the request of this exchange and no other; raises `RefusedError`."""
        if len(frame) > STREAM_FRAME_BYTES_MAX:
            raise RefusedError("stream frame is too large", Reason.TOO_LARGE)
        return decode_reply(self.keyring.open(frame, _REPLY + exchange_id))

    def _seal(self, data: bytes, context: bytes) -> bytes:
        return self.keyring.seal(data, context, self._rng.randbytes(NONCE_BYTES))
