"""What the project promises of its daemons, measured on real ones: separate processes on loopback, under their boot chooser."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, frozen

from benchmarks import by_hand
from benchmarks.images import MIB, differing_bytes, missing_bytes, next_release, random_image, write_random_image
from benchmarks.nodes import (
    Fleet,
    daemon_pid,
    log_times,
    memory_bytes,
    runs,
    say,
    wait_for,
    workshop,
    written_bytes,
    written_bytes_at_the_end,
)
from benchmarks.rows import Row, at_most
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess

GIB = 1024 * MIB
PAIRS = 3
"""Pairs of curl and node, one after the other, so that both meet the machine in the same mood; the median counts."""
RELEASE_BYTES = 384 * MIB
QUICK_BYTES = 64 * MIB
SLOT_SPARE_BYTES = 8 * MIB
PATIENCE_S = 300.0
_LOOK_S = 0.02


# ---------------------------------------------------------------------- a whole image from one peer


@frozen
class _Install:
    """One image from one peer into a fresh node's slot."""

    took_s: float
    steps: str
    memory_bytes: int


def install_1gib() -> Iterator[Row]:
    """1 GiB from one peer into a slot that is ready to boot, against curl and nginx; memory while at it."""
    by_hand.require("nginx", "curl", "sha256sum")
    with workshop() as folder:
        image, factory = folder / "rootfs-1.img", folder / "factory.img"
        write_random_image(image, GIB, random.Random(1))
        write_random_image(factory, GIB, random.Random(2))
        fleet = Fleet(folder / "fleet", slot_bytes=GIB + SLOT_SPARE_BYTES, factory_image=factory)
        with fleet, by_hand.nginx(folder) as url:
            publisher = _publisher(fleet, image)
            installs, ratios = [], []
            for pair in range(PAIRS):
                by_curl_s = by_hand.curl_s(f"{url}/{image.name}", folder / "curl-slot", GIB)
                installs.append(_install(fleet, publisher, f"node-{pair}", factory))
                ratios.append(installs[-1].took_s / by_curl_s)
                say(f"curl {by_curl_s:.2f} s, node {installs[-1].took_s:.2f} s: {installs[-1].steps}")
    yield at_most(
        "install_1gib_vs_curl", statistics.median(ratios), "x", 1.3,
        "curl -o slot && sync && sha256sum slot, from nginx; node: from manifest accepted to slot armed; both slots hold another image",
    )  # fmt: skip
    yield _memory_row("install_1gib_memory", installs)


def memory_while_fetching(size_bytes: int = QUICK_BYTES) -> Iterator[Row]:
    """The quick look at memory: an image small enough for CI, named as such."""
    with workshop() as folder:
        image, factory = folder / "rootfs-1.img", folder / "factory.img"
        write_random_image(image, size_bytes, random.Random(1))
        write_random_image(factory, size_bytes, random.Random(2))
        with Fleet(folder / "fleet", slot_bytes=size_bytes + SLOT_SPARE_BYTES, factory_image=factory) as fleet:
            installs = [_install(fleet, _publisher(fleet, image), "node-0", factory)]
    yield _memory_row(f"install_{size_bytes // MIB}mib_memory", installs)


def _memory_row(name: str, installs: Iterable[_Install]) -> Row:
    most = max(install.memory_bytes for install in installs)
    against = "most resident memory of the daemon until the slot is armed (VmHWM)"
    return at_most(name, most / MIB, "MiB", 96, against)


def _publisher(fleet: Fleet, image: Path) -> NodeProcess:
    publisher = fleet.cluster.add("publisher", slots=False)
    publisher.start()
    fleet.cluster.wait("publisher answers", [publisher], lambda status: True, timeout_s=30)
    publish(publisher, fleet.maintainers.release(image, 1, fleet.folder / "release-1"))
    return publisher


def _install(fleet: Fleet, publisher: NodeProcess, name: str, factory: Path) -> _Install:
    node = fleet.cluster.add(name, contacts=[publisher])
    with node.slot("b").open("r+b") as slot, factory.open("rb") as other:  # not the image, and no hole either
        while part := other.read(MIB):
            slot.write(part[::-1])
    wait_until_written = Path("/proc/sys/vm/dirty_background_ratio")
    assert wait_until_written
    node.start()
    try:
        most = _watch_memory(node)
        marks = {what: log_times(node, what) for what in ("manifest accepted", *_STEPS, "restarting the node")}
        began_s, ended_s = marks["manifest accepted"][0], marks["restarting the node"][0]
        steps = ", ".join(f"{what} at {marks[what][0] - began_s:.2f}" for what in _STEPS if marks[what])
        return _Install(ended_s - began_s, steps, most)
    finally:
        node.kill()
        for slot_name in ("a", "b"):
            node.slot(slot_name).unlink()


_STEPS = ("offered", "armed")


def _watch_memory(node: NodeProcess) -> int:
    """Most resident memory of the daemon, until it restarts the node for the first time."""
    most = 0

    def restarting() -> bool:
        nonlocal most
        most = max(most, memory_bytes(daemon_pid(node), "VmHWM"))
        return bool(log_times(node, "restarting the node"))

    wait_for("the slot is armed", restarting, timeout_s=PATIENCE_S, pause_s=_LOOK_S)
    return most
