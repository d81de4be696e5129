"""A daemon that is told to end, in whatever state, ends at once and in order; the next start goes on where it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from tests.swarm_of_daemons.forgeries import own_image
from tests.swarm_of_daemons.looks import file_hash, fruit, runs, until, update_of

pytestmark = pytest.mark.swarm
START_S, UPDATE_S = 120.0, 180.0
MIB = 1024 * 1024
END_S = 30.0
"""systemd waits 90 s; a machine that is switched off by a person does not."""


def _leave_in(node: NodeProcess, state: str) -> None:
    """SIGTERM while it is in this state, as a service manager does; its end is in order and soon."""
    until(
        lambda: update_of(node).get("state") == state, lambda: f"never {state}: {update_of(node)}", UPDATE_S
    )
    process = node.process
    assert process is not None
    began_s = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=END_S) == 0, f"the chooser and its daemon did not end in order in {state}"
    assert time.monotonic() - began_s < END_S
    node.process = None
    assert "Traceback" not in node.log.read_text()


def test_told_to_end_in_every_state_that_lasts(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """A machine would hang at every shutdown, or lose what its daemon was doing."""
    image = own_image(images.good[0], tmp_path / "image", 5, 2 * MIB)
    cluster = make_cluster(
        slot_bytes=image.stat().st_size, upload_bytes_per_s=MIB, max_attempts=20, sustain_s=2.0
    )
    publisher, node = cluster.add("publisher", slots=False), cluster.add("n1")
    for each in cluster.nodes:
        each.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 1, timeout_s=START_S)
    _leave_in(node, "idle")
    node.start()
    until(lambda: fruit(node, "hold", "exam week").returncode == 0, lambda: "no hold", START_S)
    publish(publisher, maintainers.release(image, 1, tmp_path / "r1"))
    _leave_in(node, "waiting")
    node.start()
    until(lambda: fruit(node, "resume").returncode == 0, lambda: "no end of the hold", START_S)
    for state in ("fetching", "trial"):
        _leave_in(node, state)
        node.start()
    cluster.wait("the update", [node], runs(1), timeout_s=UPDATE_S)
    assert file_hash(node.slot("b")) == file_hash(image)
    _leave_in(node, "committed")
    node.start()
    cluster.wait("as it was", [node], runs(1), timeout_s=START_S)
    large = own_image(images.good[1], tmp_path / "large", 7, 8 * MIB)
    publish(publisher, maintainers.release(large, 2, tmp_path / "r2"))
    _leave_in(node, "refused")
    node.start()
    cluster.wait("what runs still runs", [node], runs(1), timeout_s=START_S)
