"""What a node believes after a restart: if this failed, it would forget a rotation, or what it was told on its card."""

from __future__ import annotations

import random

import attrs

from swarm.beginning import begin
from swarm.root_file import RootChain
from swarm.trust.root import Role, RoleKeys
from tests.swarm.trust.rotations import ABUSED, GOOD, chain, fresh, manifest, root, root_signed

CHAIN = chain(6, good_from=5)


def test_what_was_kept_is_judged_by_the_end_of_the_chain_in_whatever_order_it_lies_on_disk() -> None:
    """A power cut between a new root and what it takes back would leave a node with what an abused key signed."""
    kept = [*CHAIN[1:], manifest(2**50), manifest(4, GOOD, channel="beta"), fresh(manifest(2**50))]
    for seed in range(5):
        random.Random(seed).shuffle(kept)
        found = begin(RootChain.of(CHAIN[:1]), kept)
        assert found.trusted.root.version == 6
        assert [record.sequence for record, _ in found.let_go] == [2**50]
        assert found.store.get("manifest", b"beta") is not None
        assert found.store.get("manifest", b"stable") is None


def test_a_newer_root_on_the_card_wins_and_an_older_one_does_not_lead_back() -> None:
    """An operator could not hand a node what it missed; or an image with yesterday's root would bring stolen keys back."""
    older_on_card = begin(RootChain.of(CHAIN[:2]), CHAIN[1:5])
    assert older_on_card.trusted.root.version == 5
    assert older_on_card.let_go == ()
    newer_on_card = begin(RootChain.of(CHAIN), CHAIN[1:3])
    assert newer_on_card.trusted.root.version == 6
    across_a_gap = begin(RootChain.of(CHAIN[3:]), CHAIN[1:2])
    assert across_a_gap.trusted.root.version == 6
    assert len(across_a_gap.let_go) == 1


def test_a_card_of_another_lineage_counts_and_what_was_kept_goes() -> None:
    """After the loss of the root keys a swarm could not be founded anew on the same machines."""
    old = root(1, GOOD)
    names = {raw: name for raw, name in old.names.items() if name not in ("ann", "ben")}
    holders = RoleKeys(1, frozenset({GOOD[0].public.raw}))
    refounded = attrs.evolve(old, names=names, roles={**old.roles, Role.ROOT: holders})
    anew = root_signed(refounded, GOOD[0])
    found = begin(RootChain.of([anew]), [*CHAIN, manifest(7, ABUSED), manifest(8, GOOD, channel="beta")])
    assert found.trusted.root == refounded
    assert {record.kind for record, _ in found.let_go} == {"root", "manifest"}
    assert found.store.get("manifest", b"beta") is not None


def test_of_two_roots_the_one_that_was_followed_is_followed_again() -> None:
    """A restart would decide which of two contradicting roots a node believes, by the order of hashes."""
    for first, second in ((root(2), root(2, GOOD)), (root(2, GOOD), root(2))):
        kept = [root_signed(second), root_signed(first)]
        found = begin(RootChain.of(CHAIN[:1]), kept, followed=first.encode())
        assert found.trusted.root == first
        assert found.trusted.contradicted
        entry = found.store.get("root", first.key)
        assert entry is not None
        assert entry.disputed


def test_a_node_starts_with_ten_years_of_roots_in_a_moment() -> None:
    """Starting would take longer with every rotation."""
    many = chain(1024)
    found = begin(RootChain.of(many[:1]), many[1:])
    assert found.trusted.root.version == 1024
    assert len(found.store.entries("root")) == 1024
