"""What a release changes on which hardware: if this were wrong, people would sign for nodes they do not mean."""

from __future__ import annotations

import random

from fruitd.maintainer.changes import changes
from swarm.trust.manifest import Manifest, Release
from tests.fruitd.maintainer.makers import MIB, RESOURCE, node, row

NEW = row(4, "2026.11", "pi4", "pi5")
OLD = row(3, "2026.10", "pi4")
KEPT = row(9, "2026.10", "pi3")


def of(*rows: Release) -> Manifest:
    return Manifest("orchard", "stable", 1, rows)


def test_each_hardware_has_its_row_and_says_what_becomes_of_it() -> None:
    """If this failed, somebody would sign away the updates of a board, or think that all boards change."""
    rows = changes(of(OLD, KEPT, row(2, "1", "pi2")), of(NEW, KEPT))
    assert [(r.hardware, r.before, r.after, r.same) for r in rows] == [
        ("pi4", OLD, NEW, False),
        ("pi5", None, NEW, False),
        ("pi3", KEPT, KEPT, True),
        ("pi2", row(2, "1", "pi2"), None, False),
    ]
    assert {r.resource for r in rows} == {RESOURCE}
    assert all(r.nodes is None for r in rows)


def test_the_nodes_that_would_take_it_are_counted() -> None:
    """If this failed, a release that no node can take would look like one for all."""
    nodes = [
        node(),
        node(release=None, slot_bytes=None),
        node(release=4),
        node(release=7),
        node(slot_bytes=99 * MIB),
        node(quarantined=frozenset({4})),
        node(hardware=None),
        node(hardware=frozenset({"pi5", "pi4"})),
        node(hardware=frozenset({"x86"})),
    ]
    pi4, pi5 = changes(of(OLD), of(NEW), nodes)
    assert (pi4.nodes, pi4.would_take) == (7, 3)
    assert [why for _, why in pi4.keeping] == [
        "runs release 4",
        "runs release 7",
        "has slots of 99.0 MiB",
        "gave release 4 up",
    ]
    assert (pi5.nodes, pi5.would_take) == (1, 1)


def test_no_node_is_counted_where_none_says_its_hardware() -> None:
    """If this failed, a fleet of nodes that do not say what they are would look empty."""
    assert changes(None, of(NEW), [node(hardware=None)])[0].nodes is None
    assert changes(None, of(NEW), [])[0].nodes is None


def test_random_manifests_agree_with_asking_each_manifest() -> None:
    """If this failed, the table would say something else than the nodes do."""
    rng = random.Random(3)
    for _ in range(200):
        before, after = (
            of(
                *(
                    row(rng.randrange(1, 5), "1", *rng.sample(["a", "b", "c"], rng.randrange(1, 4)))
                    for _ in range(rng.randrange(1, 4))
                )
            )
            for _ in range(2)
        )
        rows = {change.hardware: change for change in changes(before, after)}
        for hardware in "abc":
            told = [m.release_for(RESOURCE, frozenset({hardware})) for m in (before, after)]
            if told == [None, None]:
                assert hardware not in rows
            else:
                assert [rows[hardware].before, rows[hardware].after] == told
