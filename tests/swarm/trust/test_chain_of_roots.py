"""Roots that replace one another: if this failed, a stolen key could never be taken away, or anybody could take one."""

from __future__ import annotations

import attrs
import pytest

from swarm.errors import NotYetError, Reason, RefusedError
from swarm.trust.root import Role, RoleKeys
from swarm.trust.trusted_set import TrustedSet
from tests.swarm.trust.ceremony import ROOTS, key
from tests.swarm.trust.rotations import ABUSED, AT_S, CLOCKS, GOOD, chain, fresh, manifest, root, root_signed


def trusted_after(last: int, good_from: int = 2**31) -> TrustedSet:
    trusted = TrustedSet(root(1, expires_at_s=AT_S + 1))
    for record in chain(last, good_from)[1:]:
        trusted.advance(record)
    return trusted


def test_roots_are_followed_one_by_one_though_those_in_between_have_expired() -> None:
    """If this failed, a node that slept through ten rotations would be lost, or could be taken past one (TUF 5.3)."""
    trusted = trusted_after(11)
    assert trusted.root.version == 11
    assert not trusted.root.expired(AT_S + 10)
    assert trusted.root.expired(AT_S + 11)


def test_a_gap_is_no_refusal_for_good() -> None:
    """If this failed, the root a node cannot judge yet would be refused for ever, and it with it."""
    trusted = TrustedSet(root(1, expires_at_s=AT_S + 1))
    with pytest.raises(NotYetError, match="waits for 2") as refused:
        trusted.advance(chain(3)[2])
    assert refused.value.reason is Reason.NOT_YET
    assert trusted.root.version == 1


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (root_signed(root(2), ROOTS[0]), Reason.NOT_SIGNED),
        (root_signed(root(2), *ABUSED), Reason.NOT_SIGNED),
        (root_signed(root(2, swarm="nuts")), Reason.WRONG_SWARM),
        (root_signed(root(1, GOOD)), Reason.NOT_SIGNED),
        (attrs.evolve(root_signed(root(2)), kind="manifest"), Reason.WRONG_KIND),
        (attrs.evolve(root_signed(root(2)), sequence=3), Reason.MALFORMED),
    ],
    ids=[
        "one of two",
        "release keys",
        "another swarm",
        "another first root",
        "another kind",
        "another version",
    ],
)
def test_no_other_root_is_taken(record: object, reason: Reason) -> None:
    """If this failed, fewer than the threshold, or somebody else, could say who may sign."""
    trusted = TrustedSet(root(1))
    with pytest.raises(RefusedError) as refused:
        trusted.advance(record)  # type: ignore[arg-type]
    assert refused.value.reason is reason
    assert trusted.root == root(1)


def test_an_older_root_never_comes_back() -> None:
    """If this failed, keys that were taken away could be given back by replaying what was once true."""
    with pytest.raises(RefusedError) as refused:
        trusted_after(3).advance(chain(2)[1])
    assert refused.value.reason is Reason.OLDER


def test_keys_that_were_rotated_out_sign_nothing_any_more() -> None:
    """If this failed, rotating would not end the abuse of a key."""
    assert trusted_after(2).check_manifest(manifest(2**50)).releases
    after = trusted_after(3, good_from=3)
    with pytest.raises(RefusedError) as refused:
        after.check_manifest(manifest(2**50))
    assert refused.value.reason is Reason.NOT_SIGNED
    assert after.check_manifest(manifest(4, GOOD)).releases
    assert after.release_keys == {k.public.raw for k in GOOD}


def test_a_root_that_contradicts_the_newest_is_told_and_changes_nothing() -> None:
    """If this failed, root keys that were rotated out could lead nodes back, or contradict the others unseen."""
    trusted = trusted_after(2)
    assert not trusted.advance(chain(2)[1])
    assert not trusted.contradicted
    assert not trusted.advance(root_signed(root(2, GOOD)))
    assert trusted.contradicted
    assert trusted.check_manifest(manifest(5)).releases
    with pytest.raises(RefusedError):
        trusted.check_manifest(manifest(5, GOOD))
    assert trusted.advance(root_signed(root(3, GOOD)))
    assert not trusted.contradicted


def test_whoever_signed_the_second_root_cannot_go_on_from_it() -> None:
    """If this failed, the stolen root keys of yesterday could take a swarm over that had already rotated them out."""
    mallory = key("mallory")
    names = {**root(2).names, mallory.public.raw: "mallory"}
    holders = RoleKeys(1, root(2).roles[Role.ROOT].keys | {mallory.public.raw})
    taken = attrs.evolve(root(2), names=names, roles={**root(2).roles, Role.ROOT: holders})
    trusted = trusted_after(2)
    trusted.advance(root_signed(taken))
    with pytest.raises(RefusedError) as refused:
        trusted.advance(root_signed(attrs.evolve(taken, version=3), mallory))
    assert refused.value.reason is Reason.NOT_SIGNED
    trusted.advance(root_signed(root(3)))
    assert trusted.root == root(3)


def test_a_second_first_root_is_refused() -> None:
    """If this failed, anybody's first root could stop the installs of a node that was flashed with another."""
    trusted = TrustedSet(root(1))
    with pytest.raises(RefusedError, match="was given"):
        trusted.advance(root_signed(root(1, GOOD)))
    assert not trusted.contradicted


def test_freshness_counts_for_the_channel_and_swarm_it_was_signed_for() -> None:
    """If this failed, a word about one channel, or another swarm, would hide that this one is being kept in the past."""
    trusted = TrustedSet(root(1))
    about = manifest(7)
    assert trusted.check_freshness(fresh(about)).manifest_hash == about.content_hash
    good = fresh(about)
    cases = [
        (fresh(about, AT_S, 60, ABUSED[0]), Reason.NOT_SIGNED),
        (fresh(about, swarm="nuts"), Reason.WRONG_SWARM),
        (fresh(about, channel="beta"), Reason.WRONG_CHANNEL),
        (attrs.evolve(good, key=b"beta"), Reason.NOT_SIGNED),
        (attrs.evolve(good, kind="manifest"), Reason.WRONG_KIND),
        (attrs.evolve(good, sequence=good.sequence + 1), Reason.NOT_SIGNED),
    ]
    for wrong, reason in cases:
        with pytest.raises(RefusedError) as refused:
            trusted.check_freshness(wrong)
        assert refused.value.reason is reason


def test_a_freshness_key_can_sign_no_manifest() -> None:
    """If this failed, the key that stays online could decide what is installed."""
    with pytest.raises(RefusedError) as refused:
        TrustedSet(root(1)).check_manifest(manifest(7, CLOCKS))
    assert refused.value.reason is Reason.NOT_SIGNED
