"""Which slots may be written, and what is said of the others."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.errors import SlotError
from fruitd.slots.slot import Slot, inspect, open_exclusively

SIZE = 4 * 1024 * 1024


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    path = tmp_path / "slot-b"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def active(tmp_path: Path) -> Path:
    path = tmp_path / "slot-a"
    path.write_bytes(bytes(SIZE))
    return path


def test_a_file_may_be_a_slot(slot: Path, active: Path) -> None:
    """The demo, and every node without spare partitions, could not update."""
    assert inspect(slot, active=active, image_bytes=SIZE) == Slot(slot, SIZE, is_device=False)


def test_a_slot_that_is_too_small_is_final(slot: Path, active: Path) -> None:
    """A node would try again for ever to put a large image into a small slot."""
    with pytest.raises(SlotError, match=f"it has {SIZE} bytes, the image has {SIZE + 1}") as caught:
        inspect(slot, active=active, image_bytes=SIZE + 1)
    assert caught.value.final


def test_a_slot_that_is_missing_is_not_final(tmp_path: Path, active: Path) -> None:
    """A card reader that comes up late would cost the node the release."""
    with pytest.raises(SlotError, match="does not exist") as caught:
        inspect(tmp_path / "missing", active=active, image_bytes=1)
    assert not caught.value.final


def test_the_active_slot_is_refused_under_any_name(slot: Path, tmp_path: Path) -> None:
    """The running system would be overwritten by a typing mistake in a configuration."""
    symbolic, hard = tmp_path / "symbolic", tmp_path / "hard"
    symbolic.symlink_to(slot)
    hard.hardlink_to(slot)
    for name in (slot, symbolic, hard):
        with pytest.raises(SlotError, match="same as the active slot"):
            inspect(slot, active=name, image_bytes=1)


def test_what_is_no_slot_is_named(tmp_path: Path, active: Path) -> None:
    """An operator would not learn that a slot's path is a directory."""
    folder = tmp_path / "folder"
    folder.mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    bound = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(bound))
    for path, words in (
        (folder, "a directory"),
        (pipe, "a pipe"),
        (bound, "a socket"),
        (Path("/dev/null"), "a character device"),
    ):
        with pytest.raises(SlotError, match=f"is {words}, not a block device or a file"):
            inspect(path, active=active, image_bytes=0)
    listener.close()


def test_a_loop_of_links(tmp_path: Path, active: Path) -> None:
    """Links that lead nowhere would crash the daemon."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    with pytest.raises(SlotError, match="cannot be looked at: Too many levels of symbolic links"):
        inspect(one, active=active, image_bytes=1)


def test_a_node_that_runs_from_elsewhere(slot: Path, tmp_path: Path) -> None:
    """A node whose active slot cannot be looked at could not update."""
    assert inspect(slot, active=None, image_bytes=1).size_bytes == SIZE
    assert inspect(slot, active=tmp_path / "missing", image_bytes=1).size_bytes == SIZE


def test_a_file_behind_a_mounted_loop_device(slot: Path, active: Path, tmp_path: Path) -> None:
    """A mounted file system would be overwritten under the feet of those who use it."""
    loop = tmp_path / "sys" / "loop7"
    (loop / "loop").mkdir(parents=True)
    (loop / "loop" / "backing_file").write_text(f"{slot}\n")
    (loop / "dev").write_text("7:7\n")
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("garbage\n36 35 7:7 / /mnt/old rw,noatime - ext4 /dev/loop7 rw\n")
    with pytest.raises(SlotError, match="is mounted at /mnt/old; unmount it"):
        inspect(slot, active=active, image_bytes=1, mountinfo=mountinfo, sys_block=tmp_path / "sys")
    mountinfo.write_text("36 35 7:8 / /mnt/old rw,noatime - ext4 /dev/loop8 rw\n")
    inspect(slot, active=active, image_bytes=1, mountinfo=mountinfo, sys_block=tmp_path / "sys")
    (loop / "loop" / "backing_file").write_text("/nowhere (deleted)\n")
    inspect(slot, active=active, image_bytes=1, mountinfo=mountinfo, sys_block=tmp_path / "sys")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_slot_without_permission(slot: Path, active: Path) -> None:
    """A daemon without rights would fail half way instead of at once."""
    slot.chmod(0o444)
    with pytest.raises(SlotError, match="cannot be opened for writing: Permission denied"):
        inspect(slot, active=active, image_bytes=1)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def device(slot: Path) -> Iterator[Path]:
    path = _run("losetup", "--find", "--show", str(slot))
    yield Path(path)
    _run("losetup", "--detach", path)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
class TestDevice:
    """The same on block devices."""

    def test_a_device_may_be_a_slot(self, device: Path, active: Path) -> None:
        """No real node could update."""
        assert inspect(device, active=active, image_bytes=SIZE) == Slot(device, SIZE, is_device=True)

    def test_the_active_device_is_refused(self, device: Path, tmp_path: Path) -> None:
        """The running system would be overwritten through a second name of its partition."""
        other = tmp_path / "by-label"
        other.symlink_to(device)
        with pytest.raises(SlotError, match="same as the active slot"):
            inspect(other, active=device, image_bytes=1)

    def test_a_mounted_device_is_refused(
        self, device: Path, slot: Path, active: Path, tmp_path: Path
    ) -> None:
        """A mounted partition, or the file behind it, would be overwritten."""
        _run("mkfs.ext4", "-q", str(device))
        mounted = tmp_path / "mounted"
        mounted.mkdir()
        _run("mount", str(device), str(mounted))
        try:
            for path in (device, slot):
                with pytest.raises(SlotError, match=f"is mounted at {mounted}"):
                    inspect(path, active=active, image_bytes=1)
            with pytest.raises(SlotError, match="is in use: mounted, or part of a volume"):
                open_exclusively(device)
        finally:
            _run("umount", str(mounted))
        inspect(device, active=active, image_bytes=1)

    def test_nobody_can_mount_what_is_being_written(self, device: Path, tmp_path: Path) -> None:
        """A file system would be mounted while it is overwritten."""
        _run("mkfs.ext4", "-q", str(device))
        descriptor = open_exclusively(device)
        try:
            with pytest.raises(subprocess.CalledProcessError):
                _run("mount", str(device), str(tmp_path))
        finally:
            os.close(descriptor)

    def test_a_read_only_device_is_refused(self, slot: Path, active: Path) -> None:
        """A write-protected card would fail half way instead of at once."""
        device = _run("losetup", "--find", "--show", "--read-only", str(slot))
        try:
            with pytest.raises(SlotError, match="is read-only"):
                inspect(Path(device), active=active, image_bytes=1)
        finally:
            _run("losetup", "--detach", device)
