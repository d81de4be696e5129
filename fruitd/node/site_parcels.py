"""Which parcels of a release the nodes of one site need: what its gateway should fetch first, and once. Pure.

Known from the statuses that the nodes of a site sign: what each runs, by the first bytes of its image's infohash. A node whose
status is not known counts for nothing, and one that runs the release already needs none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import frozen

from swarm.status import INFOHASH_PREFIX_BYTES
from swarm.trust.manifest import NamedParcel, Release


@frozen
class Need:
    """One parcel (None: the image's own blocks), and for how many nodes of the site it is the cheapest way."""

    parcel: NamedParcel | None
    nodes: int


def needs_of_site(
    release: Release, running: Iterable[bytes], root_of: Mapping[bytes, bytes]
) -> tuple[Need, ...]:
    """What the site needs, what most nodes need first; of two that equally many need, the smaller one first.

    Args:
        release: the manifest's row, with its parcels.
        running: for each node of the site the first 8 bytes of the infohash of what it runs; empty where it does not know.
        root_of: pieces root by those 8 bytes, for the images whose torrents are here.
    """
    by_root = {parcel.from_root: parcel for parcel in release.parcels}
    here = release.infohash[:INFOHASH_PREFIX_BYTES]
    counts: Counter[bytes | None] = Counter()
    for prefix in running:
        if prefix == here:
            continue
        root = root_of.get(prefix, b"")
        fitting = [parcel for parcel in (by_root.get(root), by_root.get(b"")) if parcel is not None]
        cheapest = min(fitting, key=lambda parcel: parcel.length_bytes, default=None)
        counts[cheapest.from_root if cheapest is not None else None] += 1
    needs = [Need(by_root[root] if root is not None else None, count) for root, count in counts.items()]
    return tuple(sorted(needs, key=_order))


def _order(need: Need) -> tuple[int, int, bytes]:
    if need.parcel is None:
        return -need.nodes, 2**63, b""
    return -need.nodes, need.parcel.length_bytes, need.parcel.from_root
