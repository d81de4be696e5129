"""If one of these failed, a site's thin line would carry a parcel that one node needs before the one that forty need."""

from __future__ import annotations

from fruitd.node.site_parcels import Need, needs_of_site
from swarm.trust.manifest import NamedParcel, Release

ROOTS = {bytes([n]) * 8: bytes([n]) * 32 for n in (1, 2)}


def parcel(root: bytes, length_bytes: int) -> NamedParcel:
    """A parcel from the image with this root."""
    return NamedParcel(root or b"n" * 32, b"s" * 32, 100, length_bytes, root)


FROM_NOTHING, FROM_1, FROM_2 = parcel(b"", 900), parcel(ROOTS[b"\1" * 8], 30), parcel(ROOTS[b"\2" * 8], 40)
RELEASE = Release(
    "r", ("pi",), 3, "3", 5000, b"\3" * 32, b"t" * 32, 100, b"k" * 32, (FROM_NOTHING, FROM_1, FROM_2)
)


def test_what_most_nodes_need_comes_first() -> None:
    """The gateway would serve the exception first."""
    running = [b"\2" * 8] * 3 + [b"\1" * 8, b"", b"\x09" * 8]
    assert needs_of_site(RELEASE, running, ROOTS) == (Need(FROM_2, 3), Need(FROM_NOTHING, 2), Need(FROM_1, 1))


def test_of_two_that_equally_many_need_the_smaller_one_comes_first() -> None:
    """Everybody would wait for the large one."""
    assert needs_of_site(RELEASE, [b"", b"\1" * 8], ROOTS) == (Need(FROM_1, 1), Need(FROM_NOTHING, 1))


def test_nodes_that_have_it_need_nothing() -> None:
    """A site would fetch what nobody there uses."""
    assert needs_of_site(RELEASE, [b"\3" * 8] * 9, ROOTS) == ()


def test_without_a_parcel_that_fits_the_image_is_needed() -> None:
    """A gateway would hold back the image from nodes that can use nothing else."""
    only = Release("r", ("pi",), 3, "3", 5000, b"\3" * 32, b"t" * 32, 100, b"k" * 32, (FROM_1,))
    assert needs_of_site(only, [b"", b"\1" * 8, b""], ROOTS) == (Need(None, 2), Need(FROM_1, 1))
