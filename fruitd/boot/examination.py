"""What `fruit doctor` says of the boot loader and the disk: rows of what was found and what to mend. Looks, changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from fruitd.boot import detection
from fruitd.boot.autoboot import FILE_BYTES_MAX
from fruitd.boot.autoboot import read_state as read_autoboot
from fruitd.boot.file_backend import read_environment
from fruitd.boot.firmware import VCIO, read_firmware, unfit
from fruitd.boot.grub_backend import grub_media, read_grub_state
from fruitd.boot.medium import read_whole
from fruitd.boot.running import Places, partition_number
from fruitd.boot.tryboot_backend import slot_partitions, tryboot_media
from fruitd.boot.uboot_backend import read_fw_env_config, read_uboot_environment, uboot_media
from fruitd.boot.uboot_env import AVAILABLE, state_of
from fruitd.errors import FruitError, SlotError

MEND = (
    "the next start of fruitd mends it from the good copy; if it stays, the medium is wearing out: replace it"
)
RIGHTS = "only root can look; run fruit doctor as root, or look with the commands of docs/boot.md"
_DISK_HEAD_BYTES = 4096 + 8
WATCHDOGS = Path("/sys/class/watchdog")
DEVICES = Path("/dev")


@frozen
class BootSettings:
    """What `[boot]` says, in so far as it names where to look."""

    backend: str
    env: Path | None
    fw_env_config: Path
    autoboot: Path


@frozen
class Row:
    """One line of the doctor."""

    name: str
    ok: bool
    found: str
    do: str = ""


def examine_boot(
    settings: BootSettings,
    slots: Mapping[str, Path],
    sizes: Mapping[str, int],
    process: Mapping[str, str],
    places: Places | None = None,
    watchdogs: Path = WATCHDOGS,
    devices: Path = DEVICES,
) -> list[Row]:
    """Every row, in the order a person would look.

    Args:
        settings: `[boot]`.
        slots: the devices of the slots, found already.
        sizes: of the slots in bytes, 0 where not known.
        process: the environment of this process.
        places, watchdogs, devices: where this system tells of itself; other ones in tests.
    """
    places = Places() if places is None else places
    signs = detection.signs(process, settings.env, settings.fw_env_config, settings.autoboot, places)
    loader, name = _loader(settings, signs)
    rows = [loader]
    if name is not None:
        rows.append(_environment(name, settings, slots, places))
    if name == "tryboot":
        rows.append(_firmware(places))
    rows += [_sizes(slots, sizes), _table(name, slots, places, devices), _watchdog(name, watchdogs)]
    return rows


def _loader(settings: BootSettings, signs: Sequence[detection.Sign]) -> tuple[Row, str | None]:
    found = detection.words(list(signs))
    if settings.backend == "auto":
        try:
            name = detection.choose(list(signs))
        except FruitError as error:
            return Row("boot loader", False, found, str(error)), None
        return Row("boot loader", True, f"{name}, by what is found: {found}"), name
    fits = settings.backend in {sign.backend for sign in signs}
    do = f'this machine does not look made for backend = "{settings.backend}"; correct [boot], or ignore this if it works'
    return Row(
        "boot loader", fits, f"{settings.backend}, as configured; found: {found}", "" if fits else do
    ), (settings.backend)


def _environment(name: str, settings: BootSettings, slots: Mapping[str, Path], places: Places) -> Row:
    """Both copies of the boot environment."""
    title = "boot environment"
    try:
        words, good, warning = _copies(name, settings, slots, places)
    except FruitError as error:
        denied = "Permission denied" in str(error)
        return Row(
            title,
            denied,
            str(error),
            "" if denied else "mend it as the message says, before the next restart",
        )
    return Row(title, good and not warning, words, warning or ("" if good else MEND))


def _copies(
    name: str, settings: BootSettings, slots: Mapping[str, Path], places: Places
) -> tuple[str, bool, str]:
    """What counts, whether both copies are good, and what else is to be done."""
    if name == "tryboot":
        media = tryboot_media(settings.autoboot)
        contents = [read_whole(medium, FILE_BYTES_MAX + 1) for medium in media]
        state = read_autoboot(contents[0], contents[1], slot_partitions(slots, places))
        names = ", ".join(("autoboot.txt", "autoboot.bak")[i] for i in state.bad)
        return (
            f"slot {state.default} boots; {names + ' is bad' if names else 'both files agree'}",
            not names,
            "",
        )
    if name == "uboot":
        copies_at = read_fw_env_config(settings.fw_env_config)
        for place in copies_at:
            _must_be_readable(place.path)
        reading = read_uboot_environment(uboot_media(copies_at))
        known = state_of(reading.copy)
        variables = reading.copy.variables
        warning = ""
        if f"{AVAILABLE} 0" not in variables.get("altbootcmd", ""):
            warning = f"U-Boot's own count of boots needs a way back: fw_setenv altbootcmd 'setenv {AVAILABLE} 0; run bootcmd'"
        copies = "one copy is bad" if reading.other_bad else "both copies are good"
        return f"slot {known.default} boots; {copies}", not reading.other_bad, warning
    if settings.env is None:
        raise SlotError(f'[boot] env is missing; backend "{name}" needs the path of its environment')
    if name == "grub":
        media = grub_media(settings.env)
        for medium in media:
            _must_be_readable(Path(medium.where))
        grub = read_grub_state(media)
        names = " and ".join(("grubenv", "grubenv.copy")[i] for i in sorted(grub.bad))
        return (
            f"slot {grub.state.default} boots; {names + ' is bad' if names else 'both copies are good'}",
            not names,
            "",
        )
    file = read_environment(settings.env)
    copies = "one copy is bad" if file.other_bad else "both copies are good"
    return f"slot {file.environment.default} boots; {copies}", not file.other_bad, ""


def _must_be_readable(path: Path) -> None:
    """A copy that this user may not read is not a bad one."""
    if path.exists() and not os.access(path, os.R_OK):
        raise SlotError(f"{path} cannot be read: Permission denied; {RIGHTS}")


def _firmware(places: Places) -> Row:
    facts = read_firmware(places)
    why = unfit(facts)
    way = "the mailbox" if VCIO.exists() else "the argument of the restart"
    return Row("firmware", why is None, f"trials are asked for through {way}", why or "")


def _sizes(slots: Mapping[str, Path], sizes: Mapping[str, int]) -> Row:
    title = "slot sizes"
    told = ", ".join(
        f"{slot} ({slots[slot]}) has {size / 2**20:.0f} MiB" for slot, size in sorted(sizes.items())
    )
    if 0 in sizes.values():
        return Row(title, False, told, "a slot is missing; see [slots], and the partitions with lsblk")
    same = len(set(sizes.values())) == 1
    do = "an image that fits one slot may not fit the other; make both partitions the same size"
    return Row(title, same, told, "" if same else do)


def _table(name: str | None, slots: Mapping[str, Path], places: Places, devices: Path) -> Row:
    """How the disk is divided, and what its partitions are called."""
    title = "partitions"
    try:
        if all(stat.S_ISREG(path.stat().st_mode) for path in slots.values()):
            return Row(title, True, "the slots are files")
        told = [
            f"{slot} is partition {partition_number(path, places)}" for slot, path in sorted(slots.items())
        ]
        folders = [(places.sys_block / _number(path)).resolve() for path in slots.values()]
    except OSError as error:
        return Row(
            title, False, f"{error.filename}: {error.strerror}", "see [slots], and the partitions with lsblk"
        )
    except SlotError as error:
        return Row(title, False, str(error), "loaders find slots as partitions of a disk")
    labels = [label for folder in folders if (label := _label(folder))]
    told += [f"labels {', '.join(labels)}"] if labels else []
    disks = {folder.parent.name for folder in folders}
    if len(disks) > 1:
        return Row(
            title, False, "; ".join(told), f"the slots are on different disks ({', '.join(sorted(disks))})"
        )
    kind = _table_kind(devices / disks.pop())
    told.insert(0, kind)
    if len(set(labels)) < len(labels):
        return Row(
            title,
            False,
            "; ".join(told),
            "two partitions with one label: name each slot differently (sgdisk -c)",
        )
    if name == "tryboot" and kind == "GPT":
        do = "the Raspberry Pi's boot loader had faults with GPT; an MBR is the safer choice (docs/raspberry-pi.md)"
        return Row(title, False, "; ".join(told), do)
    return Row(title, True, "; ".join(told))


def _number(path: Path) -> str:
    device = path.stat().st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _label(folder: Path) -> str:
    lines = _text(folder / "uevent").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("PARTNAME=")), "")


def _table_kind(disk: Path) -> str:
    try:
        with disk.open("rb") as opened:
            head = opened.read(_DISK_HEAD_BYTES)
    except OSError as error:
        return f"{disk} cannot be read ({error.strerror})"
    if b"EFI PART" in (head[512:520], head[4096:4104]):
        return "GPT"
    return "MBR" if head[510:512] == b"\x55\xaa" else "no partition table"


def _watchdog(name: str | None, folder: Path) -> Row:
    """Whether a hang of a trial would end by itself."""
    title = "watchdog"
    found = []
    for device in sorted(folder.glob("watchdog*")):
        held = "held" if _text(device / "state") == "active" else "not held"
        what, timeout_s = _text(device / "identity") or "unknown", _text(device / "timeout") or "?"
        found.append(f"{device.name} ({what}, {timeout_s} s, {held})")
    if found:
        return Row(title, True, "; ".join(found))
    if name == "file":
        return Row(title, True, "there is none, and the boot chooser needs none")
    return Row(
        title,
        False,
        "there is none",
        "a release that hangs would stay until someone cuts the power; load the watchdog's driver (Raspberry Pi: "
        "dtparam=watchdog=on)",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
