"""Roots among many cores: if this failed, a stolen key could not be taken away from a swarm that is out there."""

from __future__ import annotations

from swarm.core import SwarmSettings
from swarm.effects import Equivocation, RecordAccepted, RecordForgotten, Refused
from swarm.errors import Reason
from swarm.news.record import Record
from swarm.trust.root import read_root
from swarm.trust.trusted_set import TrustedSet
from tests.swarm.core.village import Resident, Village
from tests.swarm.trust.rotations import ABUSED, GOOD, chain, fresh, manifest, root, root_signed

CHAIN = chain(11, good_from=11)


def believer(place: Village, number: int, roots: list[Record], **options: object) -> Resident:
    """A node that was given the first of these roots and has heard the others."""
    resident = place.add(number, trusted=TrustedSet(read_root(roots[0])), lan="l", **options)  # type: ignore[arg-type]
    for record in roots:
        resident.core.publish(record, place.now_s)
    return resident


def versions(residents: list[Resident]) -> set[int]:
    return {resident.trusted.root.version for resident in residents if resident.trusted is not None}


def held(resident: Resident, kind: str, key: bytes = b"stable") -> Record | None:
    entry = resident.store.get(kind, key)
    return entry.record if entry is not None else None


def test_a_node_that_missed_ten_roots_walks_them_in_one_go() -> None:
    """A node from a drawer would stay with keys that were taken away long ago."""
    place = Village(1)
    ahead = believer(place, 0, CHAIN)
    ahead.core.publish(manifest(3, GOOD), place.now_s)
    late = believer(place, 1, CHAIN[:1])
    assert place.run_until(20.0, lambda: held(late, "manifest") is not None)
    assert versions([late]) == {11}
    assert [e.record.sequence for e in late.said(RecordAccepted) if e.record.kind == "root"] == list(
        range(2, 12)
    )


def test_a_root_is_pushed_across_a_gap() -> None:
    """A node that lost one datagram months ago would not follow until its next comparison, or never."""
    place = Village(2)
    first, second = believer(place, 0, CHAIN[:1]), believer(place, 1, CHAIN[:1])
    place.run_until(10.0)
    second.alive = False
    for record in CHAIN[1:4]:
        place.do(first, first.core.publish(record, place.now_s))
    place.run_until(11.0)
    second.alive = True
    place.do(first, first.core.publish(CHAIN[4], place.now_s))
    assert place.run_until(14.0, lambda: versions([second]) == {5})


def test_a_rotation_reaches_all_and_ends_a_fast_forward() -> None:
    """An abused release key that pushed the highest sequence would have stopped every later release, for good."""
    place = Village(3)
    residents = [believer(place, n, CHAIN[:10]) for n in range(12)]
    place.run_until(12.0)
    place.do(residents[0], residents[0].core.publish(manifest(2**50), place.now_s))
    assert place.run_until(20.0, lambda: all(held(r, "manifest") == manifest(2**50) for r in residents))
    early = manifest(4, GOOD)
    place.do(residents[1], residents[1].core.publish(CHAIN[10], place.now_s))
    place.do(residents[1], residents[1].core.publish(early, place.now_s))
    assert place.run_until(40.0, lambda: all(held(r, "manifest") == early for r in residents))
    assert versions(residents) == {11}
    assert len({r.store.digest() for r in residents}) == 1
    assert all(RecordForgotten("manifest", b"stable") in r.said(RecordForgotten) for r in residents)


def test_what_was_refused_under_the_old_root_is_taken_under_the_new_one() -> None:
    """A release that arrives a moment before the rotation that allows it would be refused until a restart."""
    place = Village(4)
    node = believer(place, 0, CHAIN[:10])
    early = manifest(4, GOOD)
    for _ in range(2):
        _, effects = node.core._intake.offer(early, "a peer")
        assert [e.reason for e in effects if isinstance(e, Refused)] == [Reason.NOT_SIGNED]
    node.core.publish(CHAIN[10], place.now_s)
    assert node.core._intake.offer(early, "a peer")[0]


def test_freshness_goes_with_the_key_that_signed_it() -> None:
    """A stolen freshness key could go on saying that an old manifest is current."""
    place = Village(5)
    node = believer(place, 0, CHAIN[:1])
    about = manifest(3)
    node.core.publish(about, 0.0)
    node.core.publish(fresh(about), 0.0)
    without = root(2)
    rid = root_signed(type(without)(without.swarm, 2, {k: n for k, n in without.names.items() if n != "tick"},
                                    {r: h for r, h in without.roles.items() if r != "freshness"}))  # fmt: skip
    effects = node.core.publish(rid, 0.0)
    assert RecordForgotten("fresh", b"stable") in effects
    assert held(node, "fresh") is None
    assert held(node, "manifest") == about


def test_two_roots_of_one_version_are_proof_that_every_node_gets() -> None:
    """Root keys that say two things could lead half a swarm away."""
    place = Village(6)
    residents = [believer(place, n, CHAIN[:1]) for n in range(4)]
    place.run_until(10.0)
    place.do(residents[0], residents[0].core.publish(CHAIN[1], place.now_s))
    place.do(residents[3], residents[3].core.publish(root_signed(root(2, GOOD)), place.now_s))
    third = root_signed(root(3, ABUSED))
    assert place.run_until(20.0, lambda: all(r.trusted.contradicted for r in residents if r.trusted))
    assert all(r.said(Equivocation) for r in residents)
    place.do(residents[2], residents[2].core.publish(third, place.now_s))
    assert place.run_until(30.0, lambda: versions(residents) == {3})
    assert not any(r.trusted.contradicted for r in residents if r.trusted)


def test_a_manifest_dispute_ends_where_one_of_the_two_is_believed_no_more() -> None:
    """A stolen key could block a channel by contradicting each manifest, even after it was taken away."""
    place = Village(7)
    node = believer(place, 0, CHAIN[:1], settings=SwarmSettings())
    both = root_signed(root(2, (*ABUSED, *GOOD)))
    node.core.publish(both, 0.0)
    node.core.publish(manifest(5, GOOD), 0.0)
    node.core.publish(manifest(5, ABUSED, release=3), 0.0)
    entry = node.store.get("manifest", b"stable")
    assert entry is not None
    assert entry.disputed
    effects = node.core.publish(root_signed(root(3, GOOD)), 0.0)
    assert RecordAccepted(manifest(5, GOOD)) in effects
    assert held(node, "manifest") == manifest(5, GOOD)
