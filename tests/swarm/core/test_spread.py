"""A thousand nodes that know a few each: news reaches the last of them in seconds, lost datagrams or not."""

from __future__ import annotations

import random

import pytest

from swarm.address import Address
from swarm.core import SwarmSettings
from tests.swarm.core.village import PORT, Village, manifest

NODES = 1000
KNOWN_EACH = 8


@pytest.mark.parametrize(("loss", "bar_s"), [(0.0, 15.0), (0.05, 30.0)])
def test_manifest_reaches_a_thousand(loss: float, bar_s: float) -> None:
    """The last nodes would hear of a release minutes after the first, or never."""
    place = Village(11, loss)
    addresses = [Address(f"10.0.{n >> 8}.{n & 255}", PORT) for n in range(NODES)]
    rng = random.Random(11)
    nodes = [
        place.add(n, SwarmSettings(beacon=False, contacts=tuple(rng.sample(addresses, KNOWN_EACH))))
        for n in range(NODES)
    ]
    place.run_until(12.0)
    began_s = place.now_s
    for node in nodes:
        node.datagram_bytes = 0
    place.do(nodes[0], nodes[0].core.publish(manifest(1), began_s))
    missing = list(nodes)
    while missing and place.now_s < began_s + bar_s:
        place.run_until(place.now_s + 0.25)
        missing = [node for node in missing if node.store.get("manifest", b"stable") is None]
    assert not missing
    assert sum(node.datagram_bytes for node in nodes) / NODES < 12_000
