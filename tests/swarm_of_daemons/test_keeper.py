"""Nodes whose daemon has a keeper beside it: whole updates through it, and a daemon that would not be let."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from fruitd.errors import RefusedError
from fruitd.keeper.client import KeeperClient
from tests.swarm_of_daemons.looks import file_hash, runs

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 120.0, 180.0
PROGRAM = (sys.executable, str(Path(__file__).with_name("with_keeper.py")))


def _add(cluster: Cluster) -> NodeProcess:
    folder = cluster.settings.directory / "n1"
    more = (
        f'[keeper]\nuser = "{getpass.getuser()}"\nsocket = "{folder}/keeper.sock"\nstate_dir = "{folder}"\n'
    )
    node = cluster.add("n1", more=more)
    node.program = PROGRAM
    return node


def test_an_update_a_bad_release_and_the_way_back_through_a_keeper(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """A node with least privilege would never update, or not come back from a bad release."""
    cluster = make_cluster(max_attempts=1)
    publisher, node = cluster.add("publisher", slots=False), _add(cluster)
    for each in cluster.nodes:
        each.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 1, timeout_s=START_S)

    publish(publisher, maintainers.release(images.good[0], 1, tmp_path / "r1"))
    cluster.wait("release 1", [node], runs(1), timeout_s=UPDATE_S)
    assert file_hash(node.slot("b"), images.good[0].stat().st_size) == file_hash(images.good[0])

    publish(publisher, maintainers.release(images.bad, 2, tmp_path / "r2"))
    cluster.wait("the bad release", [node], lambda s: bool(s["quarantined"]), timeout_s=UPDATE_S)
    cluster.wait("back on release 1", [node], runs(1), timeout_s=UPDATE_S)

    publish(publisher, maintainers.release(images.good[1], 3, tmp_path / "r3"))
    cluster.wait("release 3", [node], runs(3), timeout_s=UPDATE_S)
    node.post("/v1/rollback", {"why": "camera driver"})
    cluster.wait("rollback", [node], runs(1), timeout_s=UPDATE_S)

    # What a daemon that was taken over would ask for: the release that was rolled back is still proved, anything else is not.
    client = KeeperClient(node.directory / "keeper.sock")
    with pytest.raises(RefusedError, match="not read back"):
        client.arm(_other(client.facts().active), bytes(32))


def _other(slot: str) -> str:
    return "b" if slot == "a" else "a"
