"""From the last byte fetched to ready to boot, against RAUC, which many trust with the same job.

The two do different work by design. Our node built the image in the slot while it fetched; what is left is to flush the slot,
read it back whole from the medium and arm it. RAUC has the bundle on disk, verifies its signature, copies the image to the slot
and flushes it; it does not read it back.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import by_hand, rauc
from benchmarks.images import MIB, write_random_image
from benchmarks.nodes import Fleet, say, wait_for, workshop
from benchmarks.rows import NotMeasurableError, Row, at_most
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary

IMAGE_BYTES = 256 * MIB
SLOT_BYTES = IMAGE_BYTES + 8 * MIB
PAIRS = 5
"""One after the other, so that both meet the machine in the same mood; the median counts."""
PATIENCE_S = 300.0


def ready_to_boot() -> Iterator[Row]:
    """The same image into loop devices of the same kind, on the same disk, in one run."""
    if os.geteuid() != 0:
        raise NotMeasurableError("loop devices need root")
    by_hand.require("rauc", "dbus-daemon", "losetup", "openssl")
    with workshop() as folder:
        image, factory = folder / "rootfs-1.img", folder / "factory.img"
        write_random_image(image, IMAGE_BYTES, random.Random(1))
        write_random_image(factory, IMAGE_BYTES, random.Random(2))
        bundle = rauc.make_bundle(image, folder / "rauc")
        fleet = Fleet(folder / "fleet", slot_bytes=SLOT_BYTES, factory_image=factory)
        with fleet, _device(folder / "rauc-a") as active, _device(folder / "rauc-b") as inactive:
            publisher = _publisher(fleet, image)
            with rauc.service(folder / "rauc", active, inactive) as environment:
                ratios = []
                for pair in range(PAIRS):
                    node_s = _node_s(fleet, publisher, f"node-{pair}")
                    os.sync()
                    rauc_s = rauc.install_s(bundle, environment)
                    say(f"node {node_s:.2f} s, rauc install {rauc_s:.2f} s")
                    ratios.append(node_s / rauc_s)
    yield at_most(
        "ready_to_boot_vs_rauc", statistics.median(ratios), "x", 1.0,
        "rauc install of a local bundle of the same 256 MiB image; last byte fetched to armed, slot flushed and read back",
    )  # fmt: skip


def _publisher(fleet: Fleet, image: Path) -> NodeProcess:
    publisher = fleet.cluster.add("publisher", slots=False)
    publisher.start()
    fleet.cluster.wait("publisher answers", [publisher], lambda status: True, timeout_s=30)
    publish(publisher, fleet.maintainers.release(image, 1, fleet.folder / "release-1"))
    return publisher


def _node_s(fleet: Fleet, publisher: NodeProcess, name: str) -> float:
    node = fleet.cluster.add(name, contacts=[publisher])
    with _device(node.slot("b"), remake=True) as device:
        node.slot("b").symlink_to(device)
        node.start()
        try:
            diary = Diary(node)
            wait_for(
                "the slot is armed", lambda: bool(diary.times("restarting the node")), timeout_s=PATIENCE_S
            )
            return diary.times("restarting the node")[0] - diary.times("image fetched")[0]
        finally:
            node.kill()
            node.slot("b").unlink()


@contextmanager
def _device(path: Path, *, remake: bool = False) -> Iterator[Path]:
    """A loop device of a slot's size; its file takes the name of a slot file with `.img`."""
    if remake:
        path.unlink()
    backing = path.with_suffix(".img")
    with backing.open("wb") as file:
        file.truncate(SLOT_BYTES)
    made = subprocess.run(
        ["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise NotMeasurableError(f"no loop device: {made.stderr.strip()}")
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", str(device)], check=True)
        backing.unlink()
