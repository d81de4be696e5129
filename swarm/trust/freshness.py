"""What says that a manifest is still the newest: the body of a `fresh` record (design D2).

Key: the channel in UTF-8. Sequence: `at_s`, so that the latest word wins. Body: msgpack
``[1, swarm, channel, manifest_sequence, manifest_hash, at_s, valid_for_s]``. Signed by a threshold of the
``freshness`` role, which can stay online without being able to change what is installed.

Source: TUF specification 1.0.34, section 4.6 (timestamp).
"""

from __future__ import annotations

from typing import Any

import msgpack
from attrs import frozen

from swarm.errors import RefusedError
from swarm.trust.times import TIME_S_MAX

FRESH_KIND = "fresh"
HASH_BYTES = 32
CHANNEL_CHARS_MAX = 128
VALID_FOR_S_MAX = 366 * 86_400
"""A word that holds longer than a year would hide a freeze for as long as anybody cares."""
_FORMAT = 1
_NUMBER_MAX = 2**53 - 1


@frozen
class Freshness:
    """Manifest `manifest_sequence` of a channel was the newest at `at_s`."""

    swarm: str
    channel: str
    manifest_sequence: int
    manifest_hash: bytes
    """The `content_hash` of the manifest's record, 32 bytes."""
    at_s: int
    """Whole seconds since 1970; also the sequence of the record."""
    valid_for_s: int
    """How long this word may be relied on; >= 1. The next one should come well before."""

    @property
    def key(self) -> bytes:
        """The key of the record that carries it."""
        return self.channel.encode()

    def encode(self) -> bytes:
        """The body of the record."""
        fields = [
            _FORMAT,
            self.swarm,
            self.channel,
            self.manifest_sequence,
            self.manifest_hash,
            self.at_s,
            self.valid_for_s,
        ]
        return bytes(msgpack.packb(fields))

    @classmethod
    def decode(cls, body: bytes) -> Freshness:
        """Read a body; raises `RefusedError` on anything `encode` could not have written."""
        try:
            value = msgpack.unpackb(body, raw=False, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"freshness is not msgpack: {error}") from error
        match value:
            case [int(form), *fields] if form == _FORMAT and len(fields) == 6:
                swarm, channel, sequence, manifest_hash, at_s, valid_for_s = fields
            case _:
                raise RefusedError(f"freshness is not of format {_FORMAT}; a newer fruitd may read it")
        if not isinstance(manifest_hash, bytes) or len(manifest_hash) != HASH_BYTES:
            raise RefusedError(f"freshness names a manifest by a hash that is not {HASH_BYTES} bytes")
        fresh = cls(
            _name(swarm, "swarm"),
            _name(channel, "channel"),
            _count(sequence, "manifest sequence"),
            manifest_hash,
            _count(at_s, "time", most=TIME_S_MAX),
            _count(valid_for_s, "validity", least=1, most=VALID_FOR_S_MAX),
        )
        if fresh.encode() != body:
            raise RefusedError("freshness is not in its one canonical encoding")
        return fresh


def _name(value: Any, what: str) -> str:
    if isinstance(value, str) and 1 <= len(value) <= CHANNEL_CHARS_MAX and value.isprintable():
        return value
    raise RefusedError(f"freshness {what} is not a printable name of 1 to {CHANNEL_CHARS_MAX} characters")


def _count(value: Any, what: str, *, least: int = 0, most: int = _NUMBER_MAX) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise RefusedError(f"freshness {what} is not a whole number from {least} to {most}")
