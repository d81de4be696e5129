"""If one of these failed, a Raspberry Pi would be taken for one that can try a slot, or a trial be asked for and not made."""

from __future__ import annotations

import datetime
import fcntl
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.boot.firmware import (
    ARGUMENT_RESTART,
    GET_REBOOT_FLAGS,
    PLAIN_RESTART,
    SET_REBOOT_FLAGS,
    ArgumentFlag,
    FirmwareFacts,
    MailboxFlag,
    _day,
    choose_flag,
    decode_flag_message,
    encode_flag_message,
    read_firmware,
    unfit,
)
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.running_system import places_in, put_tree


def test_the_device_tree_is_read_as_big_endian_numbers(tmp_path: Path) -> None:
    """Partition 2 would be read as 33554432, and no slot be found."""
    places = places_in(tmp_path)
    put_tree(places, partition=3, tryboot=True, date_s=0x6500_0000)
    facts = read_firmware(places)
    assert (facts.partition, facts.tryboot, facts.eeprom_date_s) == (3, True, 0x6500_0000)
    assert facts.compatible == ("raspberrypi,4-model-b", "brcm,bcm2711")
    (places.device_tree / "chosen" / "bootloader" / "partition").write_bytes(b"\0\0\3")
    assert read_firmware(places).partition is None
    assert read_firmware(places_in(tmp_path / "pc")) == FirmwareFacts((), None, False, None)


@pytest.mark.parametrize(
    ("chip", "date_s", "partition", "words"),
    [
        ("brcm,bcm2711", 1_683_763_200, 2, None),
        ("brcm,bcm2712", 1_715_558_400, 2, None),
        ("brcm,bcm2711", 1_683_763_199, 2, "too old: 2023-05-10, needed 2023-05-11; run rpi-eeprom-update"),
        ("brcm,bcm2712", 1_700_000_000, 2, "too old: 2023-11-14, needed 2024-05-13"),
        ("brcm,bcm2711", None, 2, "too old: unknown"),
        ("brcm,bcm2711", 1_740_000_000, None, "does not say which partition"),
        ("brcm,bcm2837", None, 1, '"uboot"'),
        ("brcm,bcm2835", None, 1, '"uboot"'),
        ("qemu,virt", None, None, "no Raspberry Pi that fruitd knows"),
    ],
)
def test_a_machine_that_cannot_is_told_why_and_what_to_do(
    chip: str, date_s: int | None, partition: int | None, words: str | None
) -> None:
    """A trial on an old boot loader would boot the old slot again and again, without a word."""
    said = unfit(FirmwareFacts(("raspberrypi,x", chip), partition, False, date_s))
    assert said is None if words is None else words in (said or "")


@given(at_s=st.integers(0, 2**32 - 1))
def test_days_are_days(at_s: int) -> None:
    """The date of a boot loader would be told wrong."""
    assert _day(at_s) == datetime.datetime.fromtimestamp(at_s, datetime.UTC).date().isoformat()


def test_the_message_is_the_one_of_vcmailbox() -> None:
    """The firmware would be asked for something else: `vcmailbox 0x00038064 4 0 1` is what others use."""
    assert struct.unpack("=7I", encode_flag_message(SET_REBOOT_FLAGS, 1)) == (28, 0, 0x38064, 4, 4, 1, 0)


class FakeMailbox:
    """The firmware behind /dev/vcio: keeps the flags, or does not know the tag."""

    def __init__(self, *, knows: bool = True, keeps: bool = True) -> None:
        self.flags, self.knows, self.keeps = 0, knows, keeps

    def ioctl(self, _descriptor: int, request: int, message: Any) -> int:
        """As the driver does it: the message is answered in place."""
        assert request == (0xC0086400 if struct.calcsize("P") == 8 else 0xC0046400)
        size, _, tag, room, _, value, end = struct.unpack("=7I", message)
        if not self.knows:
            message[:] = struct.pack("=7I", size, 0x80000001, tag, room, 0, value, end)
            return 0
        if tag == SET_REBOOT_FLAGS and self.keeps:
            self.flags = value
        message[:] = struct.pack("=7I", size, 0x80000000, tag, room, 0x80000004, self.flags, end)
        return 0


def test_the_mailbox_sets_and_takes_back_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that was given up would be booted at the next restart."""
    (tmp_path / "vcio").touch()
    mailbox = FakeMailbox()
    monkeypatch.setattr(fcntl, "ioctl", mailbox.ioctl)
    flag = choose_flag("auto", "boot", tmp_path / "note", tmp_path / "vcio", tmp_path / "none")
    assert isinstance(flag, MailboxFlag)
    assert not flag.get()
    flag.set(True)
    assert flag.get()
    assert flag.restart_command() == PLAIN_RESTART
    flag.set(False)
    assert not flag.get()


@pytest.mark.parametrize(
    ("knows", "keeps", "words"), [(False, True, "did not answer"), (True, False, "did not keep")]
)
def test_a_firmware_that_does_not_take_the_flag_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows: bool, keeps: bool, words: str
) -> None:
    """A node would restart into the old slot, count a lost trial, and quarantine a good release."""
    (tmp_path / "vcio").touch()
    monkeypatch.setattr(fcntl, "ioctl", FakeMailbox(knows=knows, keeps=keeps).ioctl)
    with pytest.raises(RetryError, match=words):
        MailboxFlag(tmp_path / "vcio").set(True)


def test_no_mailbox_is_an_error_in_words(tmp_path: Path) -> None:
    """A node on BusyBox would restart with an argument that `reboot` drops."""
    with pytest.raises(RetryError, match="cannot be asked"):
        MailboxFlag(tmp_path / "none").get()
    with pytest.raises(SlotError, match="without systemd"):
        choose_flag("auto", "boot", tmp_path / "note", tmp_path / "none", tmp_path / "none")
    with pytest.raises(SlotError, match="without systemd"):
        choose_flag("argument", "boot", tmp_path / "note", tmp_path / "none", tmp_path / "none")
    with pytest.raises(SlotError, match="no mailbox"):
        choose_flag("mailbox", "boot", tmp_path / "note", tmp_path / "none", tmp_path)


def test_the_argument_is_wanted_in_this_boot_only(tmp_path: Path) -> None:
    """A note left from an earlier boot would make every restart a trial."""
    flag = ArgumentFlag("boot 1", tmp_path / "run" / "note")
    assert (flag.get(), flag.restart_command()) == (False, PLAIN_RESTART)
    flag.set(True)
    assert (flag.get(), flag.restart_command()) == (True, ARGUMENT_RESTART)
    assert not ArgumentFlag("boot 2", tmp_path / "run" / "note").get()
    flag.set(False)
    flag.set(False)
    assert not flag.get()


@given(data=st.binary(max_size=40))
def test_rubbish_from_the_firmware_is_an_error(data: bytes) -> None:
    """A strange answer would be taken for a flag that is set."""
    with pytest.raises(RetryError):
        decode_flag_message(data, GET_REBOOT_FLAGS)
