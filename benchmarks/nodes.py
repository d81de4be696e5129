"""Real daemons to be measured: switched on as the demo does, and looked at from outside: /proc, their log, their API."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import NotMeasurableError
from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess

SUSTAIN_S = 1.2
"""Health that a trial must show here; the default is five minutes, which no figure depends on."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def say(words: str) -> None:
    """For whoever waits: goes to stderr, never into the table."""
    print(f"  {words}", file=sys.stderr, flush=True)


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder on a real disk: below BENCH_DIR if that is set, else where temporary files go."""
    with tempfile.TemporaryDirectory(prefix="fruit-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        if _file_system(folder) in {"tmpfs", "ramfs"}:
            raise NotMeasurableError(f"{folder} is in memory: set BENCH_DIR to a folder on a disk")
        yield folder


def _file_system(folder: Path) -> str:
    """The type of the file system that the folder is on, from the longest mount point above it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(point), kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(above)[1] if above else ""


class Fleet:
    """A demo cluster and its maintainers, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        slot_bytes: int,
        factory_image: Path | None,
        maintainers: Maintainers | None = None,
    ) -> None:
        """`maintainers`: who signed what is to be published; None: new ones."""
        folder.mkdir()
        self.folder = folder
        self.maintainers = maintainers or Maintainers.ceremony(folder / "maintainers")
        self.cluster = Cluster(
            ClusterSettings(
                directory=folder,
                root_file=self.maintainers.root_file,
                slot_bytes=slot_bytes,
                factory_image=factory_image,
                health_command=("/bin/true",),
                token_file=self.maintainers.token_file,
                sustain_s=SUSTAIN_S,
            )
        )

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.close()


def wait_for(what: str, reached: Callable[[], bool], *, timeout_s: float, pause_s: float = 0.05) -> None:
    """Look every `pause_s` until it is so. Raises `NotMeasurableError` when the time is over."""
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline_s:
            raise NotMeasurableError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)  # pacing of a poll over other processes; there is no event to wait on


def daemon_pid(node: NodeProcess) -> int | None:
    """Process id of the daemon under the boot chooser; None between two of them."""
    if node.process is None or not node.has_slots:
        return node.process.pid if node.process else None
    try:
        text = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text()
    except OSError:
        return None
    return int(text.split()[0]) if text.split() else None


def memory_bytes(pid: int | None, which: str) -> int:
    """VmRSS (now) or VmHWM (the most so far) of a process; 0 where it is gone or not a daemon yet."""
    return 1024 * process_number(pid, "status", f"{which}:")


def cpu_s(pid: int | None) -> float:
    """Processor time of a process since its start, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def process_number(pid: int | None, file: str, key: str) -> int:
    """The number behind `key` in /proc/PID/FILE; 0 where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0
