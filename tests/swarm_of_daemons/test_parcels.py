"""Real daemons whose updates travel as parcels: each its cheapest way, through kills, and with a slot somebody wrote to."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bep35.merkle import leaf_hashes
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from fruitd.slots.memo import SlotMemos, memo_of
from tests.swarm_of_daemons.looks import file_hash, fruit, log_of, runs, until, update_of
from tests.swarm_of_daemons.parcelled import BLOCK, Parcelled, changed, parcelled, tail_of, with_manuals

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 120.0, 180.0
TAIL_BLOCKS = 96
UPLOAD_BYTES_PER_S = 48 * 1024
AFTER_FETCH = ("verifying", "armed", "rebooting", "trial", "committed")


@pytest.fixture
def history(images: DemoImages, tmp_path: Path) -> list[Path]:
    """Four images, each the one before with something else in each of its last 96 blocks."""
    found = [tail_of(images.good[0], tmp_path / "image-1", 1, TAIL_BLOCKS)]
    for release in (2, 3, 4):
        found.append(changed(found[-1], tmp_path / f"image-{release}", release, TAIL_BLOCKS))
    return found


def _came(node: NodeProcess) -> dict[str, int]:
    status = node.get("/v1/status")
    assert status is not None
    found: dict[str, int] = status["last_update"]["by_origin"]
    return found


def _active_hash(node: NodeProcess, image: Path) -> str:
    status = node.get("/v1/status")
    assert status is not None
    return file_hash(node.slot(status["slots"]["active"]), image.stat().st_size)


def _remembered(node: NodeProcess, slot: str) -> bytes | None:
    """What the node will believe of a slot at its next update."""
    return SlotMemos(node.directory / "state").take(slot, node.slot(slot).stat().st_size)


def _started(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.start()
    cluster.wait(
        "start", cluster.nodes, lambda s: s["peers"]["heard"] >= len(cluster.nodes) - 1, timeout_s=START_S
    )


def _waits_for(release: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: s["update"]["release"] == release and s["update"]["state"] == "waiting"


def test_three_older_nodes_and_an_empty_one_each_go_their_cheapest_way(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, history: list[Path], tmp_path: Path
) -> None:
    """A site whose nodes are not all alike would fetch whole images for those that are behind."""
    cluster = make_cluster(slot_bytes=history[-1].stat().st_size)
    publisher = cluster.add("publisher", slots=False)
    nodes = [cluster.add(f"n{n}") for n in (1, 2, 3)]
    _started(cluster)
    for release, node in enumerate(nodes, start=1):
        publish(publisher, maintainers.release(history[release - 1], release, tmp_path / f"r{release}"))
        cluster.wait(f"release {release}", nodes[release - 1 :], runs(release), timeout_s=UPDATE_S)
        assert fruit(node, "hold", "stays behind for now").returncode == 0

    newest = parcelled(maintainers, history[3], 4, tmp_path / "r4", [*history[:3], None])
    newest.publish(publisher)
    cluster.wait("all know release 4", nodes, _waits_for(4), timeout_s=UPDATE_S)
    empty = cluster.add("empty")
    empty.start()
    for node in nodes:
        assert fruit(node, "resume").returncode == 0
    cluster.wait("release 4", [*nodes, empty], runs(4), timeout_s=UPDATE_S)

    for node, old in zip([*nodes, empty], ["image-1", "image-2", "image-3", ""], strict=True):
        came, named = _came(node), newest.named[old]
        assert _active_hash(node, history[3]) == file_hash(history[3])
        assert came["parcel_bytes"] == named.length_bytes, (node.name, came, named.length_bytes)
        assert (came["image_bytes"], came["healed_bytes"]) == (0, 0)
        served = [row["infohash"] for row in (node.get("/v1/status") or {})["seeding"]]
        assert named.infohash.hex() in served
    assert _came(nodes[2])["parcel_bytes"] < TAIL_BLOCKS * BLOCK / 4
    assert {_remembered(nodes[2], slot) for slot in ("a", "b")} == {
        memo_of(leaf_hashes(image.read_bytes())) for image in history[2:]
    }
    told = [
        line["why"] for line in (nodes[0].get("/v1/history") or {})["events"] if line["what"] == "came from"
    ]
    assert "made with a parcel" in told[-1]


def test_manuals_in_gzip_come_as_what_changed_in_them(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """A node would pack them otherwise than the maintainer did, and fetch each of them after all."""
    one, two = (with_manuals(images.good[0], tmp_path / f"manuals-{n}", n) for n in (1, 2))
    cluster = make_cluster(slot_bytes=max(one.stat().st_size, two.stat().st_size) + BLOCK)
    publisher = cluster.add("publisher", slots=False)
    node = cluster.add("node")
    _started(cluster)
    publish(publisher, maintainers.release(one, 1, tmp_path / "r1"))
    cluster.wait("release 1", [node], runs(1), timeout_s=UPDATE_S)
    newer = maintainers.release(two, 2, tmp_path / "r2", older=[one])
    publish(publisher, newer)
    cluster.wait("release 2", [node], runs(2), timeout_s=UPDATE_S)
    came, parcel_bytes = _came(node), newer.plan.parcels[0].length_bytes
    assert (came["parcel_bytes"], came["image_bytes"], came["healed_bytes"]) == (parcel_bytes, 0, 0)
    assert _active_hash(node, two) == file_hash(two)
    assert parcel_bytes < (one.stat().st_size - images.good[0].stat().st_size) / 4


KILLS_MAX = 8
"""After ten starts within one piece of work a node pauses."""
FETCHED_AT_A_KILL_BYTES = 8 * 64 * 1024
"""On their way at one moment, and lost with the process: what libtorrent asks for ahead."""


def test_killed_as_each_segment_is_made_it_goes_on_with_the_next(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, history: list[Path], tmp_path: Path
) -> None:
    """A node that loses its power every few minutes would fetch the same parcel again and again, or boot half an image."""
    cluster = make_cluster(
        slot_bytes=history[-1].stat().st_size, upload_bytes_per_s=UPLOAD_BYTES_PER_S, max_attempts=20
    )
    publisher, node = cluster.add("publisher", slots=False), cluster.add("n1")
    newest = _held_before_release_4(cluster, maintainers, history, tmp_path)
    named = newest.named["image-1"]
    assert fruit(node, "resume").returncode == 0

    made: list[int] = []
    for _ in range(KILLS_MAX):
        seen = _when_something_is_made(node)
        if seen["state"] in AFTER_FETCH:
            break
        made.append(seen["progress"]["by_origin"]["own_disk_bytes"])
        node.kill_daemon()
    cluster.wait("release 4", [node], runs(4), timeout_s=UPDATE_S)

    assert _active_hash(node, history[3]) == file_hash(history[3])
    assert len(made) >= 2, "too few kills fell between segments"
    assert made == sorted(made), f"what was made before a kill was not kept: {made}"
    until(  # what was served is told every few seconds
        lambda: _sent(publisher)[named.infohash.hex()] >= named.length_bytes,
        lambda: f"{named.length_bytes} bytes came from somewhere: {_sent(publisher)}",
    )
    sent = _sent(publisher)
    assert sent[named.infohash.hex()] <= named.length_bytes + len(made) * FETCHED_AT_A_KILL_BYTES
    assert sent[newest.bundle.plan.infohash] == 0, "it was fetched block by block"
    assert not [line for line in log_of(node) if line["event"] == "bug"]


def _sent(node: NodeProcess) -> dict[str, int]:
    """Bytes of each image and parcel that this node has given to others."""
    status = node.get("/v1/status")
    assert status is not None
    return {row["infohash"]: row["sent_bytes"] for row in status["seeding"]}


def _when_something_is_made(node: NodeProcess) -> dict[str, Any]:
    """What the node says of its update once this life of its daemon has made a segment, or is beyond that."""
    seen: dict[str, Any] = {}

    def something_made() -> bool:
        seen.update(update_of(node))
        origin = (seen.get("progress") or {}).get("by_origin", {})
        return origin.get("made_bytes", 0) > 0 or seen.get("state") in AFTER_FETCH

    until(something_made, lambda: f"it does not get on: {seen}", UPDATE_S)
    return seen


def test_a_slot_that_is_not_what_it_should_be_is_found_out_and_told(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, history: list[Path], tmp_path: Path
) -> None:
    """A node whose root somebody wrote to would build a wrong image, or be left behind without a word."""
    cluster = make_cluster(slot_bytes=history[-1].stat().st_size)
    _, node = cluster.add("publisher", slots=False), cluster.add("n1")
    newest = _held_before_release_4(cluster, maintainers, history, tmp_path)
    status = node.get("/v1/status")
    assert status is not None
    active = node.slot(status["slots"]["active"])
    size_bytes = history[0].stat().st_size
    with active.open("r+b") as slot:
        slot.seek(4096)
        slot.write(random.Random(5).randbytes(size_bytes - 4096))
    assert fruit(node, "resume").returncode == 0
    cluster.wait("release 4", [node], runs(4), timeout_s=UPDATE_S)

    assert _active_hash(node, history[3]) == file_hash(history[3])
    events = (node.get("/v1/history") or {})["events"]
    words = [line["why"] for line in events if line["what"] == "another way"]
    assert any("is not bit for bit the release it should be" in why for why in words), words
    came = _came(node)
    cheaper = min(newest.named[""].length_bytes, size_bytes)
    fetched_bytes = came["parcel_bytes"] + came["image_bytes"] + came["healed_bytes"]
    assert fetched_bytes <= 1.1 * cheaper, (came, cheaper, newest.named["image-1"].length_bytes)


def _held_before_release_4(
    cluster: Cluster, maintainers: Maintainers, history: list[Path], tmp_path: Path
) -> Parcelled:
    """A publisher, and a node that runs release 1 and is held from release 4, which it knows."""
    _started(cluster)
    publisher, node = cluster.nodes
    publish(publisher, maintainers.release(history[0], 1, tmp_path / "r1"))
    cluster.wait("release 1", [node], runs(1), timeout_s=UPDATE_S)
    assert fruit(node, "hold", "a moment").returncode == 0
    newest = parcelled(maintainers, history[3], 4, tmp_path / "r4", [history[0], None])
    newest.publish(publisher)
    cluster.wait("it knows release 4", [node], _waits_for(4), timeout_s=UPDATE_S)
    return newest
