"""What nodes say to each other in the distributed hash table: one question and one answer, both datagrams.

They are sealed like every datagram and travel from control port to control port, so that the table of contacts is a table of
peers and one hole in a firewall serves both. A value is a record: it is believed by its signatures and by nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from swarm.address import Address
from swarm.errors import Reason, RefusedError
from swarm.fields import address, listed, number, octets, text, told

ID_BYTES = 20
ECHO_BYTES = 8
NEIGHBOURS_MAX = 8
"""Contacts in one answer: Kademlia's k. More: larger answers and tables that outlive more losses; fewer: tables that break
sooner."""
VALUE_BYTES_MAX = 1200
"""A larger value would be cut into fragments on the way; it is announced with a `Have` beside the answer instead."""
VALUE_KIND_CHARS_MAX = 16
VALUE_KEY_BYTES_MAX = 64


@frozen
class Contact:
    """A node of the table: its id, and where it answers."""

    node_id: bytes
    address: Address


@frozen
class Ask:
    """Who do you know near `target`? With `kind` and `key` also: what record of that name do you hold?

    An empty target asks for nothing but an answer. `open` says that the asker can be asked by anybody, too.
    """

    echo: bytes
    node_id: bytes
    open: bool = False
    target: bytes = b""
    kind: str = ""
    key: bytes = b""


@frozen
class Told:
    """The answer to the `Ask` with this echo. `seen`: where the question came from, as the answerer saw it."""

    echo: bytes
    node_id: bytes
    open: bool
    seen: Address
    contacts: tuple[Contact, ...] = ()
    value: bytes = field(default=b"", repr=False)
    """The encoded record that was asked for; empty: not held, or too large."""


def value_id(kind: str, key: bytes) -> bytes:
    """Where in the table a record lives."""
    return hashlib.sha256(b"fruit-dht-value-1\0" + kind.encode() + b"\0" + key).digest()[:ID_BYTES]


def fields_of(message: Ask | Told) -> tuple[int, list[Any]]:
    """Type number and fields, as `swarm.wire` packs them."""
    if isinstance(message, Ask):
        return 10, [message.echo, message.node_id, message.open, message.target, message.kind, message.key]
    contacts = [[c.node_id, *told(c.address)] for c in message.contacts]
    return 11, [
        message.echo,
        message.node_id,
        message.open,
        told(message.seen),
        contacts,
        message.value,
    ]


def _ask(echo: Any, node_id: Any, is_open: Any, target: Any, kind: Any, key: Any) -> Ask:
    aim = octets(target, "target", ID_BYTES) if target != b"" else b""
    name = text(kind, "kind", VALUE_KIND_CHARS_MAX)
    if not isinstance(key, bytes) or len(key) > VALUE_KEY_BYTES_MAX:
        raise RefusedError("key is not a short byte string")
    if bool(name) != bool(key) or (name and aim != value_id(name, key)):
        raise RefusedError("a value is asked for by kind, key and the id that follows from them")
    return Ask(
        octets(echo, "echo", ECHO_BYTES), octets(node_id, "node id", ID_BYTES), _yes(is_open), aim, name, key
    )


def _told(echo: Any, node_id: Any, is_open: Any, seen: Any, contacts: Any, value: Any) -> Told:
    if not isinstance(value, bytes) or len(value) > VALUE_BYTES_MAX:
        raise RefusedError(f"value is not at most {VALUE_BYTES_MAX} bytes", Reason.TOO_LARGE)
    return Told(
        octets(echo, "echo", ECHO_BYTES),
        octets(node_id, "node id", ID_BYTES),
        _yes(is_open),
        address(seen),
        tuple(_contact(c) for c in listed(contacts, "contacts", NEIGHBOURS_MAX)),
        value,
    )


def _contact(value: Any) -> Contact:
    if not isinstance(value, list) or len(value) != 3:
        raise RefusedError("contact is not [node id, host, port]")
    node_id, host, port = value
    return Contact(octets(node_id, "node id", ID_BYTES), address([host, number(port, "port", 1, 65535)]))


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RefusedError("open is not yes or no")
    return value


READERS: dict[int, tuple[int, Callable[..., Ask | Told]]] = {10: (6, _ask), 11: (6, _told)}
"""As in `swarm.wire`: type number -> how many fields, and what reads them."""
