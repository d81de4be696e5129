"""The node core alone: real trust, real torrents, a real updater; its host is the test."""

from __future__ import annotations

import pytest

from bep35 import metainfo
from fruitd.node.effects import FillSlot, KeepShare, KeepTorrent, StartFetch, StartSeed
from fruitd.updater.effects import Note, SaveJournal
from fruitd.updater.journal import State
from swarm.effects import RecordAccepted
from swarm.errors import RefusedError
from tests.fruitd.node.fleet import NOW_S, make_core, make_manifest, make_release, only, state_of


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
    assert core.standing(NOW_S).disputed is not None
    assert core.manifest() is None
    assert state_of(core) is State.WAITING
    core.publish(make_manifest(2, three), three.torrent, None, NOW_S + 2)
    assert core.standing(NOW_S).disputed is None
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
