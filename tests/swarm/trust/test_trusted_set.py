"""The trusted set: if it failed, a node would install what the maintainers did not sign."""

from __future__ import annotations

import hashlib

import attrs
import pytest

import bep35.merkle
import bep35.metainfo
import bep35.signing
from swarm.errors import RefusedError
from swarm.news.record import Record, Signature
from swarm.trust.manifest import NamedParcel, Release
from swarm.trust.trusted_set import TrustedSet, parcel_statement
from tests.swarm.trust.ceremony import (
    RELEASERS,
    STRANGER,
    manifest_record,
    naming,
    torrent_and_release,
    trust_root,
)

CORA, DAN, EVE = RELEASERS
TRUSTED = TrustedSet(trust_root())


def test_a_manifest_signed_by_the_threshold_is_believed():
    """If this failed, no release would ever reach a node."""
    manifest = TRUSTED.check_manifest(manifest_record(CORA, DAN))
    assert manifest.channel == "stable"
    assert TRUSTED.check_manifest(manifest_record(DAN, EVE, STRANGER)) == manifest


@pytest.mark.parametrize("keys", [(), (CORA,), (CORA, STRANGER), (STRANGER,)])
def test_a_manifest_signed_by_fewer_is_refused(keys):
    """If this failed, one stolen release key could update every node."""
    with pytest.raises(RefusedError, match="needs 2 of 3"):
        TRUSTED.check_manifest(manifest_record(*keys))


def test_signatures_made_for_another_record_count_for_nothing():
    """If this failed, signatures could be moved to a manifest nobody signed."""
    good = manifest_record(CORA, DAN)
    for changed in ({"sequence": 8}, {"key": b"beta"}, {"kind": "status"}, {"body": good.body + b"x"}):
        with pytest.raises(RefusedError):
            TRUSTED.check_manifest(attrs.evolve(good, **changed))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (manifest_record(CORA, DAN, swarm="pears"), "for swarm 'pears'"),
        (manifest_record(CORA, DAN, key_bytes=b"beta"), "another channel"),
        (manifest_record(CORA, DAN, releases=(torrent_and_release(STRANGER)[1],)), "no release key"),
        (manifest_record(CORA, DAN, releases=(torrent_and_release()[1],) * 2), "twice for pi4"),
        (manifest_record(CORA, DAN, releases=()), "1 to 8 releases"),
    ],
)
def test_a_manifest_for_another_place_or_that_contradicts_itself_is_refused(record, said):
    """If this failed, a manifest of another swarm or channel could be replayed here (TUF: mix and match)."""
    with pytest.raises(RefusedError, match=said):
        TRUSTED.check_manifest(record)


def test_a_torrent_that_agrees_with_its_manifest_is_believed():
    """If this failed, nodes would refuse every release."""
    torrent, release = torrent_and_release()
    metainfo = TRUSTED.check_torrent(release, torrent)
    assert metainfo.infohash == release.infohash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"release": 3}, "release"),
        ({"version": "2.1"}, "version"),
        ({"resource": "org.fruit-testbed.os/kernel"}, "resource"),
        ({"compatible": ["pi4"]}, "compatible"),
        ({"compatible": "pi4"}, "compatible"),
        ({"also": "more than the manifest says"}, "also"),
    ],
)
def test_a_torrent_whose_signer_states_something_else_is_refused_naming_the_field(changes, said):
    """If this failed, an image signed as one release could be installed as another (design D3)."""
    torrent, release = torrent_and_release(**changes)
    with pytest.raises(RefusedError, match=f"disagree on {said}:"):
        TRUSTED.check_torrent(release, torrent)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length_bytes": 5}, "disagree on length:"),
        ({"infohash": bytes(32)}, "disagree on infohash:"),
        ({"torrent_sha256": bytes(32)}, "disagree on SHA-256:"),
        ({"torrent_bytes": 5}, "disagree on size:"),
        ({"signer": DAN.public.raw}, "not signed by"),
        ({"signer": STRANGER.public.raw}, "no release key"),
    ],
)
def test_a_manifest_that_says_something_else_of_the_torrent_is_refused_naming_the_field(changes, said):
    """If this failed, a manifest could point at bytes that its maintainers never saw."""
    torrent, release = torrent_and_release()
    with pytest.raises(RefusedError, match=said):
        TRUSTED.check_torrent(attrs.evolve(release, **changes), torrent)


def test_a_torrent_changed_after_signing_is_refused_even_if_the_manifest_names_the_changed_bytes():
    """If this failed, the torrent's own signature would protect nothing."""
    torrent, release = torrent_and_release()
    changed = torrent.replace(b"rootfs-2.img", b"rootfs-3.img")
    release = naming(attrs.evolve(release, infohash=bep35.metainfo.parse(changed).infohash), changed)
    with pytest.raises(RefusedError, match="does not verify"):
        TRUSTED.check_torrent(release, changed)


def test_what_is_no_torrent_is_refused_even_if_the_manifest_names_it():
    """If this failed, a maintainer's slip would stop nodes with an error of another library."""
    _, release = torrent_and_release()
    for rubbish in (b"rubbish", b"de", b"d4:infodee"):
        with pytest.raises(RefusedError, match="torrent: "):
            TRUSTED.check_torrent(naming(release, rubbish), rubbish)


def test_a_forged_record_with_sixteen_signatures_counts_none():
    """If this failed, quantity would make up for validity."""
    good = manifest_record(CORA)
    forged = tuple(Signature(k.public.raw, bytes(64)) for k in (CORA, DAN, EVE)) * 5
    with pytest.raises(RefusedError, match="has 0 valid signatures"):
        TRUSTED.check_manifest(Record(good.kind, good.key, good.sequence, good.body, forged))


def parcel_and_release(**changes: object) -> tuple[bytes, Release, NamedParcel]:
    """A release with one parcel, and the parcel's torrent; `changes` go into what the torrent's signer states."""
    _, release = torrent_and_release()
    parcel = b"a parcel" * 3000
    raw = bep35.metainfo.build("rootfs-2.parcel", len(parcel), bep35.merkle.leaf_hashes(parcel), 16 * 1024)
    from_root = b"f" * 32
    statement = parcel_statement(release, from_root) | changes
    raw = bep35.signing.sign(raw, bep35.signing.signer_id_of(CORA.public.raw), CORA.signing_key, statement)
    infohash = bep35.metainfo.parse(raw).infohash
    named = NamedParcel(infohash, hashlib.sha256(raw).digest(), len(raw), len(parcel), from_root)
    return raw, attrs.evolve(release, parcels=(named,)), named


def test_a_parcel_torrent_that_agrees_with_its_manifest_is_believed():
    """Every update would cost the whole image."""
    raw, release, named = parcel_and_release()
    assert TRUSTED.check_parcel(release, named, raw).infohash == named.infohash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parcel_from": "nothing"}, "disagree on parcel_from:"),
        ({"parcel_to": "00" * 32}, "disagree on parcel_to:"),
        ({"release": 3}, "disagree on release:"),
    ],
)
def test_a_parcel_signed_for_another_image_is_refused(changes, said):
    """A node would fetch megabytes that lead it nowhere."""
    raw, release, named = parcel_and_release(**changes)
    with pytest.raises(RefusedError, match=said):
        TRUSTED.check_parcel(release, named, raw)


def test_an_image_torrent_is_no_parcel_and_a_parcel_torrent_no_image():
    """Whoever signed one could have it taken for the other."""
    raw, release, named = parcel_and_release()
    image, _ = torrent_and_release()
    as_parcel = attrs.evolve(
        named,
        infohash=release.infohash, torrent_sha256=release.torrent_sha256,
        torrent_bytes=release.torrent_bytes, length_bytes=release.length_bytes,
    )  # fmt: skip
    with pytest.raises(RefusedError, match="disagree on parcel_from"):
        TRUSTED.check_parcel(release, as_parcel, image)
    as_image = attrs.evolve(naming(release, raw), infohash=named.infohash, length_bytes=named.length_bytes)
    with pytest.raises(RefusedError, match="disagree on parcel_from"):
        TRUSTED.check_torrent(as_image, raw)
