"""Runs the programs of other projects that images are made with, and says which package has one that is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fruitd.errors import RefusedError

PACKAGES: Mapping[str, str] = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "grub-mkimage": "grub-common",
    "tar": "tar",
}
"""Program -> the Debian package that has it."""


def need(*programs: str) -> None:
    """Raise `RefusedError` that names every missing program's package."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(name, name) for name in missing}))
        raise RefusedError(f"{', '.join(missing)} is missing; apt install {packages}")


def run(
    command: Sequence[str | Path], *, log: Path | None = None, more: Mapping[str, str] | None = None
) -> bytes:
    """Run it to its end; what it said. Raises `RefusedError` with the last line it said where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(more or {})},
        check=False,
    )
    if log is not None:
        log.write_bytes(done.stdout)
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        where = f"; all of it: {log}" if log is not None else ""
        raise RefusedError(f"{command[0]} failed: {said[-1][:300] if said else 'without a word'}{where}")
    return done.stdout
