"""Whether this node is well: the owner's health command, and what the node itself knows.

The command is a list, run without a shell, with `FRUIT_BOOT_SLOT` and `FRUIT_SLOT_PATH` in its environment. Exit status 0 is
healthy; the last line it prints is the reason that people see.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio
from attrs import frozen

OUTPUT_BYTES_MAX = 64 * 1024
"""More than that is not a reason but a log; it is read on, so that the command does not block, and thrown away."""
WHY_CHARS_MAX = 200
OK_WHY = "healthy"


@frozen
class HealthSample:
    """One look at the node's health."""

    ok: bool
    why: str


class HealthCheck(Protocol):
    """Anything that can look at the node's health once."""

    async def __call__(self) -> HealthSample:
        """Look once; bounded in time; raises nothing of its own."""
        ...


def last_line(output: bytes) -> str:
    """The last line with anything in it, printable, at most `WHY_CHARS_MAX` characters; "" if there is none."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in line)[:WHY_CHARS_MAX]


class CommandCheck:
    """Runs the owner's health command. An empty command is always healthy."""

    def __init__(self, command: Sequence[str], timeout_s: float, slot: str, slot_path: str) -> None:
        self._command = list(command)
        self._timeout_s = timeout_s
        self._environment = os.environ | {"FRUIT_BOOT_SLOT": slot, "FRUIT_SLOT_PATH": slot_path}

    async def __call__(self) -> HealthSample:
        """Run it once; killed with all it started when the time is up or the caller is cancelled."""
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
        with trio.move_on_after(self._timeout_s) as time:
            try:
                output = await _read_tail(process)
                status = await process.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await _end(process)
        if time.cancelled_caught:
            return HealthSample(False, f"health command did not end within {self._timeout_s:g} s")
        return _judge(status, last_line(output))


def _judge(status: int, line: str) -> HealthSample:
    if status == 0:
        return HealthSample(True, line or OK_WHY)
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return HealthSample(False, line or f"health command {how} and said nothing")


async def _read_tail(process: trio.Process) -> bytes:
    tail = b""
    if process.stdout is not None:
        async for chunk in process.stdout:
            tail = (tail + chunk)[-OUTPUT_BYTES_MAX:]
    return tail


async def _end(process: trio.Process) -> None:
    """Nothing the command started outlives its look."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


class PeersCheck:
    """The node hears at least one peer, if it heard any before the update: a release that breaks the network is not kept."""

    def __init__(self, heard_before: bool, heard_now: Callable[[], int]) -> None:
        self._heard_before = heard_before
        self._heard_now = heard_now

    async def __call__(self) -> HealthSample:
        """Look once."""
        if self._heard_before and not self._heard_now():
            return HealthSample(False, "no peer is heard, though there were some before the update")
        return HealthSample(True, OK_WHY)


class HealthWatch:
    """Looks at health again and again, in the order of the checks; the first that fails speaks."""

    def __init__(
        self,
        checks: Sequence[HealthCheck],
        interval_s: float,
        tell: Callable[[HealthSample], Awaitable[None]],
    ) -> None:
        self._checks = list(checks)
        self._interval_s = interval_s
        self._tell = tell

    async def look(self) -> HealthSample:
        """All checks once."""
        sample = HealthSample(True, OK_WHY)
        for check in self._checks:
            sample = await check()
            if not sample.ok:
                return sample
        return sample

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._tell(await self.look())
            await trio.sleep(self._interval_s)
