"""What a node believes and begins as roots, freshness, contradictions and clocks change around it."""

from __future__ import annotations

import random

import attrs
import pytest

from bep35 import metainfo
from fruitd.boot_facts import BootFacts
from fruitd.node.core import NodeCore
from fruitd.node.effects import FillSlot, StopJob
from fruitd.updater.effects import Note
from fruitd.updater.journal import Journal, SlotContent, State
from swarm.effects import RecordAccepted
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.trust.times import TIME_S_MAX
from tests.fruitd.node.fleet import (
    DAY_S,
    NEXT_KEY,
    NOW_S,
    Signed,
    make_core,
    make_fresh,
    make_manifest,
    make_release,
    make_root,
    state_of,
)

YEAR_S = 365 * DAY_S
FIRST = make_root(1, freshness=True)
ROTATED = make_root(2, NEXT_KEY, freshness=True)


def take(core: NodeCore, record: Record, now_s: float = NOW_S) -> list[object]:
    return list(core.offer(record, now_s)[1])


def notes(effects: list[object]) -> list[str]:
    return [effect.what for effect in effects if isinstance(effect, Note)]


def filling(core: NodeCore, release: Signed, manifest: Record, now_s: float = NOW_S) -> FillSlot:
    """Bring the update to where a slot is being filled."""
    core.library.leaves.put(metainfo.parse(release.torrent).pieces_root, release.leaves, now_s)
    effects = core.publish(manifest, release.torrent, None, now_s)
    return next(effect for effect in effects if isinstance(effect, FillSlot))


def journal_of(core: NodeCore) -> Journal:
    assert core.updater is not None
    return core.updater.journal


# -- rotation ------------------------------------------------------------------------------------------------------------


def test_an_update_under_way_stops_when_its_keys_are_rotated_out() -> None:
    """What a stolen key had begun would be installed though everybody knows that it was stolen."""
    core, evil = make_core(roots=[FIRST]), make_release(2)
    fill = filling(core, evil, make_manifest(9, evil))
    effects = take(core, ROTATED)
    assert [e.infohash for e in effects if isinstance(e, StopJob)] == [fill.target.infohash]
    assert state_of(core) is State.IDLE
    assert "trust root 2" in journal_of(core).why
    assert core.manifest() is None
    assert {"trust root", "withdrawn"} <= set(notes(effects))


def test_a_fast_forward_ends_with_the_key_that_made_it() -> None:
    """One abused key could set sequence and release number so high that no node ever takes a release again."""
    core = make_core(roots=[FIRST])
    evil, good = make_release(2**50), make_release(3, key=NEXT_KEY)
    filling(core, evil, make_manifest(2**50, evil, issued_at_s=TIME_S_MAX))
    assert journal_of(core).highest_release == 2**50
    take(core, ROTATED)
    assert journal_of(core).highest_release == 0
    assert core.signed_time_s() == 0
    filling(core, good, make_manifest(1, good, key=NEXT_KEY))
    assert journal_of(core).target is not None
    assert journal_of(core).highest_release == 3


def test_a_fast_forward_that_was_installed_ends_too_even_after_a_restart() -> None:
    """A node that committed what a stolen key signed would be lost."""
    evil, good = make_release(2**50), make_release(3, key=NEXT_KEY)
    core = make_core(roots=[FIRST])
    target = filling(core, evil, make_manifest(2**50, evil)).target
    committed = attrs.evolve(
        journal_of(core), state=State.COMMITTED, slots={"a": SlotContent(target, committed=True), "b": None}
    )
    kept = [FIRST, ROTATED, make_manifest(2**50, evil)]
    again = make_core(roots=[FIRST], kept=kept, journal=committed)
    assert again.trusted.root.version == 2
    assert again.manifest() is None
    filling(again, good, make_manifest(1, good, key=NEXT_KEY))
    assert state_of(again) is State.REUSING


def test_a_trial_goes_on_through_a_rotation_and_what_follows_is_the_next_release() -> None:
    """Half a swarm would restart whenever keys are changed, or a trial that lost its manifest would never end."""
    core, one = make_core(roots=[FIRST]), make_release(2)
    target = filling(core, one, make_manifest(9, one)).target
    trial = attrs.evolve(
        journal_of(core),
        state=State.TRIAL,
        target_slot="b",
        attempts=1,
        armed_boot_id="boot-1",
        slots={"a": None, "b": SlotContent(target, committed=False)},
    )
    boot = BootFacts("boot-2", "b", "a", None)
    node = make_core(roots=[FIRST], kept=[make_manifest(9, one)], journal=trial, boot=boot)
    assert state_of(node) is State.TRIAL
    effects = take(node, ROTATED)
    assert state_of(node) is State.TRIAL
    assert any("goes on" in e.why for e in effects if isinstance(e, Note))


def test_the_same_release_signed_again_under_the_new_root_goes_on() -> None:
    """An ordinary change of keys would cost every node its update."""
    core, one = make_core(roots=[FIRST]), make_release(2)
    filling(core, one, make_manifest(9, one))
    take(core, ROTATED)
    again = make_release(2, key=NEXT_KEY)
    fill = filling(core, again, make_manifest(10, again, key=NEXT_KEY))
    assert fill.target.infohash == one.release.infohash.hex()


def test_what_has_not_to_do_with_the_changed_keys_goes_on_undisturbed() -> None:
    """Adding a maintainer would stop the swarm's updates."""
    core, one = make_core(roots=[FIRST]), make_release(2)
    filling(core, one, make_manifest(9, one))
    effects = take(core, make_root(2, freshness=False))
    assert state_of(core) is State.REUSING
    assert not [e for e in effects if isinstance(e, StopJob)]


def test_a_root_of_another_swarm_or_by_other_keys_changes_nothing() -> None:
    """A peer could change whom a node believes."""
    core = make_core(roots=[FIRST])
    for wrong in (attrs.evolve(ROTATED, signatures=()), make_root(3), Record("root", b"x", 2, b"")):
        with pytest.raises(RefusedError):
            take(core, wrong)
    assert core.trusted.root.version == 1


# -- expiry and freshness ------------------------------------------------------------------------------------------------


def test_an_expired_root_stops_what_is_new_and_never_what_is_newer() -> None:
    """A swarm whose root expired could never be mended; or would go on installing for ever with lost keys."""
    core, one, two = make_core(roots=[make_root(1, expires_at_s=NOW_S - 1)]), make_release(1), make_release(2)
    core.publish(make_manifest(1, one, issued_at_s=int(NOW_S) - 9), one.torrent, None, NOW_S)
    core.publish(make_manifest(2, two, issued_at_s=int(NOW_S) - 8), two.torrent, None, NOW_S)
    assert core.manifest() is not None
    assert state_of(core) is State.IDLE
    assert "expired on" in str(core.standing(NOW_S).held_back)
    effects = take(core, make_root(2, expires_at_s=NOW_S + DAY_S))
    assert state_of(core) is not State.IDLE
    assert "held back" in notes(effects)


def test_an_old_manifest_is_not_begun_where_nobody_has_said_that_it_is_current() -> None:
    """Whoever stands between a node and the swarm could keep it on what has a known hole."""
    core, one = make_core(roots=[FIRST]), make_release(1)
    manifest = make_manifest(1, one, issued_at_s=int(NOW_S) - 100 * DAY_S)
    effects = core.publish(manifest, one.torrent, None, NOW_S)
    assert state_of(core) is State.IDLE
    assert "kept in the past" in str(core.standing(NOW_S).held_back)
    assert "held back" in notes(list(effects))
    take(core, make_fresh(manifest, NOW_S - DAY_S))
    assert state_of(core) in (State.OFFERED, State.REUSING)
    standing = core.standing(NOW_S)
    assert (standing.current_at_s, standing.stale) == (int(NOW_S) - DAY_S, False)
    assert core.standing(NOW_S + 7 * DAY_S).stale


def test_without_a_freshness_role_old_manifests_are_as_good_as_ever() -> None:
    """A swarm that does without freshness would stop updating a fortnight after each release."""
    core, one = make_core(), make_release(1)
    core.publish(make_manifest(1, one, issued_at_s=int(NOW_S) - YEAR_S), one.torrent, None, NOW_S)
    assert state_of(core) is not State.IDLE
    assert core.standing(NOW_S).held_back is None


def test_a_node_that_is_kept_behind_knows_it_and_begins_nothing_older() -> None:
    """A peer could feed a new node an old release while it withholds the newest."""
    core, one, two = make_core(roots=[FIRST]), make_release(1), make_release(2)
    older, newer = make_manifest(1, one), make_manifest(2, two)
    take(core, make_fresh(newer, NOW_S))
    assert core.standing(NOW_S).behind == 2
    core.publish(older, one.torrent, None, NOW_S)
    assert state_of(core) is State.IDLE
    assert "has not reached this node" in str(core.standing(NOW_S).held_back)
    core.publish(newer, two.torrent, None, NOW_S)
    assert core.standing(NOW_S).behind is None
    assert state_of(core) is not State.IDLE


def test_freshness_that_names_another_manifest_of_that_number_is_told() -> None:
    """Two manifests of one number would go unnoticed by a node that was shown only one of them."""
    core, one, two = make_core(roots=[FIRST]), make_release(1), make_release(2)
    take(core, make_fresh(make_manifest(5, two), NOW_S))
    core.publish(make_manifest(5, one), one.torrent, None, NOW_S)
    assert state_of(core) is State.IDLE
    assert "another manifest 5" in str(core.standing(NOW_S).held_back)


def test_contradicting_words_of_freshness_count_for_nothing() -> None:
    """A stolen freshness key could choose for each node which of two manifests it takes for current."""
    core, one = make_core(roots=[FIRST]), make_release(1)
    manifest = make_manifest(1, one, issued_at_s=int(NOW_S) - 100 * DAY_S)
    core.publish(manifest, one.torrent, None, NOW_S)
    take(core, make_fresh(manifest, NOW_S))
    effects = take(core, make_fresh(manifest, NOW_S, valid_for_s=9))
    assert "equivocation" in notes(effects)
    assert len([e for e in effects if isinstance(e, RecordAccepted)]) == 2
    assert core.standing(NOW_S).stale
    take(core, make_fresh(manifest, NOW_S + 1))
    assert not core.standing(NOW_S).stale


# -- contradictions ------------------------------------------------------------------------------------------------------


def test_a_contradiction_is_still_one_after_a_restart() -> None:
    """A power cut would let a node install what it had proof against."""
    one, two, three = make_release(1), make_release(2), make_release(3)
    kept = [make_manifest(1, one), make_manifest(1, two)]
    core = make_core(kept=kept)
    assert core.standing(NOW_S).disputed is not None
    assert journal_of(core).disputed_why is not None
    assert state_of(core) is State.IDLE
    core.publish(make_manifest(2, three), three.torrent, None, NOW_S)
    assert core.standing(NOW_S).disputed is None
    assert journal_of(core).disputed_why is None
    assert state_of(core) is not State.IDLE


def test_a_contradiction_settled_by_a_manifest_for_others_is_settled() -> None:
    """A node whose hardware the next manifest does not name would stay disputed for ever."""
    one, two, other = make_release(1), make_release(2), make_release(3, hardware=("zero",))
    core = make_core(kept=[make_manifest(1, one), make_manifest(1, two)])
    core.publish(make_manifest(2, other), other.torrent, None, NOW_S)
    assert journal_of(core).disputed_why is None


def test_two_roots_of_one_version_stop_installs_until_the_next() -> None:
    """Root keys that contradict themselves could lead half a swarm away, and nobody would be told."""
    core, one = make_core(roots=[make_root(1)]), make_release(1)
    take(core, make_root(2))
    take(core, make_root(2, freshness=True))
    core.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    assert "trust root 2" in str(core.standing(NOW_S).disputed)
    assert state_of(core) is State.IDLE
    again = make_core(
        roots=[make_root(1)], kept=[make_root(2), make_root(2, freshness=True), make_manifest(1, one)]
    )
    assert state_of(again) is State.IDLE
    assert again.standing(NOW_S).disputed is not None
    for node in (core, again):
        take(node, make_root(3))
        assert node.standing(NOW_S).disputed is None
        assert journal_of(node).target is not None


def test_a_rotation_settles_what_the_rotated_keys_contradicted() -> None:
    """A stolen key could block a channel for good by contradicting every manifest before it is taken away."""
    core, one, two = make_core(roots=[FIRST]), make_release(1), make_release(2)
    take(core, make_manifest(1, one))
    take(core, make_manifest(1, two))
    assert journal_of(core).disputed_why is not None
    take(core, ROTATED)
    assert journal_of(core).disputed_why is None
    assert core.standing(NOW_S).disputed is None


# -- time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [2.0**31 - 5, 2.0**31 + 5, 2.0**32 + 5, float(TIME_S_MAX) - 10 * DAY_S])
def test_an_update_begins_and_freshness_counts_in_every_century(at_s: float) -> None:
    """Every node would stop on the nineteenth of January 2038."""
    core, one = make_core(roots=[FIRST], now_s=at_s), make_release(1)
    manifest = make_manifest(1, one, issued_at_s=int(at_s) - 1)
    core.publish(manifest, one.torrent, None, at_s)
    assert state_of(core) is not State.IDLE
    take(core, make_fresh(manifest, at_s), at_s)
    assert core.standing(at_s).current_at_s == int(at_s)
    assert core.signed_time_s() == int(at_s)


def test_a_clock_that_jumps_changes_what_is_begun_and_nothing_that_is_under_way() -> None:
    """NTP answering in the middle of an update would end it, or start what a wrong clock had held back never."""
    core, one = make_core(roots=[make_root(1, expires_at_s=NOW_S + YEAR_S)]), make_release(1)
    fill = filling(core, one, make_manifest(1, one))
    for jump_s in (5.0 * YEAR_S, -3.0 * YEAR_S, 2.0**33, 0.0):
        assert not [e for e in core.clock_set(jump_s, NOW_S) if isinstance(e, StopJob)]
        assert state_of(core) is State.REUSING
    assert journal_of(core).target == fill.target
    held = make_core(roots=[make_root(1, expires_at_s=NOW_S + YEAR_S)])
    held.clock_set(2.0 * YEAR_S, NOW_S)
    held.publish(make_manifest(1, one), one.torrent, None, NOW_S)
    assert state_of(held) is State.IDLE
    held.clock_set(0.0, NOW_S)
    assert state_of(held) is not State.IDLE


def test_no_signed_time_makes_a_trust_root_expire() -> None:
    """A stolen freshness key, which is kept online, could stop all installs of a swarm by one word about the future."""
    core, one = make_core(roots=[make_root(1, freshness=True, expires_at_s=NOW_S + YEAR_S)]), make_release(1)
    manifest = make_manifest(1, one)
    take(core, make_fresh(manifest, TIME_S_MAX))
    assert not core.trusted.root.expired(core.signed_time_s())
    core.clock_set(core.signed_time_s() - NOW_S, NOW_S)
    assert not core.standing(NOW_S).root_expired


def test_any_order_of_trust_news_ends_the_same() -> None:
    """Which peer a node meets first would decide for good what it believes."""
    one, two, good = make_release(1), make_release(2), make_release(3, key=NEXT_KEY)
    news = [
        ROTATED,
        make_manifest(1, one),
        make_manifest(2**50, two),
        make_manifest(1, good, key=NEXT_KEY),
        make_fresh(make_manifest(1, good, key=NEXT_KEY), NOW_S),
    ]
    for seed in range(24):
        core = make_core(roots=[FIRST])
        order = random.Random(seed).sample(news, len(news))
        for record in (*order, *order):  # peers tell again what was not taken
            try:
                take(core, record)
            except RefusedError:
                continue
        assert core.trusted.root.version == 2
        found = core.manifest()
        assert found is not None
        assert found[0].sequence == 1
        target = journal_of(core).target
        assert target is not None
        assert target.release == 3
        assert core.standing(NOW_S).held_back is None
