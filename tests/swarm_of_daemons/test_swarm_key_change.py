"""The swarm key of a running swarm is changed, as docs/membership.md says, and nobody is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from swarm.seal import key_id
from tests.swarm_of_daemons.looks import doctor_of, fruit, fruit_alone, log_of, until

pytestmark = pytest.mark.swarm

SPREAD_S = 120.0


def step(nodes: Sequence[NodeProcess], *options: str) -> None:
    """Do one step of the change on these nodes."""
    for node in nodes:
        changed = fruit_alone("key", "swarm", str(node.swarm_key), *options)
        assert changed.returncode == 0, changed.stderr
        reloaded = fruit(node, "reload")
        assert reloaded.returncode == 0, reloaded.stderr


def peers_of(node: NodeProcess) -> int:
    """Whom it hears."""
    status = node.get("/v1/status")
    return 0 if status is None else int(status["peers"]["heard"])


def manifest_of(node: NodeProcess) -> int | None:
    """The newest manifest it has."""
    status = node.get("/v1/status")
    return None if status is None else status["trust"]["manifest_sequence"]


def test_the_swarm_key_is_changed_under_traffic_and_no_node_is_lost(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """Changing a key that leaked would cost a visit to every node; or a node that missed it would be lost without a word."""
    cluster = make_cluster()
    nodes = [cluster.add(f"n{n}", slots=False) for n in range(5)]
    for node in nodes:
        node.start()
    cluster.wait("each other", nodes, lambda s: s["peers"]["heard"] >= 4, timeout_s=SPREAD_S)
    new, old = tmp_path / "new.key", str(key_id(read_swarm_keys(cluster.swarm_key)[0]).hex())
    assert fruit_alone("key", "swarm", str(new)).returncode == 0
    new_id = key_id(read_swarm_keys(new)[0]).hex()

    def spreads(release: int, through: NodeProcess, to: Sequence[NodeProcess]) -> None:
        bundle = maintainers.release(images.good[0], release, tmp_path / f"release-{release}")
        publish(through, bundle)
        until(
            lambda: all(manifest_of(node) == release for node in to),
            lambda: f"{[manifest_of(node) for node in nodes]}",
            SPREAD_S,
        )

    # News spreads in the middle of each step, from nodes that have done it to those that have not, and back.
    step(nodes[:2], "--add", str(new))
    spreads(1, nodes[0], nodes)
    step(nodes[2:], "--add", str(new))
    step(nodes[:3], "--promote", str(new))
    spreads(2, nodes[0], nodes)
    spreads(3, nodes[4], nodes)
    step(nodes[3:], "--promote", str(new))
    kept, forgotten = nodes[:4], nodes[4]
    step(kept[:2], "--drop", old)
    spreads(4, kept[0], nodes)
    step(kept[2:], "--drop", old)
    assert all(peers_of(node) == 4 for node in nodes)
    assert all(sum(line["event"] == "ready" for line in log_of(node)) == 1 for node in nodes), "restarted"
    assert all((node.get("/v1/status") or {})["trust"]["swarm_keys"] == [new_id] for node in kept)

    # One that was left behind with the old key alone is cut off, says why, and comes back once it has the new one.
    forgotten.swarm_key.write_bytes(cluster.swarm_key.read_bytes())
    assert fruit(forgotten, "reload").returncode == 0
    spreads(5, kept[0], kept)
    words = "messages were sealed with a key that is not here"
    until(lambda: words in " ".join(doctor_of(forgotten)), lambda: f"{doctor_of(forgotten)}", SPREAD_S)
    assert manifest_of(forgotten) == 4
    step([forgotten], "--add", str(new))
    step([forgotten], "--promote", str(new))
    until(lambda: manifest_of(forgotten) == 5, lambda: f"{manifest_of(forgotten)}", SPREAD_S)


def test_a_key_file_that_cannot_be_used_changes_nothing(make_cluster: Callable[..., Cluster]) -> None:
    """A slip of an editor would throw a running node out of its swarm."""
    cluster = make_cluster()
    node = cluster.add("node", slots=False)
    node.start()
    cluster.wait("a start", [node], lambda s: True, timeout_s=SPREAD_S)
    before = (node.get("/v1/status") or {})["trust"]["swarm_keys"]
    node.swarm_key.write_text("not a key\n")
    told = fruit(node, "reload")
    assert told.returncode == 1
    assert "line 1 is not a swarm key" in told.stderr
    assert "goes on with the keys it has" in told.stderr
    assert (node.get("/v1/status") or {})["trust"]["swarm_keys"] == before
