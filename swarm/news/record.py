"""A record: the one kind of news. Any signed fact that is gossiped (design D1).

On the wire: msgpack ``[1, kind, key, sequence, body, [[public_key, signature], ...]]``, at most 4 KiB.
What is signed: ``b"fruit-record-1\\0"`` followed by msgpack ``[kind, key, sequence, body]``; the kind
inside the signed bytes keeps a signature made for one kind from counting for another.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import msgpack
from attrs import field, frozen

from swarm.errors import Reason, RefusedError

RECORD_BYTES_MAX = 4096
"""One record and its envelope fit three Ethernet frames; larger things are fetched by hash (design D1)."""
SIGNATURES_MAX = 16
KIND_CHARS_MAX = 16
KEY_BYTES_MAX = 64
SEQUENCE_MAX = 2**53 - 1
"""The largest integer every JSON reader keeps exact."""
_DOMAIN = b"fruit-record-1\0"
_VERSION = 1


@frozen
class Signature:
    """An Ed25519 signature (64 bytes) and the public key (32 bytes) that made it."""

    public_key: bytes
    signature: bytes


@frozen(slots=False)
class Record:
    """A signed fact. Two records are the same news if their `content_hash` is equal, whoever signed."""

    kind: str
    key: bytes
    sequence: int
    body: bytes
    signatures: tuple[Signature, ...] = field(default=())

    @cached_property
    def signed_bytes(self) -> bytes:
        """Exactly what every signature of this record is over."""
        return _DOMAIN + bytes(msgpack.packb([self.kind, self.key, self.sequence, self.body]))

    @cached_property
    def content_hash(self) -> bytes:
        """SHA-256 of the signed bytes: names the news, not its signatures."""
        return hashlib.sha256(self.signed_bytes).digest()

    def encode(self) -> bytes:
        """The record as it travels and is stored."""
        envelope = [
            _VERSION,
            self.kind,
            self.key,
            self.sequence,
            self.body,
            [[s.public_key, s.signature] for s in self.signatures],
        ]
        return bytes(msgpack.packb(envelope))

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Read one record; raises `RefusedError` on anything that `encode` could not have written."""
        if len(data) > RECORD_BYTES_MAX:
            raise RefusedError(
                f"record of {len(data)} bytes, the limit is {RECORD_BYTES_MAX}", Reason.TOO_LARGE
            )
        try:
            envelope = msgpack.unpackb(data, use_list=True, raw=False, strict_map_key=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"record is not msgpack: {error}") from error
        record = cls._from_envelope(envelope)
        if record.encode() != data:
            raise RefusedError("record is not in its one canonical encoding")
        return record

    @classmethod
    def _from_envelope(cls, envelope: Any) -> Record:
        if not isinstance(envelope, list) or len(envelope) != 6 or envelope[0] != _VERSION:
            raise RefusedError("record is not a version 1 envelope of six fields")
        _, kind, key, sequence, body, signatures = envelope
        if not isinstance(kind, str) or not 1 <= len(kind) <= KIND_CHARS_MAX:
            raise RefusedError("record kind is not a short string")
        if not isinstance(key, bytes) or len(key) > KEY_BYTES_MAX:
            raise RefusedError("record key is not a short byte string")
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence <= SEQUENCE_MAX:
            raise RefusedError("record sequence is out of range")
        if not isinstance(body, bytes):
            raise RefusedError("record body is not a byte string")
        if not isinstance(signatures, list) or len(signatures) > SIGNATURES_MAX:
            raise RefusedError(f"record has no list of at most {SIGNATURES_MAX} signatures")
        return cls(kind, key, sequence, body, tuple(_signature(pair) for pair in signatures))


def _signature(pair: Any) -> Signature:
    match pair:
        case [bytes(public_key), bytes(signature)] if len(public_key) == 32 and len(signature) == 64:
            return Signature(public_key, signature)
    raise RefusedError("record signature is not a public key of 32 bytes and a signature of 64")
