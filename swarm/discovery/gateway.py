"""Who speaks to the outside for a site: a function of who is there, so that nobody has to be elected.

Every node of a site works it out by itself. Two that know different neighbours for a moment may both be right, or neither: the
first costs bandwidth only, and whoever waits in vain goes out after a stated time (`swarm.transfer.way_out`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

NEWS = b"news"
"""What the gateway for control traffic is chosen for; gateways for bytes are chosen for an image's infohash."""


def ranked(purpose: bytes, node_ids: Iterable[bytes]) -> list[bytes]:
    """Node ids in the order in which they come to be the gateway: the first is it, the second its successor.

    Highest rendezvous hash: whoever comes or goes changes nobody else's place among the others, and different purposes
    fall to different nodes.

    Args:
        purpose: `NEWS`, or the first 8 bytes of an infohash.
        node_ids: those that are there and able, this node included if it is; repeats do not matter.

    Source: Thaler & Ravishankar 1998, "Using name-based mappings to increase hit rates".
    """
    return sorted(set(node_ids), key=lambda node_id: _weight(purpose, node_id), reverse=True)


@lru_cache(maxsize=8192)
def _weight(purpose: bytes, node_id: bytes) -> bytes:
    return hashlib.sha256(b"fruit-gateway\0" + purpose + b"\0" + node_id).digest()
