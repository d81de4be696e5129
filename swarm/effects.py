"""What the swarm core asks its surroundings to do.

The daemon's shell carries these out on real sockets and a real disk; the simulated world carries them out on virtual ones.
They are carried out in the order given: a `RecordAccepted` is on disk before the datagrams behind it leave.
"""

from __future__ import annotations

from attrs import frozen

from swarm.address import Address
from swarm.discovery.dht.messages import Ask, Told
from swarm.errors import Reason
from swarm.news.record import Record


@frozen
class SendDatagram:
    """Send sealed bytes; `destination` None means the beacon group of the LAN."""

    destination: Address | None
    data: bytes
    plain: bool = False
    """Not through the tunnel that leads there."""


@frozen
class OpenStream:
    """Connect to `peer`, send one sealed request, read one sealed reply, close.

    The answer comes back through `SwarmCore.on_stream_reply(token, ...)` or `on_stream_failed(token, ...)`.
    """

    token: int
    peer: Address
    request: bytes
    timeout_s: float
    datagrams_to: Address | None = None
    """Where the peer's datagrams come from: if no stream reaches it, this may (`swarm.slices`)."""


@frozen
class OpenTunnel:
    """Connect to `peer` by TCP, unless that is done already, and send the sealed request; then all datagrams between it and this
    node go by this stream, `first` before all others. Nothing is said if nobody is there."""

    peer: Address
    request: bytes
    first: bytes


@frozen
class CloseTunnel:
    """Datagrams to `peer` go as datagrams again."""

    peer: Address


@frozen
class CarryTunnel:
    """Whoever sent the stream request that is just being answered gets its datagrams by that stream, and sends his by it."""

    peer: Address


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
    """Bytes asked for with `SwarmCore.fetch_blob`, or for others, are here and match their hash."""

    kind: str
    blob_id: bytes
    data: bytes
    for_others: bool = False
    """It was asked for with `SwarmCore.fetch_for_others`."""


@frozen
class BlobUnavailable:
    """Nobody could give the blob in time; `why` is for people. The core has stopped trying."""

    kind: str
    blob_id: bytes
    why: str
    for_others: bool = False


@frozen
class BlobWanted:
    """A peer asked for a blob that is not ready here. Whether this node can make it (the leaf hashes of an image it serves), and
    how often it does, is for the host to judge: whoever likes may ask, as often as he likes, for what nobody has. So it is with
    getting it for that peer."""

    kind: str
    blob_id: bytes
    asker: Address


@frozen
class HoldersSought:
    """A peer asked who holds an image. The host may have its own plans for what nobody in reach holds."""

    holding: bytes
    """First 8 bytes of its infohash."""
    asker: Address


@frozen
class BlobGiven:
    """A peer was given so much of a blob."""

    kind: str
    blob_id: bytes
    size_bytes: int


@frozen
class PeersChanged:
    """Who holds what has changed: transfers may want new peers."""


@frozen
class TableHeard:
    """A message for the distributed hash table; a record in it has been offered to the store already."""

    message: Ask | Told
    source: Address


@frozen
class DialWanted:
    """A peer dials this node for an image, and can be reached only if it is dialled itself at this moment."""

    holding: bytes
    """First 8 bytes of the image's infohash."""
    node_id: bytes
    address: Address
    """Its transfer port."""


@frozen
class Refused:
    """Something from outside was refused; count it under (`what`, `why`), show it in doctor."""

    what: str
    why: str
    source: str
    reason: Reason = Reason.OTHER
    """The same in stable words."""


SwarmEffect = (
    SendDatagram
    | OpenStream
    | OpenTunnel
    | CloseTunnel
    | CarryTunnel
    | RecordAccepted
    | RecordForgotten
    | Equivocation
    | BlobFetched
    | BlobUnavailable
    | BlobWanted
    | HoldersSought
    | BlobGiven
    | PeersChanged
    | TableHeard
    | DialWanted
    | Refused
)
