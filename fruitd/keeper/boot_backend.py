"""The boot backend that a configuration asks for, or that this machine looks made for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from fruitd.boot import detection
from fruitd.boot.file_backend import FileBackend
from fruitd.boot.firmware import choose_flag
from fruitd.boot.grub_backend import GrubBackend, grub_media
from fruitd.boot.port import BootBackend
from fruitd.boot.running import Places, read_boot_id
from fruitd.boot.tryboot_backend import TrybootBackend, slot_partitions, tryboot_media
from fruitd.boot.uboot_backend import UbootBackend, read_fw_env_config, uboot_media
from fruitd.config.tables import BootConfig
from fruitd.errors import FruitError, SlotError, UsageError


def boot_backend(
    config: BootConfig, slots: Mapping[str, Path], state_dir: Path, places: Places | None = None
) -> BootBackend:
    """Make it, and mend what has gone bad; raises `SlotError` or `UsageError` in words where it cannot be on this machine.

    Args:
        config: `[boot]`.
        slots: the devices of the slots.
        state_dir: a folder of whoever holds the boot environment.
        places: where this system says how it was booted.
    """
    places = Places() if places is None else places
    found = detection.signs(os.environ, config.env, config.fw_env_config, config.autoboot, places)
    name = detection.choose(found) if config.backend == "auto" else config.backend
    try:
        backend = _make(name, config, slots, state_dir, places)
    except SlotError as error:
        raise SlotError(
            f'[boot] backend "{name}": {error}; found on this machine: {detection.words(found)}'
        ) from error
    with contextlib.suppress(FruitError):  # said by whoever reads it next, and mended by the next change
        backend.mend()
    return backend


def _make(
    name: str, config: BootConfig, slots: Mapping[str, Path], state_dir: Path, places: Places
) -> BootBackend:
    match name:
        case "tryboot":
            flag = choose_flag(config.trial_flag, read_boot_id(places), state_dir / "tryboot")
            partitions = slot_partitions(slots, places)
            return TrybootBackend(tryboot_media(config.autoboot), slots, partitions, flag, places)
        case "uboot":
            return UbootBackend(uboot_media(read_fw_env_config(config.fw_env_config)), slots, places)
    if config.env is None:
        raise UsageError(f'[boot] env is missing; backend "{name}" needs the path of its environment')
    if name == "grub":
        return GrubBackend(grub_media(config.env), slots, places)
    return FileBackend(config.env)
