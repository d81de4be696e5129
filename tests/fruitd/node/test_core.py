"""The node core alone: real trust, real torrents, a real updater; its host is the test."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

import pytest
from attrs import frozen

from bep35 import merkle, metainfo, signing
from fruitd.boot_facts import BootFacts
from fruitd.node.core import NodeCore
from fruitd.node.effects import FillSlot, KeepShare, KeepTorrent, StartFetch, StartSeed
from fruitd.node.library import Library
from fruitd.node.settings import NodeSettings
from fruitd.updater.effects import Note, SaveJournal
from fruitd.updater.journal import Journal, State
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from swarm.admission import Admission
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.effects import RecordAccepted
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.root_file import load_root, root_record
from swarm.seal import Keyring
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.trusted_set import TrustedSet, torrent_statement

NOW_S = 1_800_000_000.0
RESOURCE = "org.fruit-testbed.os/rootfs"
ROOT_KEY = SecretKey(b"\1" * 32, "root-1")
RELEASE_KEY = SecretKey(b"\2" * 32, "release-1")
T = TypeVar("T")


@frozen
class Signed:
    """A release ready to be published."""

    release: Release
    torrent: bytes
    image: bytes
    leaves: bytes


def make_trusted() -> TrustedSet:
    """A swarm with one root key and one release key."""
    names = {ROOT_KEY.public.raw: "root-1", RELEASE_KEY.public.raw: "release-1"}
    roles = {
        Role.ROOT: RoleKeys(1, frozenset({ROOT_KEY.public.raw})),
        Role.RELEASE: RoleKeys(1, frozenset({RELEASE_KEY.public.raw})),
    }
    return TrustedSet(load_root(signed(root_record(TrustRoot("fleet", 1, names, roles)), ROOT_KEY).encode()))


def make_release(number: int, hardware: Sequence[str] = ("pi",)) -> Signed:
    """A signed torrent of a small image, and its row of a manifest."""
    image = random.Random(number).randbytes(5 * merkle.BLOCK_BYTES + 100)
    leaves = merkle.leaf_hashes(image)
    raw = metainfo.build(f"rootfs-{number}.img", len(image), leaves, 4 * merkle.BLOCK_BYTES)
    row = Release(
        RESOURCE, tuple(hardware), number, f"v{number}", len(image), metainfo.parse(raw).infohash,
        bytes(32), 1, RELEASE_KEY.public.raw,
    )  # fmt: skip
    torrent = signing.sign(
        raw, signing.signer_id_of(RELEASE_KEY.public.raw), RELEASE_KEY.signing_key, torrent_statement(row)
    )
    row = Release(
        *(RESOURCE, tuple(hardware), number, f"v{number}", len(image), row.infohash),
        hashlib.sha256(torrent).digest(), len(torrent), RELEASE_KEY.public.raw,
    )  # fmt: skip
    return Signed(row, torrent, image, leaves)


def make_manifest(sequence: int, *releases: Signed, issued_at_s: int = int(NOW_S)) -> Record:
    """A manifest of channel stable, signed."""
    body = Manifest("fleet", "stable", issued_at_s, tuple(r.release for r in releases)).encode()
    return signed(Record("manifest", b"stable", sequence, body), RELEASE_KEY)


def make_core(hardware: Iterable[str] = ("pi",)) -> NodeCore:
    """A node in slot a that has just started and knows nothing."""
    trusted, rng = make_trusted(), random.Random(7)
    store = RecordStore(Admission(trusted).verdict)
    library = Library([], [])
    identity = SecretKey(b"\3" * 32, "identity")
    me = Me(identity.node_id, "node", "", 47101, 47102)
    swarm = SwarmCore(me, SwarmSettings(), Keyring((b"\4" * 32,)), store, library.blob, rng, NOW_S)
    settings = NodeSettings("node", "", "fruitd test", RESOURCE, frozenset(hardware), "stable")
    updater = Updater(Journal(), UpdateSettings(), rng, strict=True)
    core = NodeCore(
        settings, swarm=swarm, store=store, trusted=trusted, updater=updater, identity=identity,
        library=library, rng=rng,
    )  # fmt: skip
    core.started(BootFacts("boot-1", "a", "a", None), NOW_S)
    return core


def only(effects: Iterable[object], kind: type[T]) -> T:
    """The one effect of this kind."""
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, effects
    return found[0]


def state_of(core: NodeCore) -> State:
    """Where the update stands."""
    assert core.updater is not None
    return core.updater.journal.state


def test_a_published_release_is_kept_shared_told_and_begun() -> None:
    """A release handed to a node would go nowhere."""
    core, one = make_core(), make_release(1)
    effects = core.publish(make_manifest(1, one), one.torrent, "/srv/image", NOW_S)
    assert only(effects, KeepTorrent).raw == one.torrent
    assert only(effects, KeepShare).path == "/srv/image"
    assert only(effects, StartSeed).path == "/srv/image"
    assert only(effects, RecordAccepted).record.sequence == 1
    assert state_of(core) in (State.OFFERED, State.REUSING)


def test_its_own_published_image_is_copied_and_never_fetched() -> None:
    """The node that publishes would fetch from others what lies on its own disk, or two jobs would fight over one image."""
    core, one = make_core(), make_release(1)
    metainfo_one = metainfo.parse(one.torrent)
    core.library.leaves.put(metainfo_one.pieces_root, one.leaves, NOW_S)
    effects = core.publish(make_manifest(1, one), one.torrent, "/srv/image", NOW_S)
    fill = only(effects, FillSlot)
    assert fill.sources == ("/srv/image",)
    assert fill.slot == "b"
    effects = core.slot_prepared(fill.target.infohash, len(one.image), 0, b"\xfc", NOW_S + 1)
    assert not [effect for effect in effects if isinstance(effect, StartFetch)]
    assert state_of(core) is State.VERIFYING


def test_the_journal_says_that_the_slot_holds_nothing_before_it_is_filled() -> None:
    """A power cut while a slot is written would leave it looking like a system that can be booted."""
    core, one = make_core(), make_release(1)
    core.library.leaves.put(metainfo.parse(one.torrent).pieces_root, one.leaves, NOW_S)
    effects = core.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    at = next(i for i, effect in enumerate(effects) if isinstance(effect, FillSlot))
    saved = [effect.journal for effect in effects[:at] if isinstance(effect, SaveJournal)]
    assert saved[-1].slots["b"] is None
    assert saved[-1].state is State.REUSING


def test_a_torrent_of_another_release_is_refused_and_nothing_changes() -> None:
    """An image would be spread under a manifest that does not name it."""
    core, one, two = make_core(), make_release(1), make_release(2)
    with pytest.raises(RefusedError, match="for no release of this manifest"):
        core.publish(make_manifest(1, one), two.torrent, "/srv/image", NOW_S)
    assert core.manifest() is None
    assert core.library.torrent(two.release.infohash.hex()) is None


def test_an_older_manifest_is_refused_with_what_to_do() -> None:
    """A maintainer would believe to have published what every node ignores."""
    core, one, two = make_core(), make_release(1), make_release(2)
    core.publish(make_manifest(5, two), two.torrent, None, NOW_S)
    with pytest.raises(RefusedError, match="higher sequence"):
        core.publish(make_manifest(4, one), one.torrent, None, NOW_S)


def test_two_manifests_of_one_sequence_stop_everything_until_a_higher_one_settles_it() -> None:
    """Whoever has the release keys could show different nodes different releases, and nobody would notice."""
    core, one, two, three = make_core(), make_release(1), make_release(2), make_release(3)
    core.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    effects = core.publish(make_manifest(1, two), two.torrent, None, NOW_S + 1)
    notes = [effect.what for effect in effects if isinstance(effect, Note)]
    assert "equivocation" in notes
    assert core.disputed is not None
    assert core.manifest() is None
    assert state_of(core) is State.WAITING
    core.publish(make_manifest(2, three), three.torrent, None, NOW_S + 2)
    assert core.disputed is None
    assert core.updater is not None
    assert core.updater.journal.target is not None
    assert core.updater.journal.target.release == 3


def test_a_release_for_other_hardware_is_told_and_not_begun() -> None:
    """A node would install an image that cannot run on it, or stay behind without saying why."""
    core, one = make_core(hardware=("zero",)), make_release(1, hardware=("pi",))
    effects = core.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    assert state_of(core) is State.IDLE
    assert "zero" in only(effects, Note).why


def test_a_journal_that_cannot_be_saved_takes_the_decision_back() -> None:
    """After a full disk the node would act on something it will not remember."""
    core, one = make_core(), make_release(1)
    core.library.leaves.put(metainfo.parse(one.torrent).pieces_root, one.leaves, NOW_S)
    effects = core.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    first = next(effect.journal for effect in effects if isinstance(effect, SaveJournal))
    core.journal_not_saved(first, "disk full", NOW_S)
    assert state_of(core) is State.IDLE
    assert core.next_wakeup_s() < NOW_S + 60
