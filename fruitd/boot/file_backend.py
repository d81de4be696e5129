"""The `file` boot backend: a boot environment in a file, and the boot chooser in place of firmware.

What is running is told by the chooser through two environment variables of the process. A restart is asked for by ending
with `EXIT_RESTART`: the chooser then boots again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fruitd.boot.environment import (
    COPY_BYTES,
    ENVIRONMENT_BYTES,
    SLOTS,
    BootEnvironment,
    Reading,
    encode_copy,
    read_copies,
    slot_named,
)
from fruitd.boot.medium import FileMedium, Medium, overwrite, read_whole
from fruitd.boot_facts import BootFacts
from fruitd.errors import RetryError, SlotError
from swarm.durable import sync_folder

EXIT_RESTART = 90
"""Exit status with which the daemon asks the chooser for a restart. Outside sysexits (64 to 78) and the shell's 126 up."""
SLOT_VARIABLE = "FRUIT_BOOT_SLOT"
ID_VARIABLE = "FRUIT_BOOT_ID"


def create_environment(path: Path, default: str) -> None:
    """Write a new boot environment with nothing armed. Raises `RetryError` if it cannot be written, or is there already."""
    copy = encode_copy(BootEnvironment(default, None))
    try:
        with path.open("xb") as file:
            file.write(copy * 2)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise RetryError(f"boot environment {path} cannot be made: {error.strerror}") from error


def read_environment(place: Path | Medium) -> Reading:
    """Read both copies. Raises `SlotError` where the file is missing or neither copy is good."""
    medium = _medium(place)
    data = read_whole(medium, ENVIRONMENT_BYTES)
    try:
        return read_copies(data)
    except SlotError as error:
        raise SlotError(f"{medium.where}: {error}") from error


def write_environment(place: Path | Medium, default: str, armed: str | None) -> BootEnvironment:
    """Change the environment; durable at return. Writes over the copy that does not count, syncs, and reads it back.

    Where a copy is bad, both are written, one after the other. Raises `RetryError` if it cannot be written; then the old
    environment counts, or, if only the sync failed, perhaps the new one.
    """
    medium = _medium(place)
    reading = read_environment(medium)
    same = (reading.environment.default, reading.environment.armed) == (default, armed)
    if same and not reading.other_bad:
        return reading.environment
    environment = reading.environment if same else reading.environment.changed(default, armed)
    spare = 1 - reading.copy
    _write_copy(medium, spare, environment)
    if reading.other_bad and not same:
        _write_copy(medium, reading.copy, environment)
    return environment


def _medium(place: Path | Medium) -> Medium:
    return FileMedium(place) if isinstance(place, Path) else place


def _write_copy(medium: Medium, index: int, environment: BootEnvironment) -> None:
    overwrite(medium, index * COPY_BYTES, encode_copy(environment))


class FileBackend:
    """`BootBackend` on a boot environment file. `process` is the environment of this process, as the chooser set it."""

    def __init__(self, place: Path | Medium, process: Mapping[str, str] | None = None) -> None:
        self._medium = _medium(place)
        process = os.environ if process is None else process
        self._active = process.get(SLOT_VARIABLE, "")
        self._boot_id = process.get(ID_VARIABLE, "")
        if self._active not in SLOTS or not 1 <= len(self._boot_id) <= 64:
            raise SlotError(
                f"{SLOT_VARIABLE} and {ID_VARIABLE} are not set as a boot chooser sets them; "
                "start fruitd through `python -m fruitd.boot.chooser`, or choose another boot backend"
            )

    def facts(self) -> BootFacts:
        """See `BootBackend.facts`."""
        environment = read_environment(self._medium).environment
        return BootFacts(self._boot_id, self._active, environment.default, environment.armed)

    def arm(self, slot: str) -> None:
        """See `BootBackend.arm`."""
        write_environment(self._medium, read_environment(self._medium).environment.default, slot_named(slot))

    def commit(self, slot: str) -> None:
        """See `BootBackend.commit`."""
        write_environment(self._medium, slot_named(slot), None)

    def mend(self) -> None:
        """See `BootBackend.mend`."""
        environment = read_environment(self._medium).environment
        write_environment(self._medium, environment.default, environment.armed)

    def restart_command(self) -> None:
        """None: the daemon ends with `EXIT_RESTART`, and the chooser boots again."""
        return
