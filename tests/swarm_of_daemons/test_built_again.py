"""A release key is taken away, and the release that it had signed is built again under its number by those who remain."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import CHANNEL, HARDWARE, RESOURCE, Cluster
from fruitd.demo.images import DemoImages
from fruitd.maintainer import ReleasePlan, build_release, sign_release
from fruitd.maintainer.bundle import Bundle
from tests.swarm_of_daemons.looks import Running, file_hash, runs, until, update_of
from tests.swarm_of_daemons.test_key_rotation import _maintain

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 120.0, 180.0


def test_a_release_outlives_the_key_that_signed_it(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """After a key is taken away nodes would install anew what they run, go back below it, or be unable to give it to others."""
    cluster = make_cluster()
    publisher = cluster.add("publisher", slots=False)
    nodes = [cluster.add(name) for name in ("n1", "n2")]
    for each in (publisher, *nodes):
        each.start()
    cluster.wait("start", [publisher, *nodes], lambda s: s["peers"]["heard"] >= 2, timeout_s=START_S)
    publish(publisher, maintainers.release(images.good[0], 2, tmp_path / "r-2"))
    cluster.wait("release 2", nodes, runs(2), timeout_s=UPDATE_S)
    for node in nodes:
        until(lambda node=node: update_of(node).get("state") == "committed", lambda: "not committed")
    before = [Running.of(node) for node in nodes]

    folder = maintainers.root_file.parent
    _maintain(folder, "trust", "rotate", "root.fruit", "-o", "next.fruit", "--remove=release=release-1")
    _maintain(folder, "trust", "sign", "next.fruit", "--key", "root-1.key", "--key", "root-2.key")
    _maintain(folder, "trust", "publish", "next.fruit", "--socket", nodes[0].socket)
    cluster.wait(
        "the change", [publisher, *nodes], lambda s: s["trust"]["root_version"] == 2, timeout_s=START_S
    )
    rest = evolve(maintainers, root_file=folder / "next.fruit", release_keys=maintainers.release_keys[1:])
    again = rest.release(images.good[0], 2, tmp_path / "r-2-again")
    publish(publisher, again)
    cluster.wait("heard again", nodes, lambda s: s["trust"]["manifest_sequence"] == 2, timeout_s=START_S)
    for node in nodes:
        shelf = node.directory / "state" / "torrents"
        until(
            lambda shelf=shelf: again.torrent in [path.read_bytes() for path in shelf.iterdir()],
            lambda node=node: f"{node.name} does not hold the new torrent: {update_of(node)}",
            timeout_s=START_S,
        )
    for running in before:
        running.check()

    publisher.kill()
    nodes[1].kill()
    nodes[1].start()
    newcomer = cluster.add("newcomer")
    newcomer.start()
    cluster.wait("who comes later", [newcomer, *nodes], runs(2), timeout_s=UPDATE_S)
    length_bytes = images.good[0].stat().st_size
    status = newcomer.get("/v1/status")
    assert status is not None
    assert file_hash(newcomer.slot(status["slots"]["active"]), length_bytes) == file_hash(images.good[0])

    # And the number is a floor as before: an older release by the same people is not taken.
    publish(nodes[0], rebuilt(rest, images.good[1], tmp_path / "r-1-late"))
    until(
        lambda: "is older than release 2" in update_of(nodes[0]).get("why", ""),
        lambda: str(update_of(nodes[0])),
        timeout_s=START_S,
    )


def rebuilt(maintainers: Maintainers, image: Path, folder: Path) -> Bundle:
    """Release 1 under a higher sequence than what is out."""
    plan = ReleasePlan(
        resource=RESOURCE, release=1, version="v1.0", compatible=(HARDWARE,), channel=CHANNEL, sequence=9
    )
    build_release(image, folder, plan, maintainers.root_file.read_bytes(), now_s=time.time())
    for key in maintainers.release_keys:
        sign_release(folder, key)
    return Bundle.load(folder)
