"""The release keys are stolen and used; the maintainers rotate them out while ten real daemons are half way through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from swarm.trust.key_files import create_key_pair, read_secret_key
from tests.swarm_of_daemons.forgeries import own_image
from tests.swarm_of_daemons.looks import file_hash, fruit, log_of, runs, until, update_of

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 90.0, 180.0
NODES = 10
AHEAD = 2**40
"""Release and sequence that the thief pushes to: no release of the maintainers is ever higher."""
SLOW_BYTES_PER_S = 256 * 1024
TAIL_BYTES = 4 * 1024 * 1024


def rotated(maintainers: Maintainers) -> Maintainers:
    """The ceremony: three new release keys in place of the old ones, signed by both root keys."""
    folder = maintainers.root_file.parent
    keys = [read_secret_key(create_key_pair(folder, f"next-{n}")[0]) for n in (1, 2, 3)]
    changes = [f"--replace=release-{n}=next-{n}.pub" for n in (1, 2, 3)]
    _maintain(folder, "trust", "rotate", "root.fruit", "-o", "next.fruit", *changes)
    _maintain(folder, "trust", "sign", "next.fruit", "--key", "root-1.key", "--key", "root-2.key")
    return evolve(maintainers, root_file=folder / "next.fruit", release_keys=tuple(keys))


def _maintain(folder: Path, *words: object) -> str:
    program = [sys.executable, "-c", "from fruitd.cli import main; main()"]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FRUIT_")}
    done = subprocess.run(
        [*program, *map(str, words)], cwd=folder, capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stolen_keys_are_rotated_out_of_a_swarm_that_is_half_updated(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """After a theft of the release keys every node would have to be fetched home and flashed."""
    evil = own_image(images.good[0], tmp_path / "evil", 1, TAIL_BYTES)
    worse = own_image(images.good[0], tmp_path / "worse", 2, TAIL_BYTES)
    cluster = make_cluster(slot_bytes=evil.stat().st_size, upload_bytes_per_s=SLOW_BYTES_PER_S)
    publisher = cluster.add("publisher", slots=False)
    quick = cluster.add("quick-publisher", slots=False)
    config = quick.directory / "fruitd.toml"
    config.write_text(config.read_text().replace(f"per_s = {SLOW_BYTES_PER_S}", "per_s = 0"))
    nodes = [cluster.add(f"n{number}") for number in range(NODES)]
    fallen, held, asleep = nodes[:4], nodes[4:7], nodes[9]
    awake = nodes[:9]
    for each in (publisher, quick, *awake):
        each.start()
    cluster.wait("start", [publisher, quick, *awake], lambda s: s["peers"]["heard"] >= 3, timeout_s=START_S)

    # Some have committed what the thief signed, some are fetching the next of it, some are held, one is off.
    for node in nodes[4:9]:
        assert fruit(node, "hold", "not yet").returncode == 0
    publish(quick, maintainers.release(evil, AHEAD, tmp_path / "r-evil"))
    cluster.wait("the first abuse", fallen, runs(AHEAD), timeout_s=UPDATE_S)
    publish(publisher, maintainers.release(worse, AHEAD + 1, tmp_path / "r-worse"))
    for node in nodes[7:9]:
        assert fruit(node, "resume").returncode == 0
    busy = [*fallen, *nodes[7:9]]
    cluster.wait("the second abuse begins", busy, _fetches(AHEAD + 1), timeout_s=UPDATE_S)

    after = rotated(maintainers)
    # At one that is held: any other may be restarting just now.
    said = _maintain(after.root_file.parent, "trust", "publish", "next.fruit", "--socket", held[0].socket)
    assert said == "trust root 2: accepted\n"
    cluster.wait("the rotation", awake, lambda s: s["trust"]["root_version"] == 2, timeout_s=START_S)
    for node in busy:
        until(
            lambda node=node: update_of(node).get("state") == "idle", lambda node=node: str(update_of(node))
        )
    status = busy[0].get("/v1/status")
    assert status is not None
    assert status["trust"]["manifest_sequence"] is None
    nodes[1].kill()
    nodes[1].start()
    asleep.start()

    good = after.release(images.good[1], 2, tmp_path / "r-good")
    assert good.manifest is not None
    assert good.manifest.sequence == 2
    publish(quick, good)
    for node in held:
        assert fruit(node, "resume").returncode == 0
    cluster.wait("the good release", nodes, runs(2), timeout_s=UPDATE_S)
    wanted, length_bytes = file_hash(images.good[1]), images.good[1].stat().st_size
    for node in nodes:
        status = node.get("/v1/status")
        assert status is not None
        assert (status["trust"]["root_version"], status["trust"]["manifest_sequence"]) == (2, 2)
        assert file_hash(node.slot(status["slots"]["active"]), length_bytes) == wanted
        assert not [
            line
            for line in log_of(node)
            if line["event"] in ("bug", "a request failed in a way it should not")
        ]
        # A line of history waits for the next write: the node that lost its power may have lost it.
        assert "trust root" in _history(node) or node in (asleep, nodes[1])


def _fetches(release: int) -> Callable[[dict[str, object]], bool]:
    def reached(status: dict[str, object]) -> bool:
        update = status["update"]
        assert isinstance(update, dict)
        return bool(update["release"] == release and update["state"] in ("reusing", "fetching"))

    return reached


def _history(node: NodeProcess) -> set[str]:
    found = node.get("/v1/history?limit=500")
    return set() if found is None else {event["what"] for event in found["events"]}
