"""Restarting the machine by a command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from fruitd.errors import RetryError

TIMEOUT_S = 60.0
"""An init that takes longer to accept a restart hangs."""


def run_restart_command(command: Sequence[str]) -> None:
    """Run it and return; the machine goes down a moment later. Raises `RetryError` where it cannot be run or says no."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RetryError(f"restart command {command[0]} did not end within {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise RetryError(f"restart command {command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        words = f": {said[-1][:200]}" if said else ""
        raise RetryError(f"restart command {command[0]} ended with status {done.returncode}{words}")
