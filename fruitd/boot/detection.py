"""Which boot backend this machine looks made for: what is found, in words, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from fruitd.boot.file_backend import SLOT_VARIABLE
from fruitd.boot.firmware import read_firmware, unfit
from fruitd.boot.grubenv import BLOCK_BYTES, decode_block
from fruitd.boot.running import Places
from fruitd.errors import UsageError


@frozen
class Sign:
    """Something that speaks for a backend."""

    backend: str
    words: str


def signs(
    process: Mapping[str, str], env: Path | None, fw_env_config: Path, autoboot: Path, places: Places
) -> list[Sign]:
    """Everything that speaks for a backend, in the order in which they are tried. Looks only; never raises."""
    found = []
    if SLOT_VARIABLE in process:
        found.append(Sign("file", "a boot chooser started this process"))
    firmware = read_firmware(places)
    if firmware.partition is not None and unfit(firmware) is None and autoboot.exists():
        found.append(Sign("tryboot", f"the firmware of a Raspberry Pi booted partition {firmware.partition}"))
    if fw_env_config.is_file():
        found.append(Sign("uboot", f"{fw_env_config} says where U-Boot keeps its environment"))
    if env is not None and _is_grubenv(env):
        found.append(Sign("grub", f"{env} is an environment block of GRUB"))
    return found


def choose(found: list[Sign]) -> str:
    """The backend for `auto`. A boot chooser knows that it started us; of the others exactly one has to speak. `UsageError`."""
    names = {sign.backend for sign in found}
    if "file" in names:
        return "file"
    if len(names) == 1:
        return names.pop()
    what = "; ".join(f"{sign.backend}: {sign.words}" for sign in found)
    if not found:
        raise UsageError(
            '[boot] backend = "auto" finds no boot loader that fruitd knows: no boot chooser, no Raspberry Pi 4 or 5 with '
            "autoboot.txt, no fw_env.config, no grubenv; name the backend and its files (docs/boot.md)"
        )
    raise UsageError(f'[boot] backend = "auto" finds several ({what}); name the one that chooses the slot')


def words(found: list[Sign]) -> str:
    """What was found, for a message about a backend that does not fit."""
    return "; ".join(f"{sign.words} ({sign.backend})" for sign in found) or "nothing of any boot loader"


def _is_grubenv(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return decode_block(file.read(BLOCK_BYTES)) is not None
    except OSError:
        return False
