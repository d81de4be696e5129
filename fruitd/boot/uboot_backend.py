"""The `uboot` boot backend: U-Boot with a redundant environment and `packaging/uboot/boot.cmd`."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from fruitd.boot.environment import slot_named
from fruitd.boot.medium import FileMedium, Medium, overwrite
from fruitd.boot.running import Places, read_boot_id, running_slot
from fruitd.boot.uboot_env import (
    SIZE_BYTES_MAX,
    SIZE_BYTES_MIN,
    UbootCopy,
    UbootReading,
    UbootState,
    changed,
    encode_copy,
    read_copies,
    state_of,
)
from fruitd.boot_facts import BootFacts
from fruitd.errors import SlotError, UsageError

CONFIG_BYTES_MAX = 16 * 1024
RESTART_COMMAND = ("/sbin/reboot",)


@frozen
class EnvPlace:
    """Where one copy lies."""

    path: Path
    offset: int
    size_bytes: int


def parse_fw_env_config(text: str, name: str) -> tuple[EnvPlace, EnvPlace]:
    """The two copies from the file that `fw_printenv` reads; `name` is named in errors. Raises `UsageError`.

    A line is: device, offset, size, and for raw flash more that is not supported here.
    """
    places = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            offset, size_bytes = int(words[1], 0), int(words[2], 0)
        except (IndexError, ValueError):
            raise UsageError(
                f"{name} line {number}: allowed: device, offset and size, as fw_printenv reads them"
            ) from None
        if offset < 0 or not SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX:
            raise UsageError(
                f"{name} line {number}: allowed: an offset of 0 or more, "
                f"a size of {SIZE_BYTES_MIN} to {SIZE_BYTES_MAX} bytes"
            )
        if words[0].startswith("/dev/mtd") or words[0].startswith("/dev/ubi"):
            raise UsageError(
                f"{name} line {number}: {words[0]} is raw flash; allowed: a block device or a file"
            )
        places.append(EnvPlace(Path(words[0]), offset, size_bytes))
    if len(places) == 1:
        raise UsageError(
            f"{name} names one copy of U-Boot's environment, which a power cut can destroy; allowed: two lines, and a U-Boot "
            "built with CONFIG_SYS_REDUNDAND_ENVIRONMENT (packaging/uboot/fruit.config)"
        )
    if len(places) != 2 or places[0].size_bytes != places[1].size_bytes:
        raise UsageError(f"{name}: allowed: two lines, one for each copy, with the same size")
    first, second = places
    apart = first.path != second.path or abs(first.offset - second.offset) >= first.size_bytes
    if not apart:
        raise UsageError(f"{name}: the two copies overlap")
    return first, second


def read_fw_env_config(path: Path) -> tuple[EnvPlace, EnvPlace]:
    """Read that file. Raises `UsageError`."""
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX).decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text") from error
    return parse_fw_env_config(text, str(path))


@frozen
class UbootMedia:
    """Both copies."""

    first: Medium
    second: Medium
    size_bytes: int


def uboot_media(places: tuple[EnvPlace, EnvPlace]) -> UbootMedia:
    """The media of the two copies. Raises `SlotError` where one is no block device and no file."""
    for place in places:
        try:
            mode = place.path.stat().st_mode
        except OSError as error:
            raise SlotError(f"{place.path} cannot be looked at: {error.strerror}") from error
        if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
            raise SlotError(f"{place.path} is neither a block device nor a file")
    first, second = places
    return UbootMedia(
        FileMedium(first.path, first.offset), FileMedium(second.path, second.offset), first.size_bytes
    )


def read_uboot_environment(media: UbootMedia) -> UbootReading:
    """The copy that counts. Raises `SlotError` where there is none."""
    copies = [_copy(medium, media.size_bytes) for medium in (media.first, media.second)]
    return read_copies(copies[0], copies[1])


def write_uboot_state(media: UbootMedia, state: UbootState) -> None:
    """Change what U-Boot will do; durable at return. Raises `RetryError`; then the old environment counts, or the new one."""
    reading = read_uboot_environment(media)
    new = changed(reading.copy, state)
    if new.variables == reading.copy.variables and not reading.other_bad:
        return
    _put(media, reading, new)


def mend_uboot_environment(media: UbootMedia) -> None:
    """Write a bad copy anew; U-Boot finds the same variables afterwards as before. Raises `RetryError`."""
    reading = read_uboot_environment(media)
    if reading.other_bad:
        _put(media, reading, evolve(reading.copy, counter=(reading.copy.counter + 1) % 256))


def _put(media: UbootMedia, reading: UbootReading, copy: UbootCopy) -> None:
    """Write over the copy that does not count."""
    overwrite((media.second, media.first)[reading.index], 0, encode_copy(copy, media.size_bytes))


def _copy(medium: Medium, size_bytes: int) -> bytes:
    """What is there; a copy that cannot be read is a bad one."""
    try:
        return medium.read(0, size_bytes)
    except OSError:
        return b""


class UbootBackend:
    """`BootBackend` on U-Boot. `slots` are the devices of the two slots, to check what U-Boot says it started."""

    def __init__(self, media: UbootMedia, slots: Mapping[str, Path], places: Places | None = None) -> None:
        places = Places() if places is None else places
        self._media = media
        self._boot_id = read_boot_id(places)
        self._active = running_slot(slots, places, told_by="U-Boot")

    def facts(self) -> BootFacts:
        """See `BootBackend.facts`."""
        state = self._state()
        return BootFacts(self._boot_id, self._active, state.default, state.armed)

    def arm(self, slot: str) -> None:
        """See `BootBackend.arm`. boot.cmd takes the word back, saved, before it starts the slot."""
        write_uboot_state(self._media, UbootState(self._state().default, slot_named(slot)))

    def commit(self, slot: str) -> None:
        """See `BootBackend.commit`."""
        write_uboot_state(self._media, UbootState(slot_named(slot), None))

    def mend(self) -> None:
        """See `BootBackend.mend`."""
        mend_uboot_environment(self._media)

    def restart_command(self) -> Sequence[str]:
        """See `BootBackend.restart_command`."""
        return RESTART_COMMAND

    def _state(self) -> UbootState:
        return state_of(read_uboot_environment(self._media).copy)
