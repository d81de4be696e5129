"""Every part of an image would wait until the one before it is on the card, and read again what was there a moment ago."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.slots.held import HeldSlot

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
    held = HeldSlot()
    held.hold(device)
    assert _read_by_somebody(device) >= SECTORS
    assert _read_by_somebody(device) == 0
    held.hold(device)
    assert _read_by_somebody(device) == 0
    held.let_go()
    _read_by_somebody(device)
    assert _read_by_somebody(device) >= SECTORS


def test_one_at_a_time(tmp_path: Path) -> None:
    """A daemon that has updated a hundred times would have no descriptors left."""
    before = _descriptors()
    held = HeldSlot()
    for name in ("a", "b", "a"):
        (tmp_path / name).touch()
        held.hold(tmp_path / name)
    assert _descriptors() == before + 1
    held.hold(tmp_path / "missing")
    assert _descriptors() == before
    held.let_go()
