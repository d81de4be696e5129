"""What nodes say to each other, as bytes. The whole vocabulary is here; `docs/protocol.md` is its
description.

Every message is msgpack ``[version, type, field, ...]`` with one canonical encoding, sealed (`swarm.seal`)
under a context of its own. Datagrams: `Hello`, `Push`, `Have`. Streams carry one request and one reply:
`Sync` -> `SyncReply`, `Exchange` -> `Records`, `Get` -> `Chunk`; any request may be answered with `No`.

A decoder returns what its encoder could have written, or raises `RefusedError`; nothing else escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, TypeAlias

import msgpack
from attrs import frozen

from swarm.address import Address
from swarm.errors import RefusedError
from swarm.me import (
    DIGEST_BYTES,
    ECHO_BYTES,
    HOLDING_BYTES,
    HOLDINGS_MAX,
    NAME_CHARS_MAX,
    NODE_ID_BYTES,
    Hello,
    Me,
)
from swarm.news.reconcile import BUCKETS
from swarm.news.record import KEY_BYTES_MAX, KIND_CHARS_MAX, SEQUENCE_MAX, Record
from swarm.seal import OVERHEAD_BYTES

DATAGRAM_BYTES_MAX = 1400
"""Sealed. Larger would be cut into fragments on tunnels and PPPoE lines, where one lost fragment loses all of
it."""
DATAGRAM_BODY_BYTES_MAX = DATAGRAM_BYTES_MAX - OVERHEAD_BYTES
FRAME_BYTES_MAX = 256 * 1024
"""One sealed request or reply on a stream. Times the connections a node serves at once, this bounds their
memory."""
CHUNK_BYTES = 64 * 1024
"""Range of a blob per request. Larger: more memory per connection; smaller: more round trips."""
BLOB_BYTES_MAX = 2**40
"""Range check only: what a node really fetches is bounded by the size a signed manifest names."""
ROWS_MAX = 2048
RECORDS_MAX = 64
"""Records in one exchange: each costs a signature check, and a Pi Zero checks about 3,000 a second."""
RECORDS_BYTES_MAX = 160 * 1024
WANTED_MAX = 256
TOLD_PEERS_MAX = 8
REASON_CHARS_MAX = 120
_VERSION = 1

Row: TypeAlias = tuple[str, bytes, int, bytes]
"""(kind, key, sequence, first 8 bytes of the content's hash): one line of a store's summary."""


@frozen
class Push:
    """A record, whole: eager news."""

    record: Record


@frozen
class Have:
    """A record too large for a datagram: ask the sender for it."""

    kind: str
    key: bytes
    sequence: int
    hash8: bytes


@frozen
class Sync:
    """Where do our stores differ? `buckets` are 64 digests of 8 bytes of the asker's store."""

    buckets: tuple[bytes, ...]


@frozen
class SyncReply:
    """The rows of the answerer's store in the buckets that differ; `buckets` names those that are told whole.

    `peers` are some nodes the answerer has heard lately: hearsay, to be asked themselves.
    """

    buckets: tuple[int, ...]
    rows: tuple[Row, ...]
    peers: tuple[Address, ...]


@frozen
class Exchange:
    """Here are records you lack; send me these."""

    records: tuple[Record, ...]
    wanted: tuple[tuple[str, bytes], ...]


@frozen
class Records:
    """The records asked for, as many as fit; the rest when asked again."""

    records: tuple[Record, ...]


@frozen
class Get:
    """A range of a blob; `length` <= 64 KiB."""

    kind: str
    blob_id: bytes
    offset: int
    length: int


@frozen
class Chunk:
    """The range asked for, and the size of the whole blob."""

    size_bytes: int
    data: bytes


@frozen
class No:
    """The request cannot be served now; `why` is for people."""

    why: str


Datagram: TypeAlias = Hello | Push | Have
Request: TypeAlias = Sync | Exchange | Get
Reply: TypeAlias = SyncReply | Records | Chunk | No
Message: TypeAlias = Datagram | Request | Reply


def encode(message: Message) -> bytes:
    """The one encoding of a message, before it is sealed."""
    number, fields = _fields(message)
    return bytes(msgpack.packb([_VERSION, number, *fields]))


def fits_datagram(message: Datagram) -> bool:
    """True if the sealed message stays within `DATAGRAM_BYTES_MAX`."""
    return len(encode(message)) <= DATAGRAM_BODY_BYTES_MAX


def decode_datagram(data: bytes) -> Datagram:
    """Read an opened datagram."""
    if len(data) > DATAGRAM_BODY_BYTES_MAX:
        raise RefusedError("datagram is too large")
    message = _decode(data)
    if not isinstance(message, Hello | Push | Have):
        raise RefusedError("message does not belong in a datagram")
    return message


def decode_request(data: bytes) -> Request:
    """Read an opened stream request."""
    message = _decode(data)
    if not isinstance(message, Sync | Exchange | Get):
        raise RefusedError("message is not a request")
    return message


def decode_reply(data: bytes) -> Reply:
    """Read an opened stream reply."""
    message = _decode(data)
    if not isinstance(message, SyncReply | Records | Chunk | No):
        raise RefusedError("message is not a reply")
    return message


def _fields(message: Message) -> tuple[int, list[Any]]:  # one line for each message: longer is not harder
    match message:
        case Hello(me=me):
            names = [me.node_id, me.name, me.site, me.control_port, me.transfer_port]
            held = list(message.holdings)
            return 1, [*names, message.digest, held, message.near, message.ping, message.pong]
        case Push():
            return 2, [message.record.encode()]
        case Have():
            return 3, [message.kind, message.key, message.sequence, message.hash8]
        case Sync():
            return 16, [list(message.buckets)]
        case SyncReply():
            told = [[address.host, address.port] for address in message.peers]
            return 17, [list(message.buckets), [list(row) for row in message.rows], told]
        case Exchange():
            wanted = [list(pair) for pair in message.wanted]
            return 18, [[record.encode() for record in message.records], wanted]
        case Records():
            return 19, [[record.encode() for record in message.records]]
        case Get():
            return 20, [message.kind, message.blob_id, message.offset, message.length]
        case Chunk():
            return 21, [message.size_bytes, message.data]
        case No():
            return 22, [message.why]


def _decode(data: bytes) -> Message:
    if len(data) > FRAME_BYTES_MAX:
        raise RefusedError("message is too large")
    try:
        value = msgpack.unpackb(data, use_list=True, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise RefusedError("message is not msgpack") from error
    if not isinstance(value, list) or len(value) < 2 or type(value[1]) is not int:
        raise RefusedError("message is not [version, type, ...]")
    if type(value[0]) is not int or value[0] != _VERSION:
        raise RefusedError("message is not of version 1")
    if value[1] not in _READERS:
        raise RefusedError("message type is unknown")
    count, reader = _READERS[value[1]]
    if len(value) != 2 + count:
        raise RefusedError("message has the wrong number of fields")
    message = reader(*value[2:])
    if encode(message) != data:
        raise RefusedError("message is not in its one canonical encoding")
    return message


def _hello(
    node_id: Any,
    name: Any,
    site: Any,
    control_port: Any,
    transfer_port: Any,
    digest: Any,
    holdings: Any,
    near: Any,
    ping: Any,
    pong: Any,
) -> Hello:
    me = Me(
        _bytes(node_id, "node id", NODE_ID_BYTES),
        _text(name, "name", NAME_CHARS_MAX),
        _text(site, "site", NAME_CHARS_MAX),
        _number(control_port, "control port", 1, 65535),
        _number(transfer_port, "transfer port", 0, 65535),
    )
    held = tuple(_bytes(h, "holding", HOLDING_BYTES) for h in _list(holdings, "holdings", HOLDINGS_MAX))
    echoes = [_bytes(e, "echo", ECHO_BYTES) if e != b"" else b"" for e in (ping, pong)]
    if not isinstance(near, bool):
        raise RefusedError("near is not yes or no")
    return Hello(me, _bytes(digest, "digest", DIGEST_BYTES), held, near, *echoes)


def _push(record: Any) -> Push:
    return Push(_record(record))


def _have(kind: Any, key: Any, sequence: Any, hash8: Any) -> Have:
    return Have(*_row([kind, key, sequence, hash8]))


def _sync(buckets: Any) -> Sync:
    digests = tuple(_bytes(b, "bucket", 8) for b in _list(buckets, "buckets", BUCKETS))
    if len(digests) != BUCKETS:
        raise RefusedError(f"sync does not have {BUCKETS} buckets")
    return Sync(digests)


def _sync_reply(buckets: Any, rows: Any, peers: Any) -> SyncReply:
    numbers = tuple(_number(b, "bucket", 0, BUCKETS - 1) for b in _list(buckets, "buckets", BUCKETS))
    if list(numbers) != sorted(set(numbers)):
        raise RefusedError("buckets are not in order")
    lines = tuple(_row(row) for row in _list(rows, "rows", ROWS_MAX))
    return SyncReply(numbers, lines, tuple(_address(p) for p in _list(peers, "peers", TOLD_PEERS_MAX)))


def _exchange(records: Any, wanted: Any) -> Exchange:
    return Exchange(_records(records), tuple(_wanted(pair) for pair in _list(wanted, "wanted", WANTED_MAX)))


def _records_reply(records: Any) -> Records:
    return Records(_records(records))


def _get(kind: Any, blob_id: Any, offset: Any, length: Any) -> Get:
    return Get(
        _kind(kind),
        _bytes(blob_id, "blob id", 32),
        _number(offset, "offset", 0, BLOB_BYTES_MAX),
        _number(length, "length", 1, CHUNK_BYTES),
    )


def _chunk(size_bytes: Any, data: Any) -> Chunk:
    if not isinstance(data, bytes) or len(data) > CHUNK_BYTES:
        raise RefusedError("chunk is not at most 64 KiB of bytes")
    return Chunk(_number(size_bytes, "blob size", 0, BLOB_BYTES_MAX), data)


def _no(why: Any) -> No:
    return No(_text(why, "reason", REASON_CHARS_MAX))


_READERS: dict[int, tuple[int, Callable[..., Message]]] = {
    1: (10, _hello),
    2: (1, _push),
    3: (4, _have),
    16: (1, _sync),
    17: (3, _sync_reply),
    18: (2, _exchange),
    19: (1, _records_reply),
    20: (4, _get),
    21: (2, _chunk),
    22: (1, _no),
}
"""Type number -> how many fields follow, and what reads them. Numbers below 16 are datagrams. Never used
twice."""


def _bytes(value: Any, what: str, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise RefusedError(f"{what} is not {size} bytes")
    return value


def _text(value: Any, what: str, chars_max: int) -> str:
    if not isinstance(value, str) or len(value) > chars_max or not value.isprintable():
        raise RefusedError(f"{what} is not a printable text of at most {chars_max} characters")
    return value


def _number(value: Any, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise RefusedError(f"{what} is not a whole number from {least} to {most}")
    return value


def _list(value: Any, what: str, count_max: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > count_max:
        raise RefusedError(f"{what} is not a list of at most {count_max}")
    return value


def _kind(value: Any) -> str:
    kind = _text(value, "kind", KIND_CHARS_MAX)
    if not kind:
        raise RefusedError("kind is empty")
    return kind


def _key(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) > KEY_BYTES_MAX:
        raise RefusedError("key is not a short byte string")
    return value


def _wanted(value: Any) -> tuple[str, bytes]:
    if not isinstance(value, list) or len(value) != 2:
        raise RefusedError("wanted is not [kind, key]")
    return _kind(value[0]), _key(value[1])


def _row(value: Any) -> Row:
    if not isinstance(value, list) or len(value) != 4:
        raise RefusedError("row is not [kind, key, sequence, hash]")
    kind, key, sequence, hash8 = value
    return _kind(kind), _key(key), _number(sequence, "sequence", 0, SEQUENCE_MAX), _bytes(hash8, "hash", 8)


def _record(value: Any) -> Record:
    if not isinstance(value, bytes):
        raise RefusedError("record is not a byte string")
    return Record.decode(value)


def _records(value: Any) -> tuple[Record, ...]:
    encoded = _list(value, "records", RECORDS_MAX)
    if sum(len(e) for e in encoded if isinstance(e, bytes)) > RECORDS_BYTES_MAX:
        raise RefusedError(f"records are more than {RECORDS_BYTES_MAX} bytes together")
    return tuple(_record(e) for e in encoded)


def _address(value: Any) -> Address:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise RefusedError("peer is not [host, port]")
    host = value[0]
    try:
        literal = ip_address(host)
    except ValueError:
        raise RefusedError("peer's host is not an IP address") from None
    if str(literal) != host or "%" in host or literal.is_unspecified or literal.is_multicast:
        raise RefusedError("peer's host is not the address of one computer")
    return Address(host, _number(value[1], "port", 1, 65535))
