"""What the Raspberry Pi's firmware says of itself, and its one-shot flag for a trial boot.

The flag lives in the firmware, not on the card: it outlives a restart, not a power cut, and any start takes it back. Two ways
to set it (raspberrypi/linux, drivers/firmware/raspberrypi.c): the property mailbox `/dev/vcio`, at once; or the argument
`0 tryboot` of the reboot system call, which BusyBox's `reboot` drops and systemd's passes on. Both need the Raspberry Pi's own
kernel: a mainline kernel has no `/dev/vcio` and does not look at the argument.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from fruitd.boot.running import Places
from fruitd.errors import RetryError, SlotError

GET_REBOOT_FLAGS = 0x00030064
SET_REBOOT_FLAGS = 0x00038064
TRYBOOT_FLAG = 1
"""Bit 0: raspberrypi.c, `reboot_flags |= 0x1`."""
VCIO = Path("/dev/vcio")
_MAILBOX_PROPERTY = 0xC0006400 | struct.calcsize("P") << 16
"""_IOWR(100, 0, char *): vcio.c. The size of a pointer is part of the number."""
_REQUEST, _SUCCESS, _TAG_ANSWERED = 0, 0x80000000, 0x80000000
_MESSAGE = struct.Struct("=7I")
PLAIN_RESTART = ("/sbin/reboot",)
ARGUMENT_RESTART = ("systemctl", "reboot", "--reboot-argument=0 tryboot")
SYSTEMD = Path("/run/systemd/system")

EEPROM_DATE_MIN_S = {"brcm,bcm2711": 1_683_763_200, "brcm,bcm2712": 1_715_558_400}
"""Build date of the boot loader in the EEPROM: Pi 4 2023-05-11 (the oldest that others found to work with `tryboot_a_b`),
Pi 5 2024-05-13 (older ones report partition 0). Newer: working nodes are refused. Older: trials are not tried, or not seen."""
_WITHOUT_EEPROM = ("brcm,bcm2837", "brcm,bcm2836", "brcm,bcm2835")
_TREE_BYTES_MAX = 4096


@frozen
class FirmwareFacts:
    """The device tree's word on this boot."""

    compatible: tuple[str, ...]
    partition: int | None
    """Partition that the firmware booted."""
    tryboot: bool
    """True in the boot that the flag led to."""
    eeprom_date_s: int | None
    """When the boot loader in the EEPROM was built, seconds since 1970; None where there is no EEPROM."""


def read_firmware(places: Places) -> FirmwareFacts:
    """What the device tree says; every part may be missing."""
    loader = places.device_tree / "chosen" / "bootloader"
    names = _bytes(places.device_tree / "compatible") or b""
    return FirmwareFacts(
        compatible=tuple(name.decode("latin-1") for name in names.split(b"\0") if name),
        partition=_number(loader / "partition"),
        tryboot=_number(loader / "tryboot") == 1,
        eeprom_date_s=_number(loader / "build-timestamp"),
    )


def unfit(facts: FirmwareFacts) -> str | None:
    """Why this machine cannot use `tryboot`, and what to do; None if it can."""
    chip = next((name for name in facts.compatible if name in (*EEPROM_DATE_MIN_S, *_WITHOUT_EEPROM)), None)
    if chip is None:
        return 'this is no Raspberry Pi that fruitd knows; choose another [boot] backend, "grub" or "uboot"'
    if chip in _WITHOUT_EEPROM:
        return (
            "a Raspberry Pi 3 or older, or a Zero, starts from its first partition only; "
            'install U-Boot and choose [boot] backend = "uboot" (docs/raspberry-pi.md)'
        )
    least_s = EEPROM_DATE_MIN_S[chip]
    if facts.eeprom_date_s is None or facts.eeprom_date_s < least_s:
        have = "unknown" if facts.eeprom_date_s is None else _day(facts.eeprom_date_s)
        return (
            f"the boot loader in the EEPROM is too old: {have}, needed {_day(least_s)}; "
            "run rpi-eeprom-update -a and restart"
        )
    if facts.partition is None:
        return "the firmware does not say which partition it booted; update the firmware files of the slot"
    return None


def _day(at_s: int) -> str:
    days = at_s // 86_400 + 719_468  # civil from days: no clock and no time zone in here
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return f"{year_of_era + era * 400 + (month <= 2):04}-{month:02}-{day:02}"


def encode_flag_message(tag: int, flags: int) -> bytes:
    """A property message with one tag of one word."""
    return _MESSAGE.pack(_MESSAGE.size, _REQUEST, tag, 4, 4, flags, 0)


def decode_flag_message(data: bytes, tag: int) -> int:
    """The word that the firmware answered with. Raises `RetryError` where it did not."""
    if len(data) == _MESSAGE.size:
        size, status, answered_tag, _, answered, flags, end = _MESSAGE.unpack(data)
        good = (size, status, answered_tag, end) == (_MESSAGE.size, _SUCCESS, tag, 0)
        if good and answered & _TAG_ANSWERED:
            return int(flags)
    raise RetryError("the firmware did not answer; this model or its firmware may not know the trial flag")


class TrialFlag(Protocol):
    """The one-shot flag. All methods raise `RetryError` where it cannot be reached."""

    def get(self) -> bool:
        """True if the next restart is a trial."""
        ...

    def set(self, wanted: bool) -> None:
        """Set it, or take it back."""
        ...

    def restart_command(self) -> Sequence[str]:
        """The restart that heeds it."""
        ...


class MailboxFlag:
    """The flag through the firmware's mailbox."""

    def __init__(self, device: Path = VCIO) -> None:
        self._device = device

    def get(self) -> bool:
        """See `TrialFlag.get`."""
        return bool(self._ask(GET_REBOOT_FLAGS, 0) & TRYBOOT_FLAG)

    def set(self, wanted: bool) -> None:
        """See `TrialFlag.set`; asked for again afterwards, for a firmware that accepts and forgets."""
        self._ask(SET_REBOOT_FLAGS, TRYBOOT_FLAG if wanted else 0)
        if self.get() != wanted:
            raise RetryError("the firmware did not keep the trial flag")

    def restart_command(self) -> Sequence[str]:
        """See `TrialFlag.restart_command`: the kernel leaves a flag alone that was set before."""
        return PLAIN_RESTART

    def _ask(self, tag: int, flags: int) -> int:
        message = bytearray(encode_flag_message(tag, flags))
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, _MAILBOX_PROPERTY, message)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RetryError(f"{self._device} cannot be asked: {error.strerror}") from error
        return decode_flag_message(bytes(message), tag)


class ArgumentFlag:
    """The flag as an argument of the restart. That it is wanted is noted, with the boot that wants it: no other one heeds it."""

    def __init__(self, boot_id: str, note: Path) -> None:
        self._boot_id = boot_id
        self._note = note

    def get(self) -> bool:
        """See `TrialFlag.get`."""
        return (_bytes(self._note) or b"").decode("latin-1") == self._boot_id

    def set(self, wanted: bool) -> None:
        """See `TrialFlag.set`."""
        try:
            if wanted:
                self._note.parent.mkdir(parents=True, exist_ok=True)
                self._note.write_text(self._boot_id)
            else:
                self._note.unlink(missing_ok=True)
        except OSError as error:
            raise RetryError(f"{self._note} cannot be written: {error.strerror}") from error

    def restart_command(self) -> Sequence[str]:
        """See `TrialFlag.restart_command`."""
        return ARGUMENT_RESTART if self.get() else PLAIN_RESTART


def choose_flag(
    kind: str, boot_id: str, note: Path, device: Path = VCIO, systemd: Path = SYSTEMD
) -> TrialFlag:
    """The way to set the flag: `mailbox`, `argument`, or `auto`. Raises `SlotError` in words where there is none.

    Args:
        kind: `[boot] trial_flag`.
        boot_id: of the boot that runs.
        note: a file of ours, for `argument`.
        device, systemd: where the mailbox and systemd are; other ones in tests.
    """
    if kind == "mailbox" or (kind == "auto" and device.exists()):
        if not device.exists():
            raise SlotError(
                f"{device} is missing: this kernel has no mailbox; use the Raspberry Pi's own kernel"
            )
        return MailboxFlag(device)
    if not systemd.exists():
        raise SlotError(
            f"no trial can be asked for: {device} is missing, and without systemd `reboot` may drop its argument; "
            "use the Raspberry Pi's own kernel, which has the mailbox"
        )
    return ArgumentFlag(boot_id, note)


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_TREE_BYTES_MAX)
    except OSError:
        return None


def _number(path: Path) -> int | None:
    """A 32-bit big-endian number of the device tree."""
    data = _bytes(path)
    return int.from_bytes(data, "big") if data is not None and len(data) == 4 else None
