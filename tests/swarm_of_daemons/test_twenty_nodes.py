"""Twenty real daemons, killed and restarted at random while a release spreads."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages

pytestmark = pytest.mark.swarm

NODES = 20
FAULTS_S, FAULTS_MIN = 15.0, 20
"""On a machine that is busy with something else they take longer."""
SEED = 20


def _runs(release: int) -> Callable[[dict], bool]:
    def reached(status: dict) -> bool:
        content = status["slots"][status["slots"]["active"]]
        return content["release"] == release and content["content"] == "committed"

    return reached


def _slot_hash(node: NodeProcess, slot: str, length_bytes: int) -> str:
    with open(node.slot(slot), "rb") as file:
        return hashlib.sha256(file.read(length_bytes)).hexdigest()


def _torment(cluster: Cluster, nodes: list[NodeProcess], rng: random.Random) -> int:
    """Kill daemons and pull plugs for a while; every node is switched on again at the end. How many faults there were."""
    faults = 0
    off: list[NodeProcess] = []
    until_s = time.monotonic() + FAULTS_S
    while time.monotonic() < until_s or faults <= FAULTS_MIN:
        node = rng.choice(nodes)
        if node in off:
            off.remove(node)
            node.start()
        elif rng.random() < 0.5:
            node.kill_daemon()
        else:
            node.kill()
            off.append(node)
        faults += 1
        time.sleep(rng.uniform(0.1, 0.6))  # the pace of the faults, not a wait for anything
    for node in off:
        node.start()
    return faults


def test_all_converge_after_random_kills(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """Nodes in the field would stay behind, or boot half an image, after crashes and power cuts during a release."""
    rng = random.Random(SEED)
    # Power cuts during a trial count as attempts; the torment must not be mistaken for a bad release.
    cluster = make_cluster(max_attempts=50)
    publisher = cluster.add("publisher", slots=False)
    nodes = [cluster.add(f"n{i:02}") for i in range(NODES)]
    for node in cluster.nodes:
        node.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= NODES // 2, timeout_s=120)
    publish(publisher, maintainers.release(images.good[0], 1, tmp_path / "r1"))

    faults = _torment(cluster, nodes, rng)

    assert faults > FAULTS_MIN
    cluster.wait("convergence", nodes, _runs(1), timeout_s=240)
    expected = hashlib.sha256(images.good[0].read_bytes()).hexdigest()
    for node in nodes:
        status = node.get("/v1/status")
        assert status is not None
        assert _slot_hash(node, status["slots"]["active"], images.good[0].stat().st_size) == expected
