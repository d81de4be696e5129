"""Restarting the machine by the owner's command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import trio

from fruitd.errors import RetryError


async def run_restart_command(command: Sequence[str]) -> None:
    """Run it and return; the machine goes down a moment later. Raises RetryError where it cannot be run or says no."""
    try:
        done = await trio.run_process(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise RetryError(f"restart command {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        words = f": {said[-1][:200]}" if said else ""
        raise RetryError(f"restart command {command[0]} ended with status {done.returncode}{words}")
