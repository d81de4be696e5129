"""A change of who may do what, from the ceremony's files to real daemons."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster

pytestmark = pytest.mark.swarm

WITHIN_S = 120.0
FRUIT = [sys.executable, "-c", "from fruitd.cli import main; main()"]


def fruit(folder: Path, *words: object) -> str:
    """Run a command as a maintainer does; what it printed."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FRUIT_")}
    done = subprocess.run(
        [*FRUIT, *map(str, words)], cwd=folder, capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_roots_handed_to_one_node_are_followed_by_all_and_after_a_restart(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers
) -> None:
    """A stolen key would stay in power on every node that nobody can reach by hand."""
    folder = maintainers.root_file.parent
    fruit(folder, "key", "new", "root-3", "--no-passphrase")
    signers = ["--key", "root-1.key", "--key", "root-2.key"]
    fruit(folder, "trust", "rotate", "root.fruit", "-o", "second.fruit", "--replace", "root-2=root-3.pub")
    fruit(
        folder, "trust", "sign", "second.fruit", *signers, "--key", "root-3.key", "--previous", "root.fruit"
    )
    signers = ["--key", "root-1.key", "--key", "root-3.key"]
    fruit(folder, "trust", "rotate", "second.fruit", "-o", "third.fruit", "--remove", "release=release-3")
    fruit(folder, "trust", "sign", "third.fruit", *signers)
    cluster = make_cluster()
    nodes = [cluster.add(name, slots=False) for name in ("one", "two", "late")]
    for node in nodes[:2]:
        node.start()
    cluster.wait("everybody", nodes[:2], lambda s: s["peers"]["heard"] >= 1, timeout_s=WITHIN_S)
    said = fruit(folder, "trust", "publish", "third.fruit", "--socket", nodes[0].socket)
    assert said == "trust root 2: accepted\ntrust root 3: accepted\n"
    cluster.wait("root 3", nodes[:2], lambda s: s["trust"]["root_version"] == 3, timeout_s=WITHIN_S)
    nodes[0].stop()
    nodes[2].start()  # It has root 1, and nobody but the second node to learn from.
    cluster.wait("root 3", nodes[1:], lambda s: s["trust"]["root_version"] == 3, timeout_s=WITHIN_S)
    nodes[1].stop()
    nodes[2].stop()
    nodes[2].start()
    cluster.wait("root 3", [nodes[2]], lambda s: s["trust"]["root_version"] == 3, timeout_s=WITHIN_S)
    assert (
        fruit(folder, "trust", "publish", "third.fruit", "--socket", nodes[2].socket)
        == "trust root 3: known\n"
    )


def test_a_card_made_with_todays_file_starts_with_todays_root(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers
) -> None:
    """A new node would trust the people of long ago until it finds somebody who knows better."""
    folder = maintainers.root_file.parent
    fruit(folder, "trust", "rotate", "root.fruit", "-o", "second.fruit", "--remove", "release=release-3")
    fruit(folder, "trust", "sign", "second.fruit", "--key", "root-1.key", "--key", "root-2.key")
    cluster = make_cluster(root_file=folder / "second.fruit")
    node = cluster.add("new", slots=False)
    node.start()
    cluster.wait("root 2", [node], lambda s: s["trust"]["root_version"] == 2, timeout_s=WITHIN_S)
