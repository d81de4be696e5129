"""A stream's request and reply as datagrams, for peers that no stream reaches: two nodes behind translators that have met.

The asker sends the whole request with every question and says which slices of the reply it lacks; the answerer keeps the reply
for a few seconds and sends what is asked for, nothing else. Requests and replies are the sealed frames of a stream: slices carry
no trust of their own. They begin with another byte than a sealed datagram. Never for images: those have BitTorrent.

    02 00  token (8)  first (2)  count (1)  request         I lack `count` slices from `first` on
    02 01  token (8)  index (2)  total (2)  bytes           one slice
"""

from __future__ import annotations

from attrs import frozen

from swarm.address import Address
from swarm.errors import Reason, RefusedError

MARK = b"\x02"
SLICE_BYTES = 1200
REQUEST_BYTES_MAX = 1200
"""A longer request has to wait for a stream; questions for blobs and summaries are shorter."""
TOKEN_BYTES = 8
SLICES_MAX = 256
"""More than the largest frame needs."""
ASKED_MAX = 16
"""Slices asked for at once. More fills the queue of a thin line; fewer wait for a round trip more often."""
AGAIN_S = 0.5
"""Silence after which what is missing is asked for again."""
_WANT, _SLICE = b"\x00", b"\x01"


@frozen
class Want:
    """Which slices are missing of the answer to this request."""

    token: bytes
    first: int
    count: int
    request: bytes

    def encode(self) -> bytes:
        """As it travels."""
        head = MARK + _WANT + self.token + self.first.to_bytes(2, "big") + self.count.to_bytes(1, "big")
        return head + self.request


@frozen
class Slice:
    """One of `total` slices."""

    token: bytes
    index: int
    total: int
    data: bytes

    def encode(self) -> bytes:
        """As it travels."""
        head = MARK + _SLICE + self.token + self.index.to_bytes(2, "big") + self.total.to_bytes(2, "big")
        return head + self.data


def decode(datagram: bytes) -> Want | Slice:
    """Read one; raises `RefusedError` on what `encode` could not have written."""
    kind, token, rest = datagram[1:2], datagram[2 : 2 + TOKEN_BYTES], datagram[2 + TOKEN_BYTES :]
    if datagram[:1] != MARK or kind not in (_WANT, _SLICE) or len(token) != TOKEN_BYTES or len(rest) < 4:
        raise RefusedError("not a slice and not a question for slices")
    first = int.from_bytes(rest[:2], "big")
    if kind == _WANT:
        count, request = rest[2], rest[3:]
        if not 1 <= count <= ASKED_MAX or first >= SLICES_MAX or len(request) > REQUEST_BYTES_MAX:
            raise RefusedError("question for slices is out of bounds", Reason.TOO_LARGE)
        return Want(token, first, count, request)
    total, data = int.from_bytes(rest[2:4], "big"), rest[4:]
    if not 1 <= total <= SLICES_MAX or first >= total or not 1 <= len(data) <= SLICE_BYTES:
        raise RefusedError("slice is out of bounds", Reason.TOO_LARGE)
    if first < total - 1 and len(data) != SLICE_BYTES:
        raise RefusedError("slice before the last is not whole")
    return Slice(token, first, total, data)


class Collector:
    """The asker's side of one exchange. Pure: told the time, gives datagrams to send."""

    def __init__(self, token: bytes, request: bytes) -> None:
        if len(request) > REQUEST_BYTES_MAX:
            raise ValueError("a request this long goes by stream")
        self._token = token
        self._request = request
        self._parts: dict[int, bytes] = {}
        self._total: int | None = None
        self._asked_to = 0
        self._asked_s = float("-inf")

    def due(self, now_s: float) -> list[bytes]:
        """What to send now: a question for the next slices, or again for those that did not come."""
        first = next((n for n in range(SLICES_MAX) if n not in self._parts), SLICES_MAX)
        if self.reply is not None or (first < self._asked_to and now_s - self._asked_s < AGAIN_S):
            return []
        last = SLICES_MAX if self._total is None else self._total
        count = min(ASKED_MAX, last - first)
        self._asked_to, self._asked_s = first + count, now_s
        return [Want(self._token, first, count, self._request).encode()]

    def take(self, piece: Slice, now_s: float) -> None:
        """A slice came; one that fits nothing is dropped."""
        if piece.token != self._token or (self._total is not None and piece.total != self._total):
            return
        self._total = piece.total
        self._parts[piece.index] = piece.data
        self._asked_to = min(self._asked_to, piece.total)
        self._asked_s = max(self._asked_s, now_s - AGAIN_S / 2)

    @property
    def reply(self) -> bytes | None:
        """The whole frame, once it is."""
        if self._total is None or len(self._parts) < self._total:
            return None
        return b"".join(self._parts[n] for n in range(self._total))


REPLIES_MAX = 8
REPLY_LIFETIME_S = 12.0
REPLIES_BYTES_MAX = 1024 * 1024


class ReplyShelf:
    """The answerer's side: replies that are being fetched, few and for seconds."""

    def __init__(self) -> None:
        self._replies: dict[tuple[Address, bytes], tuple[bytes, float]] = {}

    def get(self, asker: Address, token: bytes, now_s: float) -> bytes | None:
        """The reply that was made for this exchange."""
        for key in [key for key, (_, at_s) in self._replies.items() if now_s - at_s > REPLY_LIFETIME_S]:
            del self._replies[key]
        held = self._replies.get((asker, token))
        return held[0] if held is not None else None

    def put(self, asker: Address, token: bytes, reply: bytes, now_s: float) -> None:
        """Keep a reply for the questions that follow."""
        self._replies[asker, token] = (reply, now_s)
        while len(self._replies) > REPLIES_MAX or self._held_bytes() > REPLIES_BYTES_MAX:
            del self._replies[next(iter(self._replies))]

    def _held_bytes(self) -> int:
        return sum(len(reply) for reply, _ in self._replies.values())


def slices_of(reply: bytes, want: Want) -> list[bytes]:
    """The slices asked for, as datagrams."""
    total = -(-len(reply) // SLICE_BYTES)
    numbers = range(want.first, min(want.first + want.count, total)) if total <= SLICES_MAX else range(0)
    return [
        Slice(want.token, n, total, reply[n * SLICE_BYTES : (n + 1) * SLICE_BYTES]).encode() for n in numbers
    ]
