"""Every part of an image would wait until the one before it is on the card, and read again what was there a moment ago."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.slots.workbench import Workbench
from swarm.errors import RefusedError
from swarm.parcel.frames import PARTS_AHEAD

SECTORS = 2048


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    slot = tmp_path / "slot"
    slot.write_bytes(bytes(512 * SECTORS))
    attached = subprocess.run(
        ["losetup", "--find", "--show", str(slot)], check=True, capture_output=True, text=True
    )
    yield Path(attached.stdout.strip())
    subprocess.run(["losetup", "--detach", attached.stdout.strip()], check=True)


def _sectors_read(device: Path) -> int:
    return int(Path(f"/sys/block/{device.name}/stat").read_text().split()[2])


def _read_by_somebody(device: Path) -> int:
    """How much of the medium it takes to open the device, read all of it, and close it."""
    before = _sectors_read(device)
    with device.open("rb", buffering=0) as file:
        assert len(file.read(512 * SECTORS)) == 512 * SECTORS
    return _sectors_read(device) - before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.root
def test_what_was_read_stays_until_it_is_let_go(device: Path) -> None:
    bench = Workbench()
    bench.hold(device)
    assert _read_by_somebody(device) >= SECTORS
    assert _read_by_somebody(device) == 0
    bench.hold(device)
    assert _read_by_somebody(device) == 0
    bench.let_go()
    _read_by_somebody(device)
    assert _read_by_somebody(device) >= SECTORS


def test_one_at_a_time(tmp_path: Path) -> None:
    """A daemon that has updated a hundred times would have no descriptors left."""
    before = _descriptors()
    bench = Workbench()
    for name in ("a", "b", "a"):
        (tmp_path / name).touch()
        bench.hold(tmp_path / name)
    assert _descriptors() == before + 1
    bench.hold(tmp_path / "missing")
    assert _descriptors() == before
    bench.let_go()


def test_who_opens_is_never_further_ahead_than_there_are_buffers() -> None:
    """A part would be written over while it is hashed."""
    bench, begun = Workbench(), []

    def parts() -> Iterator[memoryview]:
        for number in range(20):
            begun.append(number)
            yield memoryview(bytes([number]))

    for number, part in enumerate(bench.ahead(parts())):
        bench.settle()
        assert part[0] == number
        assert begun[-1] == min(number + PARTS_AHEAD, 19)
    bench.let_go()


def test_a_thread_that_opens_ends_when_the_bench_is_let_go() -> None:
    """A daemon that has updated a hundred times would have as many of them."""
    bench = Workbench()
    before = threading.active_count()
    assert list(bench.ahead(iter([memoryview(b"x")]))) == [b"x"]
    assert threading.active_count() == before + 1
    bench.let_go()
    assert threading.active_count() == before


def test_what_is_wrong_with_a_frame_is_told_where_it_is_used() -> None:
    def parts() -> Iterator[memoryview]:
        yield memoryview(b"good")
        raise RefusedError("damaged")

    bench = Workbench()
    ahead = bench.ahead(parts())
    assert next(ahead) == b"good"
    with pytest.raises(RefusedError, match="damaged"):
        next(ahead)
    bench.let_go()
