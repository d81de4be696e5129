"""What a node writes to storage, counted where it is written.

As root, each slot is a block device of its own, as a partition is, and so is the node's folder (loop devices, the folder's with
ext4). The devices' own counts of sectors are taken: slots, state, log and the file system's own journal are all in it.
/proc/PID/io cannot tell: Linux counts a whole folio of the page cache, up to 1 MiB, for each 16 KiB written into it (seen with
6.18: 55 MiB told for 3 MiB written). So an ordinary user's count is that of the bytes which the node's processes hand over to be
written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.nodes import daemon_pid, process_number
from fruitd.demo.cluster import NodeProcess

SECTOR_BYTES = 512
"""The unit of /sys/block/*/stat, whatever the device's own is."""
_SECTORS_WRITTEN = 6
_ROOM_BYTES = 64 * 1024 * 1024


class Meter(Protocol):
    """Counts what one node writes."""

    how: str
    """In words, for the table."""

    def written_bytes(self, node: NodeProcess) -> int:
        """Since some moment that does not change."""
        ...

    def written_bytes_at_the_end(self, node: NodeProcess) -> int:
        """Switch the node off in order; the same, its last words included."""
        ...


@contextmanager
def metered(node: NodeProcess, room_bytes: int = 0) -> Iterator[Meter]:
    """Count what this node, which is still off, writes from here on; its folder has so much room beside the usual."""
    if os.geteuid() != 0:
        yield _Handed()
        return
    with _own_devices(node.directory, room_bytes) as devices:
        try:
            yield _Devices([Path(f"/sys/block/{device.name}/stat") for device in devices])
        finally:
            node.kill()  # whatever happened: its folder is about to go


class _Devices:
    how = "sectors written to the node's own block devices, state and file system journal included"

    def __init__(self, statistics: Sequence[Path]) -> None:
        self._statistics = statistics

    def written_bytes(self, _node: NodeProcess) -> int:
        os.sync()
        return SECTOR_BYTES * sum(
            int(file.read_text().split()[_SECTORS_WRITTEN]) for file in self._statistics
        )

    def written_bytes_at_the_end(self, node: NodeProcess) -> int:
        node.stop()
        return self.written_bytes(node)


class _Handed:
    how = "bytes handed over to be written by daemon and chooser (run as root to count at the device)"

    def written_bytes(self, node: NodeProcess) -> int:
        # The kernel adds to the chooser's account those of its children that have ended.
        chooser = node.process.pid if node.process else None
        return process_number(chooser, "io", "wchar:") + process_number(daemon_pid(node), "io", "wchar:")

    def written_bytes_at_the_end(self, node: NodeProcess) -> int:
        if node.process is None:
            return 0
        pid = node.process.pid
        node.process.terminate()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, and still to be asked
        written = process_number(pid, "io", "wchar:")
        node.stop()
        return written


@contextmanager
def _own_devices(folder: Path, room_bytes: int) -> Iterator[list[Path]]:
    """Move the folder to a new file system on a loop device, and each slot in it to a loop device; those devices."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    slots = sorted(aside.glob("slot-*"))
    rest = [path for path in aside.iterdir() if path not in slots]
    backing = folder.with_name(f"{folder.name}.device")
    with backing.open("wb") as file:
        kept_bytes = sum(path.stat().st_size for path in rest if path.is_file())
        file.truncate(kept_bytes + _ROOM_BYTES + room_bytes)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(backing))
    with ExitStack() as attached:
        devices = [attached.enter_context(_loop(file)) for file in (backing, *slots)]
        _run("mount", str(devices[0]), str(folder))
        attached.callback(_run, "umount", "--lazy", str(folder))  # a daemon just killed may still be ending
        for path in rest:
            shutil.copy(path, folder)  # its mode too: a swarm key that others may read is refused
        for slot, device in zip(slots, devices[1:], strict=True):
            (folder / slot.name).symlink_to(device)
        yield devices
    shutil.rmtree(aside)


@contextmanager
def _loop(backing: Path) -> Iterator[Path]:
    device = _run("losetup", "--find", "--show", str(backing))
    try:
        yield Path(device)
    finally:
        _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path) or command[0]
    return subprocess.run([program, *command[1:]], check=True, capture_output=True, text=True).stdout.strip()
