"""What a node says of itself: the body of a `status` record.

Body: msgpack ``[2, at_s, name, site, release, version, infohash8, state, why, quarantined, uptime_s,
software, hardware, slot_bytes]``, at most 1 KiB so that the whole record travels in one datagram. The record's key is the node
id, its one signature is by the node's identity key, and its sequence is the node's time in milliseconds.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
from attrs import frozen

from swarm.errors import RefusedError
from swarm.news.record import SEQUENCE_MAX, Record
from swarm.signing import signed
from swarm.trust.keys import SecretKey

STATUS_KIND = "status"
STATUS_BYTES_MAX = 1024
NAME_CHARS_MAX = 40
"""Of name, site, version and software. Four of them in the widest UTF-8 still leave room for a reason."""
STATE_CHARS_MAX = 24
WHY_CHARS_MAX = 160
QUARANTINED_MAX = 8
INFOHASH_PREFIX_BYTES = 8
HARDWARE_MAX = 4
"""Names of hardware that are told. A board has two or three names, such as those of its device tree."""
WHY_CHARS_KEPT = 16
"""Where words in wide scripts do not all fit, a reason is cut to no less than this before hardware is left out."""
_FORMAT = 2
_NUMBER_MAX = 2**53 - 1


@frozen
class QuarantinedRelease:
    """A release this node will not try again by itself."""

    release: int
    infohash8: bytes
    """The first 8 bytes of its infohash."""


@frozen
class NodeStatus:
    """One node's word about itself; believed about that node only.

    `fitted` makes any values fit the bounds.
    """

    at_s: int
    """When it was said, seconds since 1970 on that node's clock."""
    name: str
    site: str
    """Empty where the node was not told."""
    release: int
    """Of the active slot; 0 where it is unknown."""
    version: str
    infohash8: bytes
    """Of the active slot, the first 8 bytes; empty where it is unknown."""
    state: str
    """Of the update, e.g. "fetching"."""
    why: str
    quarantined: tuple[QuarantinedRelease, ...]
    """The newest last."""
    uptime_s: int
    """Of the daemon."""
    software: str
    """Version of fruitd."""
    hardware: tuple[str, ...] = ()
    """What it takes images for, as many names as are told."""
    slot_bytes: int = 0
    """Size of its smaller slot; 0 where it has none or does not know."""

    def encode(self) -> bytes:
        """The body of the record."""
        quarantined = [[q.release, q.infohash8] for q in self.quarantined]
        fields = [
            self.at_s,
            self.name,
            self.site,
            self.release,
            self.version,
            self.infohash8,
            self.state,
            self.why,
            quarantined,
            self.uptime_s,
            self.software,
            list(self.hardware),
            self.slot_bytes,
        ]
        return bytes(msgpack.packb([_FORMAT, *fields]))

    @classmethod
    def decode(cls, body: bytes) -> NodeStatus:
        """Read a body; raises `RefusedError` on anything but the encoding of a fitted status."""
        if len(body) > STATUS_BYTES_MAX:
            raise RefusedError(f"status of {len(body)} bytes, the limit is {STATUS_BYTES_MAX}")
        try:
            value = msgpack.unpackb(body, raw=False, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"status is not msgpack: {error}") from error
        match value:
            case [int(form), *fields] if form == _FORMAT and len(fields) == 13:
                status = cls._from_fields(fields)
            case _:
                raise RefusedError(f"status is not of format {_FORMAT}; a newer fruitd may read it")
        if status.encode() != body:
            raise RefusedError("status is not in its one canonical encoding")
        return status

    @classmethod
    def _from_fields(cls, fields: list[Any]) -> NodeStatus:
        at_s, name, site, release, version, infohash8, state, why, quarantined, uptime_s, *rest = fields
        software, hardware, slot_bytes = rest
        if not isinstance(quarantined, list) or len(quarantined) > QUARANTINED_MAX:
            raise RefusedError(f"status has no list of at most {QUARANTINED_MAX} quarantined releases")
        if not isinstance(hardware, list) or len(hardware) > HARDWARE_MAX:
            raise RefusedError(f"status has no list of at most {HARDWARE_MAX} names of hardware")
        return cls(
            at_s=_count(at_s, "time"),
            name=_text(name, "name", NAME_CHARS_MAX),
            site=_text(site, "site", NAME_CHARS_MAX),
            release=_count(release, "release"),
            version=_text(version, "version", NAME_CHARS_MAX),
            infohash8=_prefix(infohash8, may_be_empty=True),
            state=_text(state, "state", STATE_CHARS_MAX),
            why=_text(why, "why", WHY_CHARS_MAX),
            quarantined=tuple(_quarantined(row) for row in quarantined),
            uptime_s=_count(uptime_s, "uptime"),
            software=_text(software, "software", NAME_CHARS_MAX),
            hardware=tuple(_text(name, "hardware", NAME_CHARS_MAX) for name in hardware),
            slot_bytes=_count(slot_bytes, "slot size"),
        )

    def fitted(self) -> NodeStatus:
        """The same status with texts made printable and cut to the bounds, so that `decode` accepts it.

        Where wide characters make it too long, the reason is cut further, then hardware is left out; numbers are held
        within their range.
        """
        status = attrs.evolve(
            self,
            at_s=_held(self.at_s),
            name=_cut(self.name, NAME_CHARS_MAX),
            site=_cut(self.site, NAME_CHARS_MAX),
            release=_held(self.release),
            version=_cut(self.version, NAME_CHARS_MAX),
            infohash8=self.infohash8[:INFOHASH_PREFIX_BYTES],
            state=_cut(self.state, STATE_CHARS_MAX),
            why=_cut(self.why, WHY_CHARS_MAX),
            quarantined=tuple(
                QuarantinedRelease(_held(q.release), q.infohash8[:INFOHASH_PREFIX_BYTES])
                for q in self.quarantined[-QUARANTINED_MAX:]
            ),
            uptime_s=_held(self.uptime_s),
            software=_cut(self.software, NAME_CHARS_MAX),
            hardware=tuple(_cut(name, NAME_CHARS_MAX) for name in self.hardware[:HARDWARE_MAX]),
            slot_bytes=_held(self.slot_bytes),
        )
        while len(status.encode()) > STATUS_BYTES_MAX:
            status = status._shorter()
        return status

    def _shorter(self) -> NodeStatus:
        """A little less of what can best be done without."""
        if len(self.why) > WHY_CHARS_KEPT or not self.hardware:
            return attrs.evolve(self, why=_cut(self.why, len(self.why) - 1))
        return attrs.evolve(self, hardware=self.hardware[:-1])


def status_record(status: NodeStatus, identity: SecretKey, now_s: float, after: int = 0) -> Record:
    """The signed record of this status.

    Args:
        status: fitted here.
        identity: the node's key.
        now_s: the node's time, seconds since 1970.
        after: sequence of the last status this node published; the new one is higher even if the clock went
        back.
    """
    sequence = min(max(int(now_s * 1000), after + 1), SEQUENCE_MAX)
    return signed(Record(STATUS_KIND, identity.node_id, sequence, status.fitted().encode()), identity)


def _cut(text: str, chars_max: int) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    if len(printable) <= chars_max:
        return printable
    return printable[: chars_max - 1] + "…" if chars_max else ""


def _held(number: int) -> int:
    return min(max(int(number), 0), _NUMBER_MAX)


def _count(value: Any, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _NUMBER_MAX:
        return value
    raise RefusedError(f"status {what} is not a whole number from 0 to {_NUMBER_MAX}")


def _text(value: Any, what: str, chars_max: int) -> str:
    if isinstance(value, str) and len(value) <= chars_max and value.isprintable():
        return value
    raise RefusedError(f"status {what} is not printable text of at most {chars_max} characters")


def _prefix(value: Any, *, may_be_empty: bool) -> bytes:
    if isinstance(value, bytes) and (len(value) == INFOHASH_PREFIX_BYTES or (may_be_empty and not value)):
        return value
    raise RefusedError(f"status infohash is not {INFOHASH_PREFIX_BYTES} bytes")


def _quarantined(row: Any) -> QuarantinedRelease:
    if not isinstance(row, list) or len(row) != 2:
        raise RefusedError("status quarantine is not [release, infohash]")
    return QuarantinedRelease(_count(row[0], "quarantined release"), _prefix(row[1], may_be_empty=False))
