"""Running the system's network tools, with their words in our errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from fruitd.errors import RefusedError, RetryError

NEEDED = {
    "ip": "iproute2",
    "tc": "iproute2",
    "bridge": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "nsenter": "util-linux",
}
"""Program -> Debian package that has it."""
TIMEOUT_S = 60.0


def require_root_and_tools(also: Sequence[tuple[str, str]] = ()) -> None:
    """Refuse, in one line, a machine on which no testbed can be built. `also`: further programs, and their packages."""
    if os.geteuid() != 0:
        raise RefusedError("the testbed makes network namespaces: run it as root")
    lacking = {package for tool, package in [*NEEDED.items(), *also] if shutil.which(tool) is None}
    if lacking:
        raise RefusedError(
            f"the testbed needs programs that are not here: apt install {' '.join(sorted(lacking))}"
        )


def inside(namespace: str) -> tuple[str, ...]:
    """What starts a program in a namespace; it replaces itself by the program, so that process ids stay."""
    return ("nsenter", f"--net=/run/netns/{namespace}")


def run(command: Sequence[str], stdin: str = "") -> str:
    """Run a command to its end and return what it printed; raises RetryError with its own words."""
    try:
        done = subprocess.run(
            list(command), input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RetryError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        words = "; ".join((done.stderr or done.stdout).strip().splitlines()[:2])
        raise RetryError(f"{' '.join(command)}: {words or f'ended with {done.returncode}'}")
    return done.stdout
