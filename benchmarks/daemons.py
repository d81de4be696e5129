"""What the project promises of its daemons, measured on real ones: separate processes on loopback, under their boot chooser."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen

from benchmarks import by_hand
from benchmarks.images import (
    MIB,
    differing_bytes,
    missing_bytes,
    next_release,
    random_image,
    with_new_blocks,
    write_random_image,
)
from benchmarks.nodes import (
    Fleet,
    daemon_pid,
    memory_bytes,
    say,
    wait_for,
    workshop,
)
from benchmarks.rows import NotMeasurableError, Row, at_most
from benchmarks.storage import metered
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary

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
        "curl -o slot && sync && sha256sum slot, from nginx; from manifest accepted to armed; both slots hold other data",
    )  # fmt: skip
    yield _memory_row("install_1gib_memory", installs)


def memory_64mib() -> Iterator[Row]:
    """The quick look at memory: an image small enough for CI."""
    size_bytes = QUICK_BYTES
    with workshop() as folder:
        image, factory = folder / "rootfs-1.img", folder / "factory.img"
        write_random_image(image, size_bytes, random.Random(1))
        write_random_image(factory, size_bytes, random.Random(2))
        with Fleet(
            folder / "fleet", slot_bytes=size_bytes + SLOT_SPARE_BYTES, factory_image=factory
        ) as fleet:
            installs = [_install(fleet, _publisher(fleet, image), "node-0", factory)]
    yield _memory_row("install_64mib_memory", installs)


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
    os.sync()
    node.start()
    try:
        diary = Diary(node)
        most = _watch_memory(node, diary)
        began_s, *steps_s = [diary.times(what)[0] for what in ("manifest accepted", *_STEPS)]
        steps = ", ".join(
            f"{what} at {at_s - began_s:.2f}" for what, at_s in zip(_STEPS, steps_s, strict=True)
        )
        return _Install(steps_s[-1] - began_s, steps, most)
    finally:
        node.kill()
        for slot_name in ("a", "b"):
            node.slot(slot_name).unlink()


_STEPS = ("reused", "verified", "restarting the node")
"""What the log says on the way; the restart is asked for when the slot is armed."""


def _watch_memory(node: NodeProcess, diary: Diary) -> int:
    """Most resident memory of the daemon, until it restarts the node for the first time."""
    most = 0

    def restarting() -> bool:
        nonlocal most
        most = max(most, memory_bytes(daemon_pid(node), "VmHWM"))
        return bool(diary.times("restarting the node"))

    wait_for("the slot is armed", restarting, timeout_s=PATIENCE_S, pause_s=_LOOK_S)
    return most


# ---------------------------------------------------------------------- a small change


@define
class _Received:
    """Bytes that a node received on its control port, over daemons that follow each other."""

    node: NodeProcess
    before: int = 0
    last: int = 0

    def look(self) -> dict[str, Any] | None:
        status = self.node.get("/v1/status")
        if status is None:
            return None
        now: int = status["traffic"]["received_bytes"]
        if now < self.last:
            self.before += self.last  # another daemon has begun to count
        self.last = now
        return status

    @property
    def total(self) -> int:
        return self.before + self.last


def second_release_64mib() -> Iterator[Row]:
    """The quick look at a small change."""
    for row in second_release(QUICK_BYTES):
        yield evolve(row, name=f"{row.name}_64mib")


def second_release(size_bytes: int = RELEASE_BYTES) -> Iterator[Row]:
    """Release 2, a small change: what a node fetches for it, and what it writes; and what it wrote for release 1.

    A new card comes with a factory image; release 1 is a small change of that, and release 2 of release 1. Release 1 goes into
    the empty slot, release 2 over the factory image.
    """
    generator = random.Random(3)
    factory = random_image(size_bytes, generator)
    first = next_release(factory, generator)
    second = next_release(first, generator)
    with workshop() as folder:
        images = [folder / name for name in ("factory.img", "rootfs-1.img", "rootfs-2.img")]
        for path, content in zip(images, (factory, first, second), strict=True):
            path.write_bytes(content)
        fleet = Fleet(folder / "fleet", slot_bytes=size_bytes + SLOT_SPARE_BYTES, factory_image=images[0])
        with fleet:
            publisher = fleet.cluster.add("publisher", slots=False)
            node = fleet.cluster.add("node", contacts=[publisher])
            with metered(node) as meter:
                both = [publisher, node]
                for each in both:
                    each.start()
                fleet.cluster.wait("both answer", both, lambda s: s["peers"]["heard"] == 1, timeout_s=30)
                written = [meter.written_bytes(node)]
                _update(fleet, publisher, node, 1, images[1])
                written.append(meter.written_bytes(node))
                missing = missing_bytes(second, node.slot("b").read_bytes())
                differing = differing_bytes(second, node.slot("a").read_bytes())
                received = _update(fleet, publisher, node, 2, images[2])
                written.append(meter.written_bytes_at_the_end(node))
    index = 32 * (size_bytes // (16 * 1024))
    yield at_most(
        "release_2_fetched", (received - index) / missing, "x", 1.05,
        f"{missing / MIB:.1f} MiB in 16 KiB blocks at no 4 KiB offset of the old slot; all bytes received but the block index",
    )  # fmt: skip
    yield at_most("release_2_index", 100 * index / size_bytes, "%", 0.25, "block index, of the image")
    yield at_most(
        "release_1_written", (written[1] - written[0]) / size_bytes, "x", 1.02,
        f"per byte of a {size_bytes // MIB} MiB image; {meter.how}; until it is committed",
    )  # fmt: skip
    yield at_most(
        "release_2_written", (written[2] - written[1]) / differing, "x", 1.02,
        f"{differing / MIB:.1f} MiB in 16 KiB blocks that differ from what the slot held; counted in the same way",
    )  # fmt: skip


def five_percent(size_bytes: int = RELEASE_BYTES) -> Iterator[Row]:
    """What a node writes for an update of which 5 % of the blocks differ from what its slot holds."""
    generator = random.Random(4)
    factory = random_image(size_bytes, generator)
    release = with_new_blocks(factory, 0.05, generator)
    with workshop() as folder:
        images = [folder / name for name in ("factory.img", "rootfs-1.img")]
        for path, content in zip(images, (factory, release), strict=True):
            path.write_bytes(content)
        fleet = Fleet(folder / "fleet", slot_bytes=size_bytes + SLOT_SPARE_BYTES, factory_image=images[0])
        with fleet:
            publisher = fleet.cluster.add("publisher", slots=False)
            node = fleet.cluster.add("node", contacts=[publisher])
            with node.slot("b").open("r+b") as slot:
                slot.write(factory)
            with metered(node) as meter:
                both = [publisher, node]
                for each in both:
                    each.start()
                fleet.cluster.wait("both answer", both, lambda s: s["peers"]["heard"] == 1, timeout_s=30)
                differing = differing_bytes(release, node.slot("b").read_bytes())
                before = meter.written_bytes(node)
                _update(fleet, publisher, node, 1, images[1])
                written = meter.written_bytes_at_the_end(node) - before
    share = 100 * differing / size_bytes
    yield at_most(
        "five_percent_written", written / differing, "x", 1.05,
        f"{differing / MIB:.1f} MiB in 16 KiB blocks unlike the slot ({share:.1f} %); {meter.how}; until it is committed",
    )  # fmt: skip


def _update(fleet: Fleet, publisher: NodeProcess, node: NodeProcess, release: int, image: Path) -> int:
    """Publish and wait until the node keeps it; bytes it received in all."""
    control, diary = _Received(node), Diary(node)
    control.look()
    before = control.total
    publish(publisher, fleet.maintainers.release(image, release, fleet.folder / f"release-{release}"))

    def kept() -> bool:
        control.look()
        return diary.kept(release)

    wait_for(f"release {release} is kept", kept, timeout_s=PATIENCE_S, pause_s=_LOOK_S)
    status = control.look()
    last = status["last_update"] if status else None
    if last is None or last["release"] != release:
        raise NotMeasurableError(f"the node does not say how it got release {release}")
    fetched: int = last["fetched_bytes"]
    on_control = control.total - before
    say(
        f"release {release}: {last['reused_bytes']} B reused, {fetched} fetched, {on_control} on the control port"
    )
    return fetched + on_control
