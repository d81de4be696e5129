"""An operator's hold, resume and rollback on a real node, and a daemon that is killed again and again during an update."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from tests.swarm_of_daemons.forgeries import own_image
from tests.swarm_of_daemons.looks import Running, file_hash, fruit, log_of, runs, until, update_of

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 120.0, 180.0
MIB = 1024 * 1024


def test_hold_resume_and_rollback(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """An operator could not keep a measurement undisturbed, or get back the system that worked."""
    cluster = make_cluster()
    publisher, node = cluster.add("publisher", slots=False), cluster.add("n1")
    for each in cluster.nodes:
        each.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 1, timeout_s=START_S)
    before = Running.of(node)

    assert fruit(node, "hold", "exam week").returncode == 0
    publish(publisher, maintainers.release(images.good[0], 1, tmp_path / "r1"))
    until(lambda: update_of(node).get("release") == 1, lambda: str(update_of(node)))
    held = update_of(node)
    assert (held["state"], held["held"]) == ("waiting", "exam week")
    assert "held by the operator: exam week" in fruit(node, "status").stdout
    before.check()
    assert not any(line["event"] == "reused" for line in log_of(node)), (
        "something was begun in spite of the hold"
    )

    done = fruit(node, "rollback", "--yes", "too early")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "slot b holds no release that was ever committed on this node" in done.stderr
    before.check()

    resumed = fruit(node, "resume", "--json")
    assert json.loads(resumed.stdout)["update"]["held"] is None
    cluster.wait("resume", [node], runs(1), timeout_s=UPDATE_S)
    publish(publisher, maintainers.release(images.good[1], 2, tmp_path / "r2"))
    cluster.wait("the second release", [node], runs(2), timeout_s=UPDATE_S)

    assert fruit(node, "rollback", "--yes", "camera driver").returncode == 0
    cluster.wait("rollback", [node], runs(1), timeout_s=UPDATE_S)
    status = node.get("/v1/status")
    assert status is not None
    assert [(q["release"], q["why"]) for q in status["quarantined"]] == [
        (2, "rolled back by the operator: camera driver")
    ]
    assert file_hash(node.slot("b"), images.good[0].stat().st_size) == file_hash(images.good[0])
    node.kill()
    node.start()
    cluster.wait("it stays there", [node], runs(1), timeout_s=UPDATE_S)


KILLS = 6
SEED = 9
FETCH_BYTES, UPLOAD_BYTES_PER_S = 4 * MIB, 2 * MIB
"""A fetch of some seconds, so that several kills fall into it."""


def test_killed_again_and_again_it_carries_on_where_it_was(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """A daemon that crashes, or is killed for memory, would begin each update anew, or never end it, or boot half an image."""
    rng = random.Random(SEED)
    image = own_image(images.good[0], tmp_path / "image", SEED, FETCH_BYTES)
    cluster = make_cluster(
        slot_bytes=image.stat().st_size, upload_bytes_per_s=UPLOAD_BYTES_PER_S, max_attempts=20
    )
    publisher, node = cluster.add("publisher", slots=False), cluster.add("n1")
    for each in cluster.nodes:
        each.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 1, timeout_s=START_S)
    factory = file_hash(node.slot("a"))
    publish(publisher, maintainers.release(image, 1, tmp_path / "r1"))

    killed_in = [_kill(node, rng) for _ in range(KILLS)]

    cluster.wait("the update", [node], runs(1), timeout_s=UPDATE_S)
    assert file_hash(node.slot("b")) == file_hash(image)
    assert file_hash(node.slot("a")) == factory
    reused = _reused_bytes(node)
    assert killed_in.count("fetching") >= 3, f"too few kills fell into the fetch: {killed_in}"
    assert reused == sorted(reused), f"bytes that were there were lost: {reused}"
    assert reused[-1] > reused[0] + FETCH_BYTES / 4, f"what was fetched before a kill was not kept: {reused}"
    assert not [line for line in log_of(node) if line["event"] == "bug"]


def _kill(node: NodeProcess, rng: random.Random) -> str:
    """Kill the daemon at once, or when it has fetched a little, or got beyond that; the state it was seen in."""
    some_bytes = rng.uniform(0.1, 0.8) * MIB if rng.random() < 0.7 else 0.0
    seen: dict[str, Any] = {}

    def far_enough() -> bool:
        seen.update(update_of(node))
        fetched = (seen.get("progress") or {}).get("fetched_bytes", 0)
        beyond = seen.get("state") in ("verifying", "armed", "rebooting", "trial", "committed")
        return bool(seen) and (beyond or fetched >= some_bytes)

    until(far_enough, lambda: f"{node.name} does not get on: {seen}", START_S)
    node.kill_daemon()
    return str(seen["state"])


def _reused_bytes(node: NodeProcess) -> list[float]:
    """What each start of the work found in place, in MiB, from the log."""
    notes = [line["why"] for line in log_of(node) if line["event"] == "reused"]
    return [float(found[1]) * MIB for note in notes if (found := re.match(r"([0-9.]+) MiB reused", note))]
