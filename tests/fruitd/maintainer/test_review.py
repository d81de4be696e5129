"""The mistakes people make with releases: if one of these were not found, every node of a fleet would make it too."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.review import Known, Mistake, refuse, review
from swarm.news.record import Record
from swarm.signing import signed
from tests.fruitd.maintainer.makers import (
    BEFORE,
    CHAIN,
    CORA,
    DAN,
    EVE,
    MALLORY,
    MIB,
    NOW_S,
    PLAN,
    RESOURCE,
    chain,
    draft,
    manifest,
    node,
    row,
)

ALL_KNOWN = Known(
    manifests=(BEFORE,),
    nodes=(node(), node("fruit-04", hardware=frozenset({"pi5"}))),
    root=CHAIN.newest,
    now_s=NOW_S + 60,
    image_bytes_mtime_ns=(PLAN.length_bytes, PLAN.image_mtime_ns),
)
"""Everything that can be known, and nothing wrong with it."""


def found(bundle: Bundle, known: Known = ALL_KNOWN) -> list[str]:
    """What was found, in words that are stable."""
    return [mistake.what for mistake in review(bundle, known)]


def signed_by(bundle: Bundle, *keys: Any, torrent_signer: Any = CORA) -> Bundle:
    """The same, with a manifest under it; the torrent is not looked at here."""
    release = bundle.plan.release_of(b"x", bytes(32), torrent_signer.public.raw)
    return attrs.evolve(bundle, manifest=signed(bundle.compose(release), *keys))


def test_a_good_release_is_not_hindered() -> None:
    """If this failed, people would learn to say --anyway."""
    assert found(draft(BEFORE)) == []
    assert found(signed_by(draft(BEFORE), CORA, DAN)) == []
    refuse((), "")


WITH_OTHER = manifest(row(3, "2026.10", "pi4", "pi5"), row(9, "2026.10", "pi3"))


@pytest.mark.parametrize(
    ("bundle", "known", "what", "final", "said"),
    [
        (draft(release=2), {"nodes": None}, "release-backwards", True, "use --release 4 or higher"),
        (draft(BEFORE, release=3), {"nodes": None}, "release-reused", True, "a number is never used twice"),
        (draft(BEFORE, version="2026.9"), {}, "version-backwards", False, "older than release 3 (2026.10)"),
        (draft(sequence=17), {}, "sequence-not-higher", True, "--sequence 18"),
        (draft(), {"manifests": (manifest(row(3, "1", "pi4"), channel="beta"),)}, "another-channel", True, "beta"),
        (draft(), {"manifests": (manifest(row(3, "1", "pi4"), swarm="grove"),)}, "another-channel", True, "grove"),
        (draft(), {"manifests": (WITH_OTHER,)}, "hardware-dropped", False, "pi3 would lose release 9"),
        (draft(issued_at_s=NOW_S - 5000), {}, "clock-behind", False, "set the clock"),
        (draft(issued_at_s=NOW_S + 5000), {}, "from-the-future", False, "set the clock"),
        (draft(), {"root": chain(CORA, DAN, EVE, swarm="grove").newest}, "another-swarm", True, "grove"),
        (draft(), {"root": chain(CORA, DAN, EVE, expires_at_s=NOW_S).newest}, "root-expired", False, "trust rotate"),
        (signed_by(draft(), DAN, EVE), {"root": chain(DAN, EVE).newest}, "torrent-signer", True, "cora"),
        (signed_by(draft(), CORA, DAN, EVE), {"root": chain(CORA, DAN).newest}, "signer-not-in-role", False, "eve"),
        (signed_by(draft(), CORA, MALLORY), {}, "signer-not-in-role", False, MALLORY.public.raw.hex()[:16]),
        (draft(length_bytes=600 * MIB), {"image_bytes_mtime_ns": None}, "image-too-large", False, "2 known nodes (fruit-03"),
        (draft(compatible=("pi4", "pi5", "pi6")), {}, "hardware-unknown", False, "none of 2 known nodes is pi6"),
        (draft(), {"nodes": (node(release=7), node("p", hardware=frozenset({"pi5"})))}, "nodes-ahead", False, "up to 7"),
        (draft(), {"nodes": (node(release=4, version="x"), node("p", hardware=frozenset({"pi5"})))},
            "number-in-use", False, "as version x"),
        (draft(image_kind=""), {}, "no-file-system", False, "/images/rootfs.img"),
        (draft(), {"image_bytes_mtime_ns": (PLAN.length_bytes, 2)}, "image-changed", False, "verify --image"),
        (draft(), {"image_bytes_mtime_ns": (1, PLAN.image_mtime_ns)}, "image-changed", False, "build again"),
    ],
)  # fmt: skip
def test_each_mistake_is_found_alone_and_said_with_what_to_do(
    bundle: Bundle, known: dict[str, Any], what: str, final: bool, said: str
) -> None:
    """If this failed, the mistake it is about would be signed and spread."""
    mistakes = review(bundle, attrs.evolve(ALL_KNOWN, **known))
    named = [mistake for mistake in mistakes if mistake.what == what]
    assert [mistake.what for mistake in mistakes] == [what], mistakes
    assert named[0].final is final
    assert said in named[0].why
    with pytest.raises(RefusedError) as refusal:
        refuse(mistakes, "")
    assert ("--anyway" in str(refusal.value)) is not final
    if final:
        with pytest.raises(RefusedError):
            refuse(mistakes, "it is meant")
    else:
        refuse(mistakes, "it is meant")


def test_a_reason_covers_no_final_mistake_beside_it() -> None:
    """If this failed, one --anyway for new hardware would let a number be used twice."""
    mistakes = (Mistake("hardware-unknown", "pi6", False), Mistake("release-reused", "3", True))
    with pytest.raises(RefusedError, match=r"^3$"):
        refuse(mistakes, "new boards come on Monday")


def test_what_the_node_holds_counts_beside_what_was_built_upon() -> None:
    """If this failed, a release built last week would take back what was released since."""
    since = manifest(row(3, "2026.10", "pi4", "pi5"), row(5, "2026.10", "pi3"), sequence=18)
    built_upon = manifest(row(3, "2026.10", "pi4", "pi5"), row(4, "2026.9", "pi3"))
    known = attrs.evolve(ALL_KNOWN, manifests=(since,))
    assert found(draft(built_upon), known) == ["sequence-not-higher", "release-backwards"]


def test_a_release_that_is_out_already_is_not_compared_with_itself() -> None:
    """If this failed, nothing could be published twice, or through a second node."""
    bundle = signed_by(draft(BEFORE), CORA, DAN)
    assert bundle.manifest is not None
    assert found(bundle, attrs.evolve(ALL_KNOWN, manifests=(bundle.manifest,))) == []


def test_the_same_bytes_may_be_signed_again_under_their_number() -> None:
    """If this failed, a release could not be kept after the key that signed it was taken away."""
    same = row(4, "2026.11", "pi4", "pi5", infohash=bytes.fromhex(PLAN.infohash))
    assert found(draft(manifest(same))) == []


def test_rows_that_are_carried_on_need_a_signer_too() -> None:
    """If this failed, two people would sign a manifest that every node refuses."""
    built_upon = manifest(row(9, "2026.10", "pi3", signer=EVE.public.raw))
    mistakes = review(draft(built_upon), attrs.evolve(ALL_KNOWN, manifests=(), root=chain(CORA, DAN).newest))
    assert [mistake.what for mistake in mistakes] == ["torrent-signer"]
    assert "eve" in mistakes[0].why


def test_before_the_image_is_hashed_its_bytes_are_not_judged() -> None:
    """If this failed, signing an old release anew would be refused before its hash could show that it is the same."""
    known = attrs.evolve(ALL_KNOWN, nodes=None)
    assert found(draft(BEFORE, release=3, infohash="00" * 32), known) == []
    assert found(draft(BEFORE, release=3), known) == ["release-reused"]


def test_an_image_of_an_unknown_kind_is_explained_once() -> None:
    """If this failed, every signer would have to say again what the builder has said."""
    assert found(draft(BEFORE, image_kind="", anyway="the slot holds a LUKS container")) == []


def test_what_is_not_known_is_no_mistake() -> None:
    """If this failed, a maintainer without a network could sign nothing."""
    assert found(draft(length_bytes=600 * MIB, issued_at_s=NOW_S + 10**6), Known()) == []
    silent = (node(hardware=None, slot_bytes=None, release=None),)
    assert found(draft(length_bytes=600 * MIB), Known(nodes=silent)) == []


def test_a_manifest_of_another_resource_is_carried_on_and_compared() -> None:
    """If this failed, a boot loader's release could take back the root file system's."""
    other: Record = manifest(row(3, "2026.10", "pi4", "pi5"), row(8, "1", "pi4", resource="org.x/boot"))
    assert found(draft(other)) == []
    assert found(draft(), attrs.evolve(ALL_KNOWN, manifests=(other,))) == ["hardware-dropped"]
    assert RESOURCE != "org.x/boot"
