"""Real daemons that have nothing but the distributed hash table's contacts to begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess, Place, free_ports
from fruitd.demo.images import DemoImages

pytestmark = pytest.mark.swarm

PATIENCE_S = 90.0


def test_a_node_with_one_working_contact_of_five_finds_the_swarm_and_the_newest_manifest(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages
) -> None:
    """A card written a year ago names five contacts of which one is left: its node has to come home by that one."""
    cluster = make_cluster(beacon=False)
    first = cluster.add("first", slots=False, place=Place(site="first"))
    others = [
        cluster.add(f"other-{n}", slots=False, contacts=[first], place=Place(site=f"other-{n}"))
        for n in range(3)
    ]
    for node in cluster.nodes:
        node.start()
    cluster.wait("a swarm", cluster.nodes, lambda s: s["peers"]["heard"] >= 3, timeout_s=PATIENCE_S)
    bundle = maintainers.release(images.good[0], 1, cluster.settings.directory / "release-1")
    publish(first, bundle)
    gone = [_gone(name, port) for name, port in zip("abcd", free_ports(4), strict=True)]
    contacts = [*gone[:2], others[0], *gone[2:]]
    late = cluster.add("late", slots=False, contacts=contacts, place=Place(site="late"))
    late.start()
    cluster.wait(
        "the newest manifest by the table",
        [late],
        lambda s: s["dht"]["newest"] is not None and s["dht"]["newest"]["sequence"] == 1,
        timeout_s=PATIENCE_S,
    )
    cluster.wait("everybody", [late], lambda s: s["peers"]["heard"] >= 4, timeout_s=PATIENCE_S)
    doctor = late.get("/v1/doctor")
    assert doctor is not None
    rows = {row["name"]: row for row in doctor["checks"]}
    assert rows["dht"]["ok"]
    assert "1 is the newest" in rows["dht"]["found"]
    assert "open" in rows["reach"]["found"]


def test_a_node_whose_table_is_switched_off_asks_and_answers_nobody(
    make_cluster: Callable[..., Cluster],
) -> None:
    """An operator who forbids the table must be obeyed, and the node must find its swarm all the same."""
    cluster = make_cluster(beacon=False)
    off = cluster.add("off", slots=False, more="[dht]\nenabled = false\n")
    node = cluster.add("node", slots=False, contacts=[off])
    for each in cluster.nodes:
        each.start()
    cluster.wait(
        "nobody answers",
        [node],
        lambda s: s["peers"]["heard"] == 1 and s["dht"]["newest"] is not None,
        timeout_s=PATIENCE_S,
    )
    status = node.get("/v1/status")
    assert status is not None
    assert status["dht"]["newest"]["answered"] == 0
    assert "cannot tell" in status["dht"]["newest"]["why"]
    assert (off.get("/v1/status") or {})["dht"]["state"] == "off"


def _gone(name: str, port: int) -> NodeProcess:
    """A contact that nobody listens at any more."""
    return NodeProcess(name, Path("/nonexistent"), port, port, False)
