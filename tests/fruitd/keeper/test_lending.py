"""Loans of real block devices."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.errors import SlotError, UsageError
from fruitd.keeper import lending
from fruitd.keeper.lending import Loan
from fruitd.slots import slot

pytestmark = pytest.mark.root
NOBODY = 65534


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "image"
    image.write_bytes(bytes(1024 * 1024))
    done = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop device can be had here: {done.stderr.strip()}")
    path = Path(done.stdout.strip())
    yield path
    Loan("x", path, None).begin()
    subprocess.run(["losetup", "--detach", str(path)], check=True)


def test_the_daemon_may_write_only_while_the_slot_is_lent(device: Path) -> None:
    """A daemon that was taken over would change a slot after it was read back: also through a descriptor it kept."""
    nodes = Path("/dev") / f"fruit-test-{os.getpid()}"
    loan = Loan("b", device, NOBODY, nodes)
    try:
        loan.open(in_use=False)
        assert loan.path == nodes / "slot-b"
        assert loan.path.stat().st_mode & 0o777 == 0o640
        loan.begin()
        assert (loan.path.stat().st_mode & 0o777, loan.path.stat().st_gid) == (0o660, NOBODY)
        kept = os.open(loan.path, os.O_RDWR)
        try:
            assert os.pwrite(kept, b"lent", 0) == 4
            loan.end()
            assert loan.path.stat().st_mode & 0o777 == 0o640
            with pytest.raises(PermissionError):
                os.pwrite(kept, b"kept", 0)
            assert os.pread(kept, 4, 0) == b"lent"
        finally:
            os.close(kept)
        loan.end()
        assert slot.inspect(loan.path, active=None, image_bytes=4096, write=False).size_bytes == 1024 * 1024
        loan.begin()
        slot.inspect(loan.path, active=None, image_bytes=4096)
    finally:
        shutil.rmtree(nodes)


def test_what_is_in_use_is_not_made_read_only(device: Path) -> None:
    """The root file system that runs could not be written any more from the first request on."""
    nodes = Path("/dev") / f"fruit-test-{os.getpid()}"
    try:
        Loan("a", device, NOBODY, nodes).open(in_use=True)
        slot.inspect(device, active=None, image_bytes=4096)
    finally:
        shutil.rmtree(nodes)


def test_a_slot_that_the_unit_does_not_name_is_told_with_what_to_do(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner who forgot the drop-in would read that root is not permitted, and look for the fault in the disk."""

    def mknod(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "mknod", mknod)
    with pytest.raises(SlotError, match="Operation not permitted; name it: fruitd-keeper --write-limits"):
        Loan("b", device, NOBODY, Path("/dev") / f"fruit-test-{os.getpid()}").open(in_use=False)
    (Path("/dev") / f"fruit-test-{os.getpid()}").rmdir()


@pytest.mark.xfail(
    strict=True, reason="the kernel only warns of writes through a mapping (docs/adr/0008-keeper.md)"
)
def test_a_mapping_that_was_kept_writes_no_more(device: Path) -> None:
    """A daemon that was taken over would change a slot after it was read back, and what boots is not what was signed."""
    Loan("x", device, None).begin()
    with open(device, "r+b") as file, mmap.mmap(file.fileno(), 4096) as kept:
        Loan("x", device, None).end()
        kept[:4] = b"kept"
        kept.flush()
    loop = subprocess.run(
        ["losetup", "--noheadings", "--output", "BACK-FILE", str(device)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(loop.stdout.strip()).read_bytes()[:4] == bytes(4)


def test_a_slot_file_that_the_daemon_could_replace_is_refused() -> None:
    """It would put a link to a file of root's there, and be given that file."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as root:
        folder = Path(root)
        slot_file = folder / "own" / "slot"
        slot_file.parent.mkdir(mode=0o755)
        slot_file.write_bytes(b"")
        lending.check_place(slot_file, NOBODY)
        (folder / "link").symlink_to(slot_file)
        (folder / "circle").symlink_to(folder / "circle")
        for name in ("circle/slot", "none/slot"):
            with pytest.raises(SlotError, match="cannot be looked at"):
                lending.check_place(folder / name, NOBODY)
        os.chown(slot_file.parent, NOBODY, NOBODY)
        for path in (slot_file, folder / "link"):
            with pytest.raises(UsageError, match="only root may"):
                lending.check_place(path, NOBODY)
        os.chown(slot_file.parent, 0, 0)
        lending.check_place(folder / "link", NOBODY)
        slot_file.parent.chmod(0o777)
        with pytest.raises(UsageError, match="only root may"):
            lending.check_place(slot_file, NOBODY)
