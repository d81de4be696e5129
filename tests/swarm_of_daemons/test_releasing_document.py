"""docs/releasing.md, followed to the letter: if this failed, a new maintainer would be stuck at some line of it.

Its fenced blocks marked `sh` say whose computer they are typed on; each has a folder of its own here, and the stick is a third. A
block marked `node` needs a node running on that computer. A line that ends in `# exit code 1` is meant to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fruitd.demo.cluster import HARDWARE, Cluster, NodeProcess
from fruitd.demo.images import DemoImages

pytestmark = pytest.mark.swarm

DOCUMENT = Path(__file__).parents[2] / "docs" / "releasing.md"
BLOCK = re.compile(r"^```sh (\w+)( node)?\n(.*?)^```$", re.M | re.S)
PASSPHRASE = "correct horse battery staple"
COMMAND_S_MAX = 120.0
WAIT_S = 180.0


def blocks() -> list[tuple[str, bool, list[str]]]:
    """Whose, whether a node runs there, and the commands."""
    found = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
    return [(whose, bool(node), text.replace("\\\n", " ").splitlines()) for whose, node, text in found]


class Desks:
    """Ann's and Ben's computers and the stick between them."""

    def __init__(self, base: Path, images: DemoImages) -> None:
        self.base = base
        for name in ("ann", "ben", "stick"):
            (base / name).mkdir()
        (base / "passphrase").write_text(PASSPHRASE)
        (base / "passphrase").chmod(0o600)
        shutil.copyfile(images.good[0], base / "ann/rootfs.img")
        shutil.copyfile(images.good[1], base / "ann/rootfs-2.img")

    def run(self, whose: str, command: str, socket: Path | None) -> str:
        """One line of the document, as it stands; what it printed."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.base / whose),
            "STICK": str(self.base / "stick"),
            "FRUIT_PASSPHRASE_FILE": str(self.base / "passphrase"),
            **({"FRUIT_SOCKET": str(socket)} if socket is not None else {}),
        }
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=self.base / whose,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        expected = int((re.search(r"# exit code (\d)", command) or [0, 0])[1])
        assert done.returncode == expected, f"{whose}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout


def test_the_document_has_the_blocks_that_are_run() -> None:
    """If this failed, the test below would run nothing and be green."""
    commands = [command for _, _, lines in blocks() for command in lines]
    said = [" ".join(command.split()[:3]) for command in commands]
    for needed in ("fruit key new", "fruit trust init", "fruit trust sign", "fruit key swarm", "fruit release build",
                   "fruit release show", "fruit release sign", "fruit release merge", "fruit release verify",
                   "fruit release publish", "fruit freshness --key"):  # fmt: skip
        assert needed in said
    assert {whose for whose, _, _ in blocks()} == {"ann", "ben"}


def test_two_people_release_by_following_it(
    images: DemoImages, make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    """If this failed, the ceremony would work only for those who wrote it."""
    desks = Desks(tmp_path, images)
    cluster: Cluster | None = None
    shown: list[str] = []
    for whose, needs_node, commands in blocks():
        if needs_node and cluster is None:
            cluster = switched_on(make_cluster, tmp_path / "ann")
        for command in commands:
            socket = None
            if needs_node and cluster is not None:
                socket = next(node.socket for node in cluster.nodes if node.name == whose)
            shown.append(desks.run(whose, command, socket))
            if cluster is not None and command.startswith("fruit release publish"):
                wait_until_all_run(cluster, release=int(command[-1]))
    assert re.search(r"raspberrypi,4  1 \(2026.11\)  2 \(2026.12\)  \S+ MiB  2 would take it", "".join(shown))
    assert re.match(r"manifest \d+ of channel stable is current as of ", shown[-1])
    assert cluster is not None
    for node in cluster.nodes:
        cluster.wait("the word", [node], lambda _: len(held(node, "fresh")) == 1, timeout_s=WAIT_S)  # noqa: B023
    carried = {path.name for path in (tmp_path / "stick").rglob("*")}
    assert {"root.fruit", "release-2", "release-2.ben"} <= carried
    assert not [name for name in carried if name.endswith(".key")], "nothing secret was on the stick"


def switched_on(make_cluster: Callable[..., Cluster], ann: Path) -> Cluster:
    """Two nodes, Ann's and Ben's, with the trust root and the swarm key that were made."""
    cluster = make_cluster(root_file=ann / "root.fruit")
    cluster.swarm_key.write_bytes((ann / "swarm.key").read_bytes())
    for name in ("ann", "ben"):
        node = cluster.add(name)
        configuration = node.directory / "fruitd.toml"
        configuration.write_text(configuration.read_text().replace(f'"{HARDWARE}"', '"raspberrypi,4"'))
        node.start()
    cluster.wait("a start", cluster.nodes, lambda status: status["peers"]["heard"] >= 1, timeout_s=WAIT_S)
    return cluster


def wait_until_all_run(cluster: Cluster, release: int) -> None:
    """So that what is asked of them next is about it."""

    def runs(status: dict[str, Any]) -> bool:
        slots = status["slots"]
        everybody = [[row["release"] for row in listed(node)] for node in cluster.nodes]
        return bool(slots["active"] and slots[slots["active"]]["release"] == release) and all(
            releases == [release] * len(cluster.nodes) for releases in everybody
        )

    cluster.wait(f"release {release}", cluster.nodes, runs, timeout_s=WAIT_S)


def listed(node: NodeProcess) -> list[dict[str, Any]]:
    """The nodes that a node tells of."""
    answer = node.get("/v1/nodes")
    return list(answer["nodes"]) if answer is not None else [{"release": None}]


def held(node: NodeProcess, kind: str) -> list[dict[str, Any]]:
    """The records of a kind that a node holds."""
    answer = node.get(f"/v1/records?kind={kind}")
    return list(answer["records"]) if answer is not None else []
