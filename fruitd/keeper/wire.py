"""What the daemon and the keeper's process say to each other over their Unix socket: msgpack lists, each behind its length.

One request to a connection. A reply ends it: ``["done", value]`` or ``["failed", kind, words, final]``; before that of `check`
come any number of ``["leaves", bytes]``. Decoding is strict, and raises `BugError`: both sides are of one release of this
program, so what is malformed is a mistake of ours or an attack, and the connection ends.
"""

from __future__ import annotations

import socket
from typing import Any, TypeAlias

import msgpack
from attrs import frozen

from fruitd import errors
from fruitd.errors import BugError, FruitError, RetryError, SlotError
from fruitd.keeper.book import ROOTS_MAX
from fruitd.keeper.port import Proof
from swarm.news.record import RECORD_BYTES_MAX
from swarm.trust.manifest import TORRENT_BYTES_MAX

MESSAGE_BYTES_MAX = TORRENT_BYTES_MAX + (ROOTS_MAX + 1) * RECORD_BYTES_MAX + 4096
"""The largest request is a check, with its torrent and a whole chain of roots."""
TIMEOUT_S = 30.0
"""Either side may be slow to take or give a message: a Pi under load. Larger lets a stuck peer hold the other for longer."""
CHECK_TIMEOUT_S = 300.0
"""A card may stall for long in the middle of a read-back, or while the loan is flushed."""
_VERSION = 1
_KINDS: dict[str, type[FruitError]] = {
    kind.__name__: kind for kind in (errors.RefusedError, RetryError, SlotError, BugError)
}


@frozen
class Facts:
    """What the boot loader says."""


@frozen
class Paths:
    """Where each slot is, a then b."""


@frozen
class SlotBytes:
    """How large a slot is that could be written."""

    slot: str


@frozen
class Lend:
    """Let the daemon write a slot."""

    slot: str
    image_bytes: int


@frozen
class Check:
    """End the loan and read the slot back."""

    slot: str
    proof: Proof


@frozen
class Arm:
    """Try a slot at the next boot."""

    slot: str
    infohash: bytes


@frozen
class Commit:
    """Make a slot the default."""

    slot: str


@frozen
class Restart:
    """Restart the machine."""


Request: TypeAlias = Facts | Paths | SlotBytes | Lend | Check | Arm | Commit | Restart


def encode_request(request: Request) -> bytes:
    """A request as it travels."""
    match request:
        case Facts():
            fields: list[Any] = ["facts"]
        case Paths():
            fields = ["paths"]
        case SlotBytes(slot):
            fields = ["slot_bytes", slot]
        case Lend(slot, image_bytes):
            fields = ["lend", slot, image_bytes]
        case Check(slot, proof):
            fields = ["check", slot, proof.infohash, proof.torrent, proof.manifest, list(proof.roots)]
        case Arm(slot, infohash):
            fields = ["arm", slot, infohash]
        case Commit(slot):
            fields = ["commit", slot]
        case Restart():
            fields = ["restart"]
    return bytes(msgpack.packb([_VERSION, *fields]))


def decode_request(data: bytes) -> Request:
    """Read a request; raises `BugError`."""
    match _unpacked(data):
        case [int(version), *fields] if version == _VERSION:
            pass
        case _:
            raise BugError(
                f"request is not of version {_VERSION}: daemon and keeper are of different releases"
            )
    match fields:
        case ["facts"]:
            return Facts()
        case ["paths"]:
            return Paths()
        case ["slot_bytes", str(slot)]:
            return SlotBytes(slot)
        case ["lend", str(slot), int(image_bytes)] if image_bytes >= 0:
            return Lend(slot, image_bytes)
        case ["check", str(slot), bytes(infohash), bytes(torrent), bytes(manifest), list(roots)] if all(
            isinstance(root, bytes) for root in roots
        ):
            return Check(slot, Proof(infohash, torrent, manifest, tuple(roots)))
        case ["arm", str(slot), bytes(infohash)]:
            return Arm(slot, infohash)
        case ["commit", str(slot)]:
            return Commit(slot)
        case ["restart"]:
            return Restart()
    raise BugError("request is none that the keeper knows")


def encode_done(value: Any) -> bytes:
    """The end of a request that was carried out."""
    return bytes(msgpack.packb(["done", value]))


def encode_leaves(leaves: bytes) -> bytes:
    """Hashes of the next blocks of the slot, 32 bytes each; zero where one cannot be read."""
    return bytes(msgpack.packb(["leaves", leaves]))


def encode_failed(error: FruitError) -> bytes:
    """The end of a request that was not carried out."""
    final = isinstance(error, SlotError) and error.final
    kind = type(error).__name__ if type(error).__name__ in _KINDS else BugError.__name__
    return bytes(msgpack.packb(["failed", kind, str(error)[:1000], final]))


def decode_reply(data: bytes) -> tuple[bool, Any]:
    """Read a reply: ``(True, value)`` at the end, ``(False, leaves)`` before; raises what the keeper raised."""
    match _unpacked(data):
        case ["done", value]:
            return True, value
        case ["leaves", bytes(leaves)]:
            return False, leaves
        case ["failed", str(kind), str(words), bool(final)] if kind in _KINDS:
            error = _KINDS[kind]
            raise SlotError(words, final=final) if error is SlotError else error(words)
    raise BugError("the keeper's reply is none that the daemon knows")


def send(connection: socket.socket, message: bytes) -> None:
    """Send one message; raises OSError."""
    connection.sendall(len(message).to_bytes(4, "big") + message)


def receive(connection: socket.socket) -> bytes:
    """The next message, empty where the other side has ended; raises OSError, or `BugError` for one that is too long."""
    head = _receive(connection, 4)
    size_bytes = int.from_bytes(head, "big")
    if size_bytes > MESSAGE_BYTES_MAX:
        raise BugError(f"message of {size_bytes} bytes, the limit is {MESSAGE_BYTES_MAX}")
    return _receive(connection, size_bytes)


def _receive(connection: socket.socket, size_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        part = connection.recv(min(65536, size_bytes - len(data)))
        if not part:
            return b""
        data += part
    return bytes(data)


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise BugError(f"message is not msgpack: {error}") from error
