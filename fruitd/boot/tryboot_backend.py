"""The `tryboot` boot backend: the firmware of the Raspberry Pi 4 and 5, `autoboot.txt` and a flag."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from fruitd.boot.autoboot import (
    FILE_BYTES_MAX,
    AutobootReading,
    autoboot_for,
    encode,
    read_state,
)
from fruitd.boot.environment import slot_named
from fruitd.boot.fat import find_root_file
from fruitd.boot.firmware import TrialFlag, read_firmware, unfit
from fruitd.boot.medium import FileMedium, Medium, overwrite_sectors
from fruitd.boot.running import Places, partition_number, read_boot_id, slot_of_root
from fruitd.boot_facts import BootFacts
from fruitd.errors import RetryError, SlotError

NAMES = ("autoboot.txt", "autoboot.bak")


class FatMedium(FileMedium):
    """A file on a FAT partition that is not mounted."""

    def __init__(self, partition: Path, name: str) -> None:
        super().__init__(partition)
        try:
            found = find_root_file(self.read, name)
        except OSError as error:
            raise SlotError(f"{partition} cannot be read: {error.strerror}") from error
        except SlotError as error:
            raise SlotError(f"{partition}: {error}") from error
        super().__init__(partition, found.offset)
        self.where = f"{name} on {partition}"
        self._size_bytes = found.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`: the file ends before its cluster does."""
        size_bytes = getattr(self, "_size_bytes", None)
        return super().read(
            offset, length if size_bytes is None else max(min(length, size_bytes - offset), 0)
        )


def tryboot_media(place: Path) -> tuple[Medium, Medium]:
    """`autoboot.txt` and `autoboot.bak`: on a FAT partition that is not mounted, or in a folder. Raises `SlotError`."""
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise SlotError(f"{place} cannot be looked at: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return FileMedium(place / NAMES[0]), FileMedium(place / NAMES[1])
    return FatMedium(place, NAMES[0]), FatMedium(place, NAMES[1])


def slot_partitions(slots: Mapping[str, Path], places: Places) -> dict[str, int]:
    """The partition numbers that the firmware knows the slots by. Raises `SlotError`."""
    return {slot: partition_number(path, places) for slot, path in slots.items()}


class TrybootBackend:
    """`BootBackend` on the Raspberry Pi's firmware.

    Raises `SlotError` in words where the machine or its EEPROM cannot do it.
    """

    def __init__(
        self,
        media: tuple[Medium, Medium],
        slots: Mapping[str, Path],
        partitions: Mapping[str, int],
        flag: TrialFlag,
        places: Places | None = None,
    ) -> None:
        places = Places() if places is None else places
        self._media, self._partitions, self._flag = media, partitions, flag
        self._boot_id = read_boot_id(places)
        firmware = read_firmware(places)
        if (why := unfit(firmware)) is not None:
            raise SlotError(why)
        running = next((slot for slot, number in partitions.items() if number == firmware.partition), None)
        if running is None:
            raise SlotError(
                f"the firmware booted partition {firmware.partition}, which is neither slot "
                f"({', '.join(f'{slot} is {number}' for slot, number in sorted(partitions.items()))}); correct [slots]"
            )
        found = slot_of_root(slots, places)
        if found is not None and found != running:
            raise SlotError(
                f"the firmware booted slot {running}, but the root file system is on slot {found}: the slot's cmdline.txt "
                "names a fixed root; it has to find its own (docs/raspberry-pi.md, one image for both slots)"
            )
        self._active = running

    def facts(self) -> BootFacts:
        """See `BootBackend.facts`. The flag stays in the firmware until the next start, a power cut included."""
        default = self._read().default
        other = next(slot for slot in self._partitions if slot != default)
        return BootFacts(self._boot_id, self._active, default, other if self._flag.get() else None)

    def arm(self, slot: str) -> None:
        """See `BootBackend.arm`. Nothing is written: `autoboot.txt` always names the other slot as the one to try."""
        self.mend()
        self._flag.set(slot_named(slot) != self._read().default)

    def commit(self, slot: str) -> None:
        """See `BootBackend.commit`. The flag goes first: with the numbers swapped it would lead to the old slot."""
        slot_named(slot)
        if self._flag.get():
            self._flag.set(False)
        self.mend()
        for medium in self._media:
            self._put(medium, slot)

    def mend(self) -> None:
        """See `BootBackend.mend`."""
        reading = self._read()
        for index in reading.bad:
            self._put(self._media[index], reading.default)

    def restart_command(self) -> Sequence[str]:
        """See `BootBackend.restart_command`."""
        return self._flag.restart_command()

    def _read(self) -> AutobootReading:
        first, second = (_content(medium) for medium in self._media)
        return read_state(first, second, self._partitions)

    def _put(self, medium: Medium, default: str) -> None:
        old = _content(medium)
        try:
            new = encode(autoboot_for(default, self._partitions), len(old))
        except SlotError as error:
            raise RetryError(
                f"{medium.where}: {error}; write it anew (docs/raspberry-pi.md, autoboot.txt)"
            ) from error
        overwrite_sectors(medium, old, new)


def _content(medium: Medium) -> bytes:
    """What is there; a copy that cannot be read is a bad one."""
    try:
        return medium.read(0, FILE_BYTES_MAX + 1)
    except OSError:
        return b""
