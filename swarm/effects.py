"""What the swarm core asks its surroundings to do.

The daemon's shell carries these out on real sockets and a real disk; the simulated world carries them out on virtual ones.
They are carried out in the order given: a `RecordAccepted` is on disk before the datagrams behind it leave.
"""

from __future__ import annotations

from attrs import frozen

from swarm.address import Address
from swarm.news.record import Record


@frozen
class SendDatagram:
    """Send sealed bytes; `destination` None means the beacon group of the LAN."""

    destination: Address | None
    data: bytes


@frozen
class OpenStream:
    """Connect to `peer`, send one sealed request, read one sealed reply, close.

    The answer comes back through `SwarmCore.on_stream_reply(token, ...)` or `on_stream_failed(token, ...)`.
    """

    token: int
    peer: Address
    request: bytes
    timeout_s: float


@frozen
class RecordAccepted:
    """A verified record is new to this node's store: make it durable, and act on it."""

    record: Record


@frozen
class RecordForgotten:
    """The store dropped this (kind, key); its durable copy can go."""

    kind: str
    key: bytes


@frozen
class Equivocation:
    """Two valid records with one sequence and different bodies: act on neither, tell the operator."""

    records: tuple[Record, Record]


@frozen
class BlobFetched:
    """Bytes asked for with `SwarmCore.fetch_blob` are here and match their hash."""

    kind: str
    blob_id: bytes
    data: bytes


@frozen
class BlobUnavailable:
    """Nobody could give the blob in time; `why` is for people. The core has stopped trying."""

    kind: str
    blob_id: bytes
    why: str


@frozen
class BlobWanted:
    """A peer asked for a blob this node can make but does not hold ready (leaf hashes of its slot)."""

    kind: str
    blob_id: bytes


@frozen
class PeersChanged:
    """Who holds what has changed: transfers may want new peers."""


@frozen
class Refused:
    """Something from outside was refused; count it under (`what`, `why`), show it in doctor."""

    what: str
    why: str
    source: str


SwarmEffect = (
    SendDatagram
    | OpenStream
    | RecordAccepted
    | RecordForgotten
    | Equivocation
    | BlobFetched
    | BlobUnavailable
    | BlobWanted
    | PeersChanged
    | Refused
)
