"""What a node writes to storage, counted where it is written.

As root, the node's folder gets a block device of its own (a loop device with ext4), and the device's own count of sectors is
taken, so that slots, state, log and the file system's own journal are all in it. /proc/PID/io cannot tell: Linux counts a whole
folio of the page cache, up to 1 MiB, for each 16 KiB written into it (seen with 6.18: 55 MiB told for 3 MiB written). So an
ordinary user's count is that of the bytes which the node's processes hand over to be written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
def metered(node: NodeProcess) -> Iterator[Meter]:
    """Count what this node, which is still off, writes from here on."""
    if os.geteuid() != 0:
        yield _Handed()
        return
    with _own_device(node.directory) as device:
        try:
            yield _Device(Path(f"/sys/block/{device.name}/stat"))
        finally:
            node.kill()  # whatever happened: its folder is about to go


class _Device:
    how = "sectors written to the node's own block device, state and file system journal included"

    def __init__(self, statistics: Path) -> None:
        self._statistics = statistics

    def written_bytes(self, _node: NodeProcess) -> int:
        os.sync()
        return SECTOR_BYTES * int(self._statistics.read_text().split()[_SECTORS_WRITTEN])

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
def _own_device(folder: Path) -> Iterator[Path]:
    """Move the folder, with all that is in it, to a new file system on a loop device of its own."""
    backing = folder.with_name(f"{folder.name}.device")
    size_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) + _ROOM_BYTES
    with backing.open("wb") as file:
        file.truncate(size_bytes + size_bytes // 16)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(backing))
    device = _run("losetup", "--find", "--show", str(backing))
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    try:
        _run("mount", device, str(folder))
        try:
            for path in aside.iterdir():
                _copy_whole(path, folder / path.name)
            shutil.rmtree(aside)
            yield Path(device)
        finally:
            _run("umount", str(folder))
    finally:
        _run("losetup", "--detach", device)


def _copy_whole(source: Path, target: Path) -> None:
    """A partition has no holes: neither have the files that stand for one here."""
    with source.open("rb") as file, target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1024 * 1024)


def _run(*command: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path) or command[0]
    return subprocess.run([program, *command[1:]], check=True, capture_output=True, text=True).stdout.strip()
