"""What nodes say to each other, as bytes. The whole vocabulary is here; `docs/protocol.md` is its
description.

Every message is msgpack ``[version, type, field, ...]`` with one canonical encoding, sealed (`swarm.seal`)
under a context of its own. Datagrams: `Hello`, `Push`, `Have`; `Ask`, `Told` of the
DHT; `Meet`, `Go`, `Dial`. Streams carry one request and one reply:
`Sync` -> `SyncReply`, `Exchange` -> `Records`, `Get` -> `Chunk`; any request may be answered with `No`. `Tunnel` has no
reply: datagrams follow, both ways.

A decoder returns what its encoder could have written, or raises `RefusedError`; nothing else escapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import msgpack
from attrs import evolve, frozen

from swarm.address import Address
from swarm.discovery import meeting
from swarm.discovery.dht import messages as dht
from swarm.errors import RefusedError
from swarm.fields import address as _address
from swarm.fields import listed as _list
from swarm.fields import number as _number
from swarm.fields import octets as _bytes
from swarm.fields import text as _text
from swarm.fields import told as _told
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
    """Where do our stores differ? `buckets` are 64 digests of 8 bytes of the asker's store.

    `wide`: of what leaves a site only; the answer is about the same.
    """

    buckets: tuple[bytes, ...]
    wide: bool = False


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


@frozen
class PingFor:
    """I get no answer from this node of our site: do you?"""

    node_id: bytes


@frozen
class Word:
    """What a `PingFor` came to: the node has `answered` the sender of this, or has not yet."""

    node_id: bytes
    answered: bool


@frozen
class Suspicion:
    """Neither the sender nor whom it asked hears this node. Multicast: whoever does, or is it, says so."""

    node_id: bytes


@frozen
class Who:
    """Who holds this image? First 8 bytes of its infohash."""

    holding: bytes


@frozen
class Holders:
    """Control addresses of nodes that said so lately, those heard last first: hearsay, to be asked themselves."""

    peers: tuple[Address, ...]


@frozen
class Tunnel:
    """My datagrams do not get out: let mine and yours go by this stream."""


Datagram: TypeAlias = Hello | Push | Have | PingFor | Word | Suspicion | dht.Ask | dht.Told | meeting.Meeting
Request: TypeAlias = Sync | Exchange | Get | Who | Tunnel
Reply: TypeAlias = SyncReply | Records | Chunk | No | Holders
Message: TypeAlias = Datagram | Request | Reply


def encode(message: Message) -> bytes:
    """The one encoding of a message, before it is sealed."""
    number, fields = _fields(message)
    return bytes(msgpack.packb([_VERSION, number, *fields]))


def fits_datagram(message: Datagram) -> bool:
    """True if the sealed message stays within `DATAGRAM_BYTES_MAX`."""
    return len(encode(message)) <= DATAGRAM_BODY_BYTES_MAX


def fitted(told: dht.Told) -> dht.Told:
    """The answer with as many contacts as fit a datagram beside its value."""
    while told.contacts and not fits_datagram(told):
        told = evolve(told, contacts=told.contacts[:-1])
    return told


def decode_datagram(data: bytes) -> Datagram:
    """Read an opened datagram."""
    if len(data) > DATAGRAM_BODY_BYTES_MAX:
        raise RefusedError("datagram is too large")
    message = _decode(data)
    if not isinstance(message, Datagram):
        raise RefusedError("message does not belong in a datagram")
    return message


def decode_request(data: bytes) -> Request:
    """Read an opened stream request."""
    message = _decode(data)
    if not isinstance(message, Sync | Exchange | Get | Who | Tunnel):
        raise RefusedError("message is not a request")
    return message


def decode_reply(data: bytes) -> Reply:
    """Read an opened stream reply."""
    message = _decode(data)
    if not isinstance(message, SyncReply | Records | Chunk | No | Holders):
        raise RefusedError("message is not a reply")
    return message


_AS_IT_STANDS: dict[type, int] = {
    Have: 3,
    PingFor: 6,
    Word: 7,
    Suspicion: 8,
    Get: 20,
    Chunk: 21,
    No: 22,
    Who: 25,
    Tunnel: 27,
}
"""Type numbers of messages whose fields travel as they are, in order."""


def _fields(message: Message) -> tuple[int, list[Any]]:
    match message:
        case Hello(me=me):
            names = [me.node_id, me.name, me.site, me.control_port, me.transfer_port]
            held = list(message.holdings)
            echoes = [message.ping, message.pong]
            site = [message.wide, message.fetching, message.able]
            return 1, [*names, message.digest, held, message.near, *echoes, *site]
        case Push():
            return 2, [message.record.encode()]
        case dht.Ask() | dht.Told() | meeting.Meet() | meeting.Go() | meeting.Dial():
            return _fields_of_discovery(message)
        case Sync():
            return 16, [list(message.buckets), message.wide]
        case SyncReply():
            peers = [_told(address) for address in message.peers]
            return 17, [list(message.buckets), [list(row) for row in message.rows], peers]
        case Exchange():
            wanted = [list(pair) for pair in message.wanted]
            return 18, [[record.encode() for record in message.records], wanted]
        case Records():
            return 19, [[record.encode() for record in message.records]]
        case Holders():
            return 26, [[_told(address) for address in message.peers]]
        case _:
            return _AS_IT_STANDS[type(message)], list(attrs.astuple(message, recurse=False))


def _fields_of_discovery(message: dht.Ask | dht.Told | meeting.Meeting) -> tuple[int, list[Any]]:
    if isinstance(message, dht.Ask | dht.Told):
        return dht.fields_of(message)
    return meeting.fields_of(message)


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
    wide: Any,
    fetching: Any,
    able: Any,
) -> Hello:
    me = Me(
        _bytes(node_id, "node id", NODE_ID_BYTES),
        _text(name, "name", NAME_CHARS_MAX),
        _text(site, "site", NAME_CHARS_MAX),
        _number(control_port, "control port", 1, 65535),
        _number(transfer_port, "transfer port", 0, 65535),
    )
    held = tuple(_bytes(h, "holding", HOLDING_BYTES) for h in _list(holdings, "holdings", HOLDINGS_MAX))
    ping, pong = (_bytes(e, "echo", ECHO_BYTES) if e != b"" else b"" for e in (ping, pong))
    if not isinstance(near, bool) or not isinstance(able, bool):
        raise RefusedError("near or able is not yes or no")
    wanted = _bytes(fetching, "fetching", HOLDING_BYTES) if fetching != b"" else b""
    digest, wide = (_bytes(d, "digest", DIGEST_BYTES) for d in (digest, wide))
    return Hello(me, digest, held, near, ping, pong, wide, wanted, able)


def _push(record: Any) -> Push:
    return Push(_record(record))


def _have(kind: Any, key: Any, sequence: Any, hash8: Any) -> Have:
    return Have(*_row([kind, key, sequence, hash8]))


def _ping_for(node_id: Any) -> PingFor:
    return PingFor(_bytes(node_id, "node id", NODE_ID_BYTES))


def _word(node_id: Any, answered: Any) -> Word:
    if not isinstance(answered, bool):
        raise RefusedError("answered is not yes or no")
    return Word(_bytes(node_id, "node id", NODE_ID_BYTES), answered)


def _suspicion(node_id: Any) -> Suspicion:
    return Suspicion(_bytes(node_id, "node id", NODE_ID_BYTES))


def _who(holding: Any) -> Who:
    return Who(_bytes(holding, "holding", HOLDING_BYTES))


def _holders(peers: Any) -> Holders:
    return Holders(tuple(_address(p) for p in _list(peers, "peers", TOLD_PEERS_MAX)))


def _sync(buckets: Any, wide: Any) -> Sync:
    digests = tuple(_bytes(b, "bucket", 8) for b in _list(buckets, "buckets", BUCKETS))
    if len(digests) != BUCKETS:
        raise RefusedError(f"sync does not have {BUCKETS} buckets")
    if not isinstance(wide, bool):
        raise RefusedError("wide is not yes or no")
    return Sync(digests, wide)


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
    1: (13, _hello),
    2: (1, _push),
    3: (4, _have),
    6: (1, _ping_for),
    7: (2, _word),
    8: (1, _suspicion),
    **dht.READERS,
    **meeting.READERS,
    16: (2, _sync),
    17: (3, _sync_reply),
    18: (2, _exchange),
    19: (1, _records_reply),
    20: (4, _get),
    21: (2, _chunk),
    22: (1, _no),
    25: (1, _who),
    26: (1, _holders),
    27: (0, Tunnel),
}
"""Type number -> how many fields follow, and what reads them. Numbers below 16 are datagrams. Never used
twice."""


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
