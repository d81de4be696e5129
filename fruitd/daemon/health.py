"""Whether this node is well: what the node itself knows, and the owner's health command.

The command is a list, run without a shell, with `FRUIT_BOOT_SLOT` and `FRUIT_SLOT_PATH` in its environment. Exit status 0 is
healthy; the last line it prints is the reason that people see.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import trio

OUTPUT_BYTES_MAX = 64 * 1024
"""More than that is not a reason but a log; it is read on, so that the command does not block, and thrown away."""
WHY_CHARS_MAX = 200
LAST_WORDS_S = 1.0
"""After the command has ended, so long is waited for what it said, should something it left behind hold its output open."""
OK_WHY = "healthy"


class HealthSample(NamedTuple):
    """One look at the node's health."""

    ok: bool
    why: str


def counts(sample: HealthSample, *, heard_before: bool, peers: int) -> bool:
    """Whether a trial should hear of this sample.

    A release that breaks the network must not be kept, and a broken uplink must not roll a good one back: while a node that had
    peers before the update hears none, its good samples are held back, so that only the trial's deadline decides.
    """
    return not sample.ok or not heard_before or peers > 0


def last_line(output: bytes) -> str:
    """The last line with anything in it, printable, at most `WHY_CHARS_MAX` characters; "" if there is none."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in line)[:WHY_CHARS_MAX]


class HealthCheck:
    """Looks at the node's health once at a time.

    Args:
        command: the owner's health command; empty: none, a node that runs is healthy.
        timeout_s: longest time it may take; it is killed then, with all it started.
        slot: the slot that runs, "a" or "b".
        slot_path: where that slot is.
    """

    def __init__(
        self,
        command: Sequence[str],
        timeout_s: float,
        slot: str,
        slot_path: str,
    ) -> None:
        self._command = list(command)
        self._timeout_s = timeout_s
        self._environment = os.environ | {"FRUIT_BOOT_SLOT": slot, "FRUIT_SLOT_PATH": slot_path}

    async def sample(self) -> HealthSample:
        """Look once. Bounded in time; a command that cannot be run is a bad sample, not an error."""
        if not self._command:
            return HealthSample(True, OK_WHY)
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
            return HealthSample(False, f"health command {self._command[0]} cannot be run: {error.strerror}")
        return await self._watch(process)

    async def _watch(self, process: trio.Process) -> HealthSample:
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
                return _judge(status, last_line(tail.output))
            finally:
                with trio.CancelScope(shield=True):
                    await _end(process)
        return HealthSample(False, f"health command did not end within {self._timeout_s:g} s")


def _judge(status: int, line: str) -> HealthSample:
    if status == 0:
        return HealthSample(True, line or OK_WHY)
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return HealthSample(False, line or f"health command {how} and said nothing")


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
