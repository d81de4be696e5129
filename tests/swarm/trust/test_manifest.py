"""The manifest's codec: if it failed, nodes could read different releases in the same signed bytes."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.trust.manifest import Manifest, NamedParcel
from tests.swarm.trust.ceremony import torrent_and_release

RELEASE = torrent_and_release()[1]
MANIFEST = Manifest("fruits", "stable", 1_800_000_000, (RELEASE,))


def test_what_is_written_is_read_again():
    """If this failed, no manifest could be understood."""
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST


@pytest.mark.parametrize(
    "changes",
    [
        {"release": 0}, {"release": True}, {"version": ""}, {"version": "a\nb"}, {"resource": "x" * 129},
        {"compatible": ()}, {"compatible": ("x",) * 9}, {"length_bytes": 0}, {"length_bytes": 2**40},
        {"infohash": bytes(20)}, {"torrent_sha256": bytes(31)}, {"torrent_bytes": 9 * 2**20}, {"signer": b""},
    ],
)  # fmt: skip
def test_a_field_outside_its_bounds_is_refused(changes):
    """If this failed, a bound would hold only where somebody remembered it."""
    with pytest.raises(RefusedError):
        Manifest.decode(attrs.evolve(MANIFEST, releases=(attrs.evolve(RELEASE, **changes),)).encode())


@pytest.mark.parametrize(
    "changes", [{"swarm": ""}, {"channel": "a\0"}, {"issued_at_s": -1}, {"releases": (RELEASE,) * 9}]
)
def test_a_manifest_outside_its_bounds_is_refused(changes):
    """If this failed, a manifest could name nothing, or more than a record holds."""
    with pytest.raises(RefusedError):
        Manifest.decode(attrs.evolve(MANIFEST, **changes).encode())


PARCELS = (
    NamedParcel(b"i" * 32, b"s" * 32, 1000, 110_000_000, b""),
    NamedParcel(b"j" * 32, b"t" * 32, 900, 34_000_000, b"f" * 32),
)
WITH_PARCELS = attrs.evolve(RELEASE, parcels=PARCELS)


def test_parcels_are_read_again_and_a_release_without_them_is_written_as_before():
    """A node could not tell which parcel starts from what it runs; or every manifest signed so far would read as damaged."""
    manifest = attrs.evolve(MANIFEST, releases=(WITH_PARCELS, RELEASE))
    assert Manifest.decode(manifest.encode()) == manifest
    rows = msgpack.unpackb(manifest.encode())[3]
    assert [len(row) for row in rows] == [10, 9]


@pytest.mark.parametrize(
    "parcels",
    [
        PARCELS[::-1], PARCELS[:1] * 2,
        tuple(attrs.evolve(PARCELS[1], from_root=bytes([n]) * 32) for n in range(9)),
        *(
            (attrs.evolve(PARCELS[1], **changes),)
            for changes in (
                {"infohash": b""}, {"torrent_sha256": bytes(31)}, {"torrent_bytes": 0}, {"length_bytes": 2**40},
                {"length_bytes": True}, {"from_root": bytes(31)}, {"from_root": "f" * 32},
            )
        ),
    ],
)  # fmt: skip
def test_a_parcel_outside_its_bounds_is_refused(parcels):
    """A node would plan its memory, its cache and its line by a number that cannot be meant."""
    with pytest.raises(RefusedError):
        Manifest.decode(attrs.evolve(MANIFEST, releases=(attrs.evolve(RELEASE, parcels=parcels),)).encode())


def test_a_node_takes_the_newest_release_for_its_own_hardware():
    """If this failed, a node would install an image that cannot run on it, or an old one."""
    newer = attrs.evolve(RELEASE, release=3, compatible=("pi5",))
    manifest = attrs.evolve(MANIFEST, releases=(RELEASE, newer))
    assert manifest.release_for(RELEASE.resource, frozenset({"pi5"})) == newer
    assert manifest.release_for(RELEASE.resource, frozenset({"pi4", "arm64"})) == RELEASE
    assert manifest.release_for(RELEASE.resource, frozenset({"pi3"})) is None
    assert manifest.release_for("another", frozenset({"pi4"})) is None


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=600, deadline=None)
def test_fuzz_only_refusals_escape(data):
    """If this failed, a manifest could stop every node that verifies it."""
    raw = bytearray(MANIFEST.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for candidate in (bytes(raw), data.draw(st.binary(max_size=60)), msgpack.packb([None, [], {}, [[]]])):
        try:
            manifest = Manifest.decode(candidate)
        except RefusedError:
            continue
        assert manifest.encode() == candidate
