"""The owner's checks: programs whose exit status 0 says that the node is well. The last line they print is the reason people see.

One is named in the configuration; any number lie in a folder, `health.d`, and are run in the order of their names. They are run
without a shell, with `FRUIT_BOOT_SLOT` and `FRUIT_SLOT_PATH` in their environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import trio

from fruitd.health.verdict import OK_WHY, Result

OUTPUT_BYTES_MAX = 64 * 1024
"""More than that is not a reason but a log; it is read on, so that the command does not block, and thrown away."""
WHY_CHARS_MAX = 200
LAST_WORDS_S = 1.0
"""After the command has ended, so long is waited for what it said, should something it left behind hold its output open."""
CHECKS_MAX = 64
"""Programs of the folder that are run; more is a mistake, and said."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""As run-parts: an editor's backup or a package's leftover is not a check."""


def last_line(output: bytes) -> str:
    """The last line with anything in it, printable, at most `WHY_CHARS_MAX` characters; "" if there is none."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in line)[:WHY_CHARS_MAX]


class CommandCheck:
    """Runs one program, once at a time.

    Args:
        name: of the check.
        command: the program and its arguments.
        timeout_s: longest time it may take; it is killed then, with all it started.
        slot: the slot that runs, "a" or "b".
        slot_path: where that slot is.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        timeout_s: float,
        slot: str,
        slot_path: str,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._timeout_s = timeout_s
        self._environment = os.environ | {"FRUIT_BOOT_SLOT": slot, "FRUIT_SLOT_PATH": slot_path}

    async def look(self) -> Result:
        """Run it. Bounded in time; a program that cannot be run is a bad result, not an error."""
        try:
            process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            return Result(self.name, False, f"{self._command[0]} cannot be run: {error.strerror}")
        return await self._watch(process)

    async def _watch(self, process: trio.Process) -> Result:
        tail = _Tail()
        with trio.move_on_after(self._timeout_s):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(tail.read, process)
                    status = await process.wait()
                    _kill_group(process)
                    with trio.move_on_after(LAST_WORDS_S):
                        await tail.done.wait()
                    nursery.cancel_scope.cancel()
                return self._judge(status, last_line(tail.output))
            finally:
                with trio.CancelScope(shield=True):
                    await _end(process)
        return Result(self.name, False, f"did not end within {self._timeout_s:g} s")

    def _judge(self, status: int, line: str) -> Result:
        if status == 0:
            return Result(self.name, True, line or OK_WHY)
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return Result(self.name, False, line or f"{how} and said nothing")


def checks_in(folder: Path) -> list[tuple[str, Path | str]]:
    """The programs of a folder in their order, each with its path, or with the reason why it is not run.

    Nobody but root and the daemon's own user may have a say in what the daemon runs.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [(folder.name, f"{folder} cannot be read: {error.strerror}")]
    if names and (why := _unsafe(folder)) is not None:
        return [(folder.name, why)]
    checks: list[tuple[str, Path | str]] = []
    for name in names[:CHECKS_MAX]:
        path = folder / name
        checks.append((f"{folder.name}/{name}", _unsafe(path) or _not_runnable(path) or path))
    if len(names) > CHECKS_MAX:
        checks.append((folder.name, f"{folder} has {len(names)} checks, the limit is {CHECKS_MAX}"))
    return checks


def _unsafe(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user and is not run; chown root it"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written by others and is not run; chmod go-w it"
    return None


def _not_runnable(path: Path) -> str | None:
    if not path.is_file():
        return f"{path} is not a file"
    return None if os.access(path, os.X_OK) else f"{path} is not executable; chmod +x it, or remove it"


class _Tail:
    """The last of what a command says."""

    def __init__(self) -> None:
        self.output = b""
        self.done = trio.Event()

    async def read(self, process: trio.Process) -> None:
        if process.stdout is not None:
            async for chunk in process.stdout:
                self.output = (self.output + chunk)[-OUTPUT_BYTES_MAX:]
        self.done.set()


def _kill_group(process: trio.Process) -> None:
    """Nothing the command started outlives its look."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        _kill_group(process)
        await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()
