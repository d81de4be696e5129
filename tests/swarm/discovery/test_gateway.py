"""Who speaks for a site."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from swarm.discovery.gateway import ranked

IDS = [hashlib.sha256(bytes([n])).digest()[:20] for n in range(24)]


@pytest.mark.parametrize("seed", range(50))
def test_whoever_leaves_changes_nothing_among_the_others(seed: int) -> None:
    """A node that goes would send its whole site looking for new gateways, each with downloads begun elsewhere."""
    rng = random.Random(seed)
    purpose = rng.randbytes(8)
    order = ranked(purpose, IDS)
    gone = rng.choice(IDS)
    rest = ranked(purpose, rng.sample([n for n in IDS if n != gone], len(IDS) - 1))
    assert rest == [n for n in order if n != gone]


def test_different_images_fall_to_different_nodes() -> None:
    """One node of the site would carry every image, and wear out its card."""
    first = Counter(ranked(bytes([n & 255, n >> 8]) + bytes(6), IDS)[0] for n in range(2400))
    assert set(first) == set(IDS)
    assert max(first.values()) < 2 * 2400 / len(IDS)


def test_a_node_named_twice_stands_once() -> None:
    """Ranks would differ between nodes that heard of somebody once and twice."""
    assert ranked(b"12345678", [*IDS, *IDS]) == ranked(b"12345678", IDS)
