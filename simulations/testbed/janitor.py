"""Cleans up after a run, whatever becomes of the run: a process of its own that outlives it by a moment.

    python -m simulations.testbed.janitor      reads names of namespaces and folders, one a line; acts when its input ends

The runner tells it everything before making it, and closes the pipe at the end; if the runner is killed, the kernel does.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

PATIENCE_S = 60.0


class Janitor:
    """The runner's end of it."""

    def __init__(self) -> None:
        # A session of its own: what interrupts the runner at the terminal does not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulations.testbed.janitor"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def will_make(self, namespaces: Iterable[str] = (), folders: Iterable[Path] = ()) -> None:
        """To be called before they are made. Folders are deleted with all that is in them, after the namespaces."""
        assert self._process.stdin is not None
        lines = [*(f"namespace {name}\n" for name in namespaces), *(f"folder {path}\n" for path in folders)]
        self._process.stdin.write("".join(lines).encode())
        self._process.stdin.flush()

    def __enter__(self) -> Janitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)


def main() -> int:
    """Wait for the end of the input, then clean up."""
    from simulations.testbed.network import delete_namespaces

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    namespaces: list[str] = []
    folders: list[Path] = []
    for line in sys.stdin:
        kind, _, name = line.rstrip("\n").partition(" ")
        if kind == "namespace":
            namespaces.append(name)
        elif kind == "folder":
            folders.append(Path(name))
    delete_namespaces(namespaces)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
