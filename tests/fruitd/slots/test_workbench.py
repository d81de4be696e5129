"""Every part of an image would wait until the one before it is on the card, and read again what was there a moment ago."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.slots.workbench import Workbench
from swarm.errors import RefusedError
from swarm.parcel.unpack import PART_BYTES, Parts

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


@pytest.fixture
def bench() -> Iterator[Workbench]:
    made = Workbench()
    yield made
    made.let_go()


def _numbered(count: int, room: Iterator[memoryview]) -> Parts:
    for number in range(count):
        part = next(room)
        part[:] = bytes([number]) * len(part)
        yield number, part


def _never() -> None:
    """A checkpoint that does not cancel."""


def test_every_part_is_used_once_and_stays_meanwhile(bench: Workbench) -> None:
    """It would be written over while it is hashed, and blocks would come out wrong now and then."""
    used, at_once, most = [], [], []

    def use(number: int, part: memoryview) -> None:
        at_once.append(number)
        most.append(len(at_once))
        time.sleep(0.002)  # hashing lets the other thread go on, too
        assert bytes(part) == bytes([number]) * PART_BYTES
        used.append(number)
        at_once.remove(number)

    bench.work(lambda _, room: _numbered(50, room), use, _never)
    assert sorted(used) == list(range(50))
    assert max(most) == 2


def test_a_thread_that_helps_ends_when_the_bench_is_tidied(bench: Workbench) -> None:
    """A daemon that has updated a hundred times would have as many of them, and the memory of each."""
    before = threading.active_count()
    bench.work(lambda _, room: _numbered(3, room), lambda number, part: None, _never)
    assert threading.active_count() == before + 1
    bench.tidy()
    assert threading.active_count() == before


@pytest.mark.parametrize("good", range(4))
def test_what_is_wrong_with_a_frame_is_told_whoever_finds_it(bench: Workbench, good: int) -> None:
    used = []

    def make(room: Iterator[memoryview]) -> Parts:
        yield from _numbered(good, room)
        raise RefusedError("damaged")

    with pytest.raises(RefusedError, match="damaged"):
        bench.work(lambda _, room: make(room), lambda number, part: used.append(number), _never)
    assert sorted(used) == list(range(good))


@pytest.mark.parametrize("bad", range(4))
def test_a_medium_that_fails_is_told_whoever_finds_it(bench: Workbench, bad: int) -> None:
    """The other one would go on and write to it, and the daemon would believe what he wrote."""

    def use(number: int, part: memoryview) -> None:
        if number == bad:
            raise OSError(5, "it fails")

    with pytest.raises(OSError, match="it fails"):
        bench.work(lambda _, room: _numbered(200, room), use, _never)


def test_cancelling_ends_both(bench: Workbench) -> None:
    """One that goes on would write into a slot that is somebody else's by then."""
    used: list[int] = []

    def use(number: int, part: memoryview) -> None:
        time.sleep(0.002)
        used.append(number)

    def cancel() -> None:
        if len(used) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.work(lambda _, room: _numbered(200, room), use, cancel)
    after = len(used)
    assert after < 200
    time.sleep(0.02)
    assert len(used) == after


def test_one_flush_at_a_time_and_none_after_it_is_tidied(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow card would have a queue of them; one that fails is found out when the slot is read back."""
    begun: list[int] = []
    goes_on = threading.Event()

    def slowly(descriptor: int) -> None:
        begun.append(descriptor)
        goes_on.wait(60.0)
        raise OSError(5, "it fails")

    monkeypatch.setattr(os, "fdatasync", slowly)
    bench.flush()  # nothing is held: there is nothing to flush
    (tmp_path / "slot").touch()
    bench.hold(tmp_path / "slot")
    bench.flush()
    bench.flush()
    goes_on.set()
    bench.tidy()
    assert len(begun) == 1
    bench.flush()
    bench.let_go()
    assert len(begun) == 2
