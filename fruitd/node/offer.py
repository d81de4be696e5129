"""From manifests to what the updater is offered, and back: the updater speaks hex and knows nothing of manifests."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from fruitd.updater.journal import Target
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.trust.manifest import Manifest, NamedParcel, Release
from swarm.trust.trusted_set import TrustedSet


def target_of(release: Release) -> Target:
    """The updater's view of a manifest's release."""
    return Target(
        resource=release.resource,
        release=release.release,
        version=release.version,
        compatible=release.compatible,
        length_bytes=release.length_bytes,
        infohash=release.infohash.hex(),
        torrent_sha256=release.torrent_sha256.hex(),
        torrent_bytes=release.torrent_bytes,
        signer=release.signer.hex(),
    )


def release_of(target: Target) -> Release:
    """The manifest's release again, but for its parcels: `release_of(target_of(r)) == r` where it has none."""
    return Release(
        resource=target.resource,
        compatible=target.compatible,
        release=target.release,
        version=target.version,
        length_bytes=target.length_bytes,
        infohash=bytes.fromhex(target.infohash),
        torrent_sha256=bytes.fromhex(target.torrent_sha256),
        torrent_bytes=target.torrent_bytes,
        signer=bytes.fromhex(target.signer),
    )


@frozen
class PublishedParcel:
    """A parcel as a maintainer hands it to a node."""

    torrent: bytes = field(repr=False)
    """Its torrent file++."""
    path: str
    """Where the node finds it."""


def parcel_in(release: Release, torrent: bytes, trusted: TrustedSet) -> NamedParcel:
    """The parcel of this release that the torrent is for. Raises RefusedError where it is for none."""
    reasons = []
    for named in release.parcels:
        try:
            trusted.check_parcel(release, named, torrent)
        except RefusedError as error:
            reasons.append(str(error))
        else:
            return named
    raise RefusedError("a parcel's torrent is for no parcel of this release: " + "; ".join(reasons))


def nothing_for(sequence: int, manifest: Manifest, resource: str, hardware: Iterable[str]) -> str:
    """What to tell people of a manifest that has no release for a node."""
    words = ", ".join(sorted(hardware))
    return f"manifest {sequence} of {manifest.channel} has no release of {resource} for {words}"


def release_in(manifest: Record, torrent: bytes, trusted: TrustedSet, store: RecordStore) -> Release:
    """The release of a signed manifest that this torrent is for.

    Raises RefusedError where the manifest is not believed, is older than what the store holds, or does not name the torrent.
    """
    body = trusted.check_manifest(manifest)
    known = store.get(manifest.kind, manifest.key)
    if known is not None and known.sequence > manifest.sequence:
        raise RefusedError(
            f"channel {body.channel} is already at manifest {known.sequence}, "
            f"this one is {manifest.sequence}: build it again with a higher sequence"
        )
    reasons = []
    for release in body.releases:
        try:
            trusted.check_torrent(release, torrent)
        except RefusedError as error:
            reasons.append(str(error))
        else:
            return release
    raise RefusedError("the torrent is for no release of this manifest: " + "; ".join(reasons))
