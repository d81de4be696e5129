"""Twenty real daemons on one LAN (loopback): how fast news goes round, and what they cost when there is none."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.images import MIB, next_release, random_image
from benchmarks.nodes import Fleet, cpu_s, daemon_pid, memory_bytes, say, wait_for, workshop
from benchmarks.rows import NotMeasurableError, Row, at_most
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary

NODES = 20
NEWS = 5
"""Manifests sent round, one after the other; the median counts."""
IMAGE_BYTES = 16 * MIB
SLOT_SPARE_BYTES = MIB
PATIENCE_S = 120.0
SETTLE_S = 30.0
"""After the last update, before idling is measured: connections of the transfer end, status records go round."""
_LOOK_S = 0.1


@frozen
class _Look:
    """What one node has used so far."""

    pid: int
    cpu_s: float
    traffic_bytes: int


def swarm_of_20(idle_s: float) -> Iterator[Row]:
    """News to all of 20; then their memory, processor time and traffic without any news for `idle_s` seconds."""
    with _swarm() as fleet:
        yield _news(fleet, NEWS, install=True)
        say(f"idle for {SETTLE_S:g} s, then measured for {idle_s:g} s")
        time.sleep(SETTLE_S)
        nodes = fleet.cluster.nodes
        before, began_s = [_look(node) for node in nodes], time.monotonic()
        time.sleep(idle_s)
        after, took_s = [_look(node) for node in nodes], time.monotonic() - began_s
        memory = [memory_bytes(look.pid, "VmRSS") for look in after]
    if [look.pid for look in before] != [look.pid for look in after]:
        raise NotMeasurableError("a daemon was started again while all should have been idle")
    pairs = list(zip(before, after, strict=True))
    cpu = [100 * (late.cpu_s - early.cpu_s) / took_s for early, late in pairs]
    traffic = [(late.traffic_bytes - early.traffic_bytes) / took_s for early, late in pairs]
    where = f"the worst of {NODES} daemons after {NEWS} updates, seeding, over {took_s:.0f} s without news"
    yield at_most("idle_memory", max(memory) / MIB, "MiB", 64, f"resident memory (VmRSS), {where}")
    yield at_most("idle_cpu", max(cpu), "%", 0.5, f"of a core, {where}")
    yield at_most("idle_traffic", max(traffic), "B/s", 500, f"sent and received with headers, {where}")


def news_to_20() -> Iterator[Row]:
    """The quick look: a manifest's way alone. The nodes are held by their operator, so that they do not install it."""
    with _swarm() as fleet:
        for node in fleet.cluster.nodes:
            node.post("/v1/hold", {"why": "only the news is measured"})
        yield _news(fleet, NEWS, install=False)


@contextmanager
def _swarm() -> Iterator[Fleet]:
    """Twenty daemons that have found each other."""
    with workshop() as folder:
        factory = folder / "factory.img"
        factory.write_bytes(random_image(IMAGE_BYTES, random.Random(4)))
        slot_bytes = IMAGE_BYTES + SLOT_SPARE_BYTES
        with Fleet(folder / "fleet", slot_bytes=slot_bytes, factory_image=factory) as fleet:
            nodes = [fleet.cluster.add(f"node-{number}") for number in range(NODES)]
            for node in nodes:
                node.start()
            everyone = NODES - 1
            fleet.cluster.wait(
                "all find each other", nodes, lambda s: s["peers"]["heard"] >= everyone, timeout_s=PATIENCE_S
            )
            yield fleet


def _news(fleet: Fleet, times: int, *, install: bool) -> Row:
    """Publish releases one after the other through one of the nodes; with `install`, all run one before the next."""
    generator = random.Random(5)
    image = (fleet.folder.parent / "factory.img").read_bytes()
    diaries = [Diary(node) for node in fleet.cluster.nodes]
    took_s = []
    for release in range(1, times + 1):
        image = next_release(image, generator)
        path = fleet.folder / f"rootfs-{release}.img"
        path.write_bytes(image)
        took_s.append(_round(fleet, diaries, path, release))
        if install:
            wait_for(
                f"release {release} runs everywhere",
                lambda: all(diary.kept(release) for diary in diaries),  # noqa: B023  called at once
                timeout_s=PATIENCE_S,
                pause_s=_LOOK_S,
            )
        _confirm(fleet.cluster.nodes, release)
    against = (
        f"from `publish` at one node to accepted by the last of {NODES} daemons; median of {times} releases"
    )
    return at_most("manifest_to_20_daemons", statistics.median(took_s), "s", 2, against)


def _round(fleet: Fleet, diaries: list[Diary], image: Path, release: int) -> float:
    nodes = fleet.cluster.nodes
    bundle = fleet.maintainers.release(image, release, fleet.folder / f"release-{release}")
    began_s = time.time()  # the clock of the daemons' logs
    publish(nodes[0], bundle)
    wait_for(
        f"manifest {release} is everywhere",
        lambda: all(diary.times("manifest accepted", sequence=release) for diary in diaries),
        timeout_s=PATIENCE_S,
        pause_s=_LOOK_S,
    )
    arrived_s = [diary.times("manifest accepted", sequence=release)[0] for diary in diaries]
    say(
        f"manifest {release}: first after {min(arrived_s) - began_s:.3f} s, last after {max(arrived_s) - began_s:.3f} s"
    )
    return max(arrived_s) - began_s


def _confirm(nodes: list[NodeProcess], release: int) -> None:
    """The log is quick and cheap to read; what counts is what the nodes say when asked."""
    for node in nodes:
        status = node.get("/v1/status")
        if status is None or status["trust"]["manifest_sequence"] != release:
            raise NotMeasurableError(f"{node.name} logged manifest {release} and does not have it")


def _look(node: NodeProcess) -> _Look:
    pid, status = daemon_pid(node), node.get("/v1/status")
    if pid is None or status is None:
        raise NotMeasurableError(f"{node.name} does not answer")
    traffic = status["traffic"]
    return _Look(pid, cpu_s(pid), traffic["sent_bytes"] + traffic["received_bytes"])
