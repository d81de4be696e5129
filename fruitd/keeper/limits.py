"""Writes down for systemd what the daemon and the keeper of this machine may touch, as its configuration has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fruitd.boot import detection
from fruitd.boot.firmware import VCIO
from fruitd.boot.grub_backend import COPY_SUFFIX
from fruitd.boot.running import Places
from fruitd.boot.tryboot_backend import NAMES
from fruitd.boot.uboot_backend import read_fw_env_config
from fruitd.config.tables import BootConfig, Config
from fruitd.errors import RefusedError, UsageError
from fruitd.unit_limits import FILE_NAME, drop_ins


def write_limits(config: Config, folder: Path, places: Places | None = None) -> list[Path]:
    """Write both drop-ins below `folder`, where systemd looks for units; their paths.

    Raises `UsageError` where the configuration does not say what it takes, `RefusedError` where they cannot be written.
    """
    slots, boot = config.slots, config.boot
    if slots is None or boot is None or config.keeper is None:
        raise UsageError(
            "there is nothing to limit: the configuration has no [keeper], or no [slots] and [boot]"
        )
    found = detection.signs(os.environ, boot.env, boot.fw_env_config, boot.autoboot, places or Places())
    name = detection.choose(found) if boot.backend == "auto" else boot.backend
    mailbox = VCIO if name == "tryboot" and boot.trial_flag != "argument" else None
    return _written(drop_ins((slots.a, slots.b), _environment(name, boot), mailbox), folder)


def _environment(name: str, boot: BootConfig) -> tuple[Path, ...]:
    match name:
        case "uboot":
            return tuple(place.path for place in read_fw_env_config(boot.fw_env_config))
        case "tryboot":
            if boot.autoboot.is_dir():
                return tuple(boot.autoboot / file for file in NAMES)
            return (boot.autoboot,)
    if boot.env is None:
        raise UsageError(f'[boot] env is missing; backend "{name}" needs the path of its environment')
    return (boot.env, boot.env.with_name(boot.env.name + COPY_SUFFIX)) if name == "grub" else (boot.env,)


def _written(texts: Mapping[str, str], folder: Path) -> list[Path]:
    paths = []
    for unit, text in texts.items():
        path = folder / f"{unit}.d" / FILE_NAME
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.parent.chmod(0o755)
            path.write_text(text)
            path.chmod(0o644)
        except OSError as error:
            raise RefusedError(f"{path} cannot be written: {error.strerror}") from error
        paths.append(path)
    return paths
