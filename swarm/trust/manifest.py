"""What a channel's current releases are: the body of a `manifest` record (design D3).

Body: msgpack ``[swarm, channel, issued_at_s, releases]``, decoded strictly, so that a field this version
does not know is refused rather than half understood.
"""

from __future__ import annotations

from typing import Any

import msgpack
from attrs import frozen

from swarm.errors import RefusedError
from swarm.trust.times import TIME_S_MAX

RELEASES_MAX = 8
"""More than a channel needs, and few enough that a manifest stays inside one record of 4 KiB."""
COMPATIBLE_MAX = 8
NAME_CHARS_MAX = 128
TORRENT_BYTES_MAX = 8 * 1024 * 1024
"""A torrent file++ of a 32 GiB image with 256 KiB pieces is 4 MiB; larger ones are a mistake or an attack."""
IMAGE_BYTES_MAX = 64 * 1024**3
PARCELS_MAX = 8
"""Of one release. One takes some 115 bytes of a record that must stay inside 4 KiB."""


@frozen
class NamedParcel:
    """A release compressed against an older image, or against nothing, as a torrent of its own (design D4b).

    Its torrent is signed by whoever signed the image's.
    """

    infohash: bytes
    """Of the parcel's torrent, 32 bytes."""
    torrent_sha256: bytes
    """SHA-256 of the parcel's torrent file++."""
    torrent_bytes: int
    length_bytes: int
    """Of the parcel: what it costs to fetch."""
    from_root: bytes
    """Pieces root (BEP-52), 32 bytes, of the older image that it is opened with; empty: it needs none."""


@frozen
class Release:
    """One published state of a resource for some hardware."""

    resource: str
    compatible: tuple[str, ...]
    """Hardware this image runs on; a node needs one of these among its own."""
    release: int
    """The order of releases, >= 1. Never goes back on a node."""
    version: str
    """For people."""
    length_bytes: int
    infohash: bytes
    """BitTorrent v2, 32 bytes."""
    torrent_sha256: bytes
    """SHA-256 of the torrent file++: what it is fetched by."""
    torrent_bytes: int
    signer: bytes
    """Ed25519 public key that signed the torrent; must hold the `release` role."""
    parcels: tuple[NamedParcel, ...] = ()
    """Other ways to the same image, each from another one, in the order of their roots."""


@frozen
class Manifest:
    """A channel's current releases. Its order is the sequence of the record that carries it."""

    swarm: str
    channel: str
    issued_at_s: int
    releases: tuple[Release, ...]

    def encode(self) -> bytes:
        """The body of the record."""
        rows = [_row(release) for release in self.releases]
        return bytes(msgpack.packb([self.swarm, self.channel, self.issued_at_s, rows]))

    @classmethod
    def decode(cls, body: bytes) -> Manifest:
        """Read a body; raises `RefusedError` naming the field that is wrong."""
        try:
            value = msgpack.unpackb(body, raw=False, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"manifest is not msgpack: {error}") from error
        match value:
            case [str(swarm), str(channel), int(issued_at_s), list(rows)] if 1 <= len(rows) <= RELEASES_MAX:
                releases = tuple(_release(row) for row in rows)
            case _:
                raise RefusedError(f"manifest is not [swarm, channel, time, 1 to {RELEASES_MAX} releases]")
        at_s = _count(issued_at_s, "time", most=TIME_S_MAX)
        manifest = cls(_name(swarm, "swarm"), _name(channel, "channel"), at_s, releases)
        if manifest.encode() != body:
            raise RefusedError("manifest is not in its one canonical encoding")
        return manifest

    def release_for(self, resource: str, hardware: frozenset[str]) -> Release | None:
        """The newest release of `resource` that runs on this hardware; None where the manifest has none."""
        fits = [r for r in self.releases if r.resource == resource and hardware & set(r.compatible)]
        return max(fits, key=lambda r: r.release, default=None)


def _row(r: Release) -> list[Any]:
    fields = [
        r.resource,
        list(r.compatible),
        r.release,
        r.version,
        r.length_bytes,
        r.infohash,
        r.torrent_sha256,
        r.torrent_bytes,
        r.signer,
    ]
    parcels = [
        [p.infohash, p.torrent_sha256, p.torrent_bytes, p.length_bytes, p.from_root] for p in r.parcels
    ]
    return [*fields, parcels] if parcels else fields


def _release(row: Any) -> Release:
    if not isinstance(row, list) or len(row) not in (9, 10):
        raise RefusedError("manifest release does not have its nine fields, or ten with parcels")
    resource, compatible, release, version, length, infohash, sha256, torrent_bytes, signer = row[:9]
    if not isinstance(compatible, list) or not 1 <= len(compatible) <= COMPATIBLE_MAX:
        raise RefusedError(f"manifest release names no hardware, or more than {COMPATIBLE_MAX}")
    return Release(
        resource=_name(resource, "resource"),
        compatible=tuple(_name(c, "compatible") for c in compatible),
        release=_count(release, "release", least=1),
        version=_name(version, "version"),
        length_bytes=_count(length, "length", least=1, most=IMAGE_BYTES_MAX),
        infohash=_bytes32(infohash, "infohash"),
        torrent_sha256=_bytes32(sha256, "torrent_sha256"),
        torrent_bytes=_count(torrent_bytes, "torrent_bytes", least=1, most=TORRENT_BYTES_MAX),
        signer=_bytes32(signer, "signer"),
        parcels=_parcels(row[9]) if len(row) == 10 else (),
    )


def _parcels(rows: Any) -> tuple[NamedParcel, ...]:
    if not isinstance(rows, list) or not 1 <= len(rows) <= PARCELS_MAX:
        raise RefusedError(f"manifest release does not name 1 to {PARCELS_MAX} parcels")
    parcels = tuple(_parcel(row) for row in rows)
    roots = [parcel.from_root for parcel in parcels]
    if roots != sorted(set(roots)):
        raise RefusedError(
            "manifest release names two parcels from one image, or not in the order of their roots"
        )
    return parcels


def _parcel(row: Any) -> NamedParcel:
    if not isinstance(row, list) or len(row) != 5:
        raise RefusedError("manifest parcel does not have its five fields")
    infohash, sha256, torrent_bytes, length, from_root = row
    return NamedParcel(
        infohash=_bytes32(infohash, "parcel's infohash"),
        torrent_sha256=_bytes32(sha256, "parcel's torrent_sha256"),
        torrent_bytes=_count(torrent_bytes, "parcel's torrent_bytes", least=1, most=TORRENT_BYTES_MAX),
        length_bytes=_count(length, "parcel's length", least=1, most=IMAGE_BYTES_MAX),
        from_root=from_root if from_root == b"" else _bytes32(from_root, "parcel's from_root"),
    )


def _name(value: Any, what: str) -> str:
    if isinstance(value, str) and 1 <= len(value) <= NAME_CHARS_MAX and value.isprintable():
        return value
    raise RefusedError(f"manifest {what} is not a printable name of 1 to {NAME_CHARS_MAX} characters")


def _count(value: Any, what: str, *, least: int = 0, most: int = 2**53 - 1) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise RefusedError(f"manifest {what} is not a whole number from {least} to {most}")


def _bytes32(value: Any, what: str) -> bytes:
    if isinstance(value, bytes) and len(value) == 32:
        return value
    raise RefusedError(f"manifest {what} is not 32 bytes")
