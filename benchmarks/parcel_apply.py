"""What it takes a node to make a slot of 2 GiB out of a parcel, beside `zstd -d` of the whole image to the same slot.

Three ways: a new card, whose slots hold something else, with the parcel from nothing; a node that runs the release before, with
the parcel from that, and a slot to fill of which it knows nothing (it holds the release before, too); and the same node's next
update, into a slot that it has filled itself. Real daemons, the parcel from a peer on loopback.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from benchmarks.by_hand import require
from benchmarks.images import MAGIC, MAGIC_AT, MIB, differing_bytes, write_random_image
from benchmarks.installed_images import installed_images
from benchmarks.nodes import Fleet, cpu_s, daemon_pid, memory_bytes, say, wait_for, workshop
from benchmarks.rows import NotMeasurableError, Row, at_most
from benchmarks.storage import metered
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary
from fruitd.maintainer.build import BuildParcel
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.parcels.build import BuiltParcel

SIZE_MIB, SMALL_MIB = 2048, 128
SLOT_SPARE_BYTES = 8 * MIB
FACTORY_BYTES = 16 * MIB
PAIRS = 3
"""Runs of zstd and node, one after the other, so that both meet the machine in the same mood; the median counts."""
LEVEL = 3
"""What parcels and the whole image are packed with here: with 19 it takes an hour, and opening it about as long."""
START_S, PATIENCE_S = 300.0, 900.0
_LOOK_S = 0.05


@frozen
class _Way:
    """A release that goes into the target slot by parcel."""

    name: str
    bundle: Bundle
    before: tuple[Bundle, ...]
    """What the node runs, and what it ran before that; nothing: something that it does not know."""
    target: str
    laid: Path
    """What the slots hold beforehand."""
    backwards: bool


@frozen
class _Applied:
    took_s: float
    cpu_s: float
    zstd_s: float
    zstd_cpu_s: float
    memory_bytes: int
    written_ratio: float
    how: str


def parcel_apply_small() -> Iterator[Row]:
    """The same with an image that needs minutes and not an hour, named in the rows."""
    for row in parcel_apply(SMALL_MIB):
        yield evolve(row, name=f"{row.name}_{SMALL_MIB}mib")


def parcel_apply(size_mib: int = SIZE_MIB) -> Iterator[Row]:
    """Time, memory and bytes written, for both ways."""
    require("zstd")
    with workshop() as folder:
        write_random_image(folder / "factory.img", FACTORY_BYTES, random.Random(1))
        maintainers = Maintainers.ceremony(folder / "maintainers")
        one, two, three = installed_images(folder, size_mib, upgrades=2)
        first = maintainers.release(one, 1, folder / "release-1", older=[None], packing=_packed)
        second = maintainers.release(two, 2, folder / "release-2", older=[one], packing=_packed)
        third = maintainers.release(three, 3, folder / "release-3", older=[two], packing=_packed)
        yield from _rows(folder, maintainers, _Way("first_install", first, (), "b", two, True))
        yield from _rows(folder, maintainers, _Way("parcel", second, (first,), "a", one, False))
        yield from _rows(folder, maintainers, _Way("next_parcel", third, (first, second), "b", one, False))


def _packed(build: BuildParcel) -> BuiltParcel:
    return build(level=LEVEL)


def _rows(folder: Path, maintainers: Maintainers, way: _Way) -> Iterator[Row]:
    image, packed = Path(way.bundle.plan.image), folder / "image.zst"
    subprocess.run(["zstd", "-q", "-f", "-T0", f"-{LEVEL}", str(image), "-o", str(packed)], check=True)
    image_bytes, packed_bytes = image.stat().st_size, packed.stat().st_size
    applied = []
    for pair in range(PAIRS):
        fleet = Fleet(
            folder / f"{way.name}-{pair}",
            slot_bytes=image_bytes + SLOT_SPARE_BYTES,
            factory_image=folder / "factory.img",
            maintainers=maintainers,
        )
        # The parcel from nothing is about as large as the cache is as delivered; one that does not fit in is not used.
        fleet.cluster.settings = evolve(fleet.cluster.settings, parcel_cache_bytes=image_bytes)
        with fleet:
            applied.append(_applied(fleet, way, packed))
        shutil.rmtree(fleet.folder)
    what = (
        f"parcel {way.bundle.plan.parcels[0].length_bytes / MIB:.1f} MiB, image {image_bytes / MIB:.0f} MiB, "
        f"packed whole {packed_bytes / MIB:.0f}"
    )
    yield at_most(
        f"{way.name}_time_to_zstd_d", statistics.median(a.took_s / a.zstd_s for a in applied), "x", 1.5,
        f"zstd -d to the same slot, and sync; from manifest accepted to armed; {what}",
    )  # fmt: skip
    yield at_most(
        f"{way.name}_memory", max(a.memory_bytes for a in applied) / MIB, "MiB", 96,
        "most resident memory of the daemon until the slot is armed (VmHWM)",
    )  # fmt: skip
    yield at_most(
        f"{way.name}_written", max(a.written_ratio for a in applied), "x", 1.02,
        f"bytes in 16 KiB blocks that differ from what the slot held; {applied[0].how}; until it is committed; "
        "but the parcel itself, which is kept to be served",
    )  # fmt: skip


def _applied(fleet: Fleet, way: _Way, packed: Path) -> _Applied:
    publisher = fleet.cluster.add("publisher", slots=False)
    node = fleet.cluster.add("node", contacts=[publisher])
    release = way.bundle.plan.release
    parcel_bytes = way.bundle.plan.parcels[0].length_bytes
    cached_bytes = sum(each.plan.parcels[0].length_bytes for each in (*way.before, way.bundle))
    with metered(node, 2 * cached_bytes) as meter:  # the file system keeps some, and so does the node
        zstd_s, zstd_cpu_s = _zstd_s(packed, node.slot(way.target))
        for slot in ("a", "b"):
            lay(way.laid, node.slot(slot), backwards=way.backwards)
        differing = differing_bytes_between(Path(way.bundle.plan.image), node.slot(way.target))
        both, diary = [publisher, node], Diary(node)
        for each in both:
            each.start()
        fleet.cluster.wait("both answer", both, lambda s: s["peers"]["heard"] == 1, timeout_s=START_S)
        for before in way.before:
            publish(publisher, before)
            number = before.plan.release
            wait_for("the release before is kept", partial(diary.kept, number), timeout_s=PATIENCE_S)
        written_before = meter.written_bytes(node)
        publish(publisher, way.bundle)
        most_bytes, cpu = _watch(node, diary, release)
        wait_for("it is kept", lambda: diary.kept(release), timeout_s=PATIENCE_S)
        _check_way(node, way)
        written = meter.written_bytes_at_the_end(node) - written_before
    took_s = diary.times("restarting the node")[-1] - diary.times("manifest accepted")[-1]
    say(
        f"{way.name}: zstd -d {zstd_s:.2f} s ({zstd_cpu_s:.2f} of processor), node {took_s:.2f} s ({cpu:.2f}), "
        f"{most_bytes / MIB:.1f} MiB, {written / MIB:.1f} MiB written, {differing / MIB:.1f} differ"
    )
    return _Applied(
        took_s, cpu, zstd_s, zstd_cpu_s, most_bytes, (written - parcel_bytes) / differing, meter.how
    )


def _zstd_s(packed: Path, slot: Path) -> tuple[float, float]:
    """Seconds of `zstd -d` into a slot, all of it durable; and of processor."""
    os.sync()
    command = f"zstd -q -d -c {packed} 1<> {slot} && sync {slot}"
    timed = subprocess.Popen(
        ["bash", "-c", f"TIMEFORMAT='%R %U %S'; time ( {command} )"], stderr=subprocess.PIPE
    )
    _, words = timed.communicate()
    if timed.returncode:
        raise NotMeasurableError(f"zstd: {words.decode().strip()}")
    real, user, system = map(float, words.split())
    return real, user + system


def lay(image: Path, slot: Path, *, backwards: bool) -> None:
    """Put an image into a slot; or each MiB of it backwards, which is another thing altogether that a boot chooser would boot."""
    with image.open("rb") as source, slot.open("r+b") as target:
        while part := source.read(MIB):
            target.write(part[::-1] if backwards else part)
        target.seek(MAGIC_AT)
        target.write(MAGIC)


def differing_bytes_between(image: Path, slot: Path) -> int:
    """What has to be written to the slot; see `images.differing_bytes`."""
    found = 0
    with image.open("rb") as new, slot.open("rb") as old:
        while part := new.read(MIB):
            found += differing_bytes(part, old.read(len(part)))
    return found


def _watch(node: NodeProcess, diary: Diary, release: int) -> tuple[int, float]:
    """Most resident memory of the daemon until the slot is armed, and the processor time it took from here on."""
    pid = daemon_pid(node)
    began_s = cpu_s(pid)
    most_bytes, last_s = 0, began_s

    def restarting() -> bool:
        nonlocal most_bytes, last_s
        most_bytes = max(most_bytes, memory_bytes(pid, "VmHWM"))
        last_s = max(last_s, _cpu_so_far_s(pid))
        return len(diary.times("restarting the node")) >= release

    wait_for("the slot is armed", restarting, timeout_s=PATIENCE_S, pause_s=_LOOK_S)
    return most_bytes, last_s - began_s


def _cpu_so_far_s(pid: int | None) -> float:
    try:
        return cpu_s(pid)
    except (OSError, IndexError):
        return 0.0


def _check_way(node: NodeProcess, way: _Way) -> None:
    status = node.get("/v1/status")
    came = status["last_update"]["by_origin"] if status and status["last_update"] else {}
    if came.get("parcel_bytes") != way.bundle.plan.parcels[0].length_bytes or came.get("healed_bytes"):
        raise NotMeasurableError(f"the node did not go by parcel: {came}")
