"""What systemd lets fruitd and its keeper touch on one machine: the slots and the boot environment, by name, and nothing else.

The units in packaging/systemd allow no disk at all. What is made here goes beside them as drop-ins: without it a node says that
it may not open its slots, with it no other disk or partition can be opened, whatever runs in those units and as whom.

Pure: it makes text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fruitd.errors import UsageError

DAEMON, KEEPER = "fruitd.service", "fruitd-keeper.service"
FILE_NAME = "slots.conf"
"""Of the drop-in, in the folder `UNIT.d`."""
_DEVICES = Path("/dev")
_HEAD = """\
# Made by fruitd-keeper: the slots{more} of this machine, and nothing else that is on a disk.
"""
_PLAIN = re.compile(r"[A-Za-z0-9/:_.#+=@,-]+")
"""What needs no quoting in a unit. systemd would read a space as the end of the path, and `%` as the beginning of a specifier."""


def drop_ins(slots: Sequence[Path], boot: Sequence[Path], mailbox: Path | None = None) -> dict[str, str]:
    """The text of each unit's drop-in.

    Args:
        slots: the slots' devices or files, by names that last: labels, UUIDs, or fixed device names.
        boot: the files, or the devices, that hold the boot environment.
        mailbox: of the Raspberry Pi's firmware, where a trial is asked for through it.

    Raises:
        UsageError: a path cannot be written into a unit.
    """
    for path in (*slots, *boot):
        if not path.is_absolute() or not _PLAIN.fullmatch(str(path)):
            raise UsageError(
                f"{path}: a unit of systemd needs a whole path, of plain letters; rename it, or make a link to it"
            )
    devices = [path for path in dict.fromkeys((*slots, *boot)) if _is_device(path)]
    daemon = _allowed(slots, "rw")
    # m: the keeper makes its own node for a slot that is a device. It writes the boot environment where it is, and makes none.
    keeper = _allowed(slots, "rwm") + _allowed([path for path in boot if path not in slots], "rw")
    keeper += [f"DeviceAllow={mailbox} rw"] if mailbox is not None else []
    return {
        DAEMON: _text("", [path for path in slots if _is_device(path)], daemon),
        KEEPER: _text(" and the boot environment", devices, keeper),
    }


def _text(more: str, devices: Sequence[Path], service: Sequence[str]) -> str:
    """systemd looks a device's number up when the unit starts, so it has to wait until the device has its name."""
    waits = [f"{key}={_unit_of(path)}" for path in devices for key in ("Wants", "After")]
    return "\n".join(
        [_HEAD.format(more=more), *(["[Unit]", *waits, ""] if waits else []), "[Service]", *service, ""]
    )


def _allowed(paths: Sequence[Path], how: str) -> list[str]:
    # The dash: what is missing is told by the keeper, in words, which it cannot do where the unit does not start.
    return [f"DeviceAllow={path} {how}" if _is_device(path) else f"ReadWritePaths=-{path}" for path in paths]


def _is_device(path: Path) -> bool:
    return _DEVICES in path.parents


def _unit_of(device: Path) -> str:
    r"""`/dev/disk/by-partlabel/fruit-a` -> `dev-disk-by\x2dpartlabel-fruit\x2da.device`, as systemd.unit(5) has it."""
    escaped = "".join(
        "-" if letter == "/" else letter if letter.isalnum() or letter in ":_." else rf"\x{ord(letter):02x}"
        for letter in str(device).strip("/")
    )
    return f"{escaped}.device"
