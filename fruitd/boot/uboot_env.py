"""U-Boot's redundant environment: pure codec, and which of its two copies counts.

A copy is a CRC-32 (little-endian, of the data), a byte that counts up at each writing (255 is followed by 0), and the data:
`name=value` entries, each ended by a zero byte, the last one by two; zeroes up to the end. A change is written over the copy
that does not count; a torn copy is told by its checksum, so that one good copy exists at every moment.

Our mapping of "the next boot, and no boot after it", which holds with and without U-Boot's own counting of boots:

    fruit_default      a | b        the slot that boots
    fruit_armed        a | b | -    the slot to be tried; packaging/uboot/boot.cmd takes it back before it starts the slot
    upgrade_available  1 | 0        1 from arming to commit: U-Boot saves its `bootcount` only then
    bootcount          0 when armed, 1 or more when the try has been used up
    bootlimit          1            more boots than that run `altbootcmd`, which has to boot the default
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from attrs import frozen

from fruitd.boot.environment import SLOTS
from fruitd.errors import SlotError

HEADER = struct.Struct("<IB")
SINGLE_HEADER = struct.Struct("<I")
SIZE_BYTES_MIN = 512
SIZE_BYTES_MAX = 1024 * 1024
"""Usual are 8 to 128 KiB."""
DEFAULT = "fruit_default"
ARMED = "fruit_armed"
AVAILABLE = "upgrade_available"
COUNT = "bootcount"
LIMIT = "bootlimit"
NONE = "-"
TRIES = 1
"""Boots of an armed slot. The node arms anew for another try, so that every try stands in its journal."""


@frozen
class UbootCopy:
    """One good copy."""

    counter: int
    """0 to 255, the newer one is the one ahead."""
    variables: Mapping[str, str]


def decode_copy(data: bytes) -> UbootCopy | None:
    """One copy; None where the checksum is wrong. An entry without `=` is left out, of two with one name the later counts."""
    if not SIZE_BYTES_MIN <= len(data) <= SIZE_BYTES_MAX:
        return None
    crc, counter = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if zlib.crc32(body) != crc:
        return None
    end = body.find(b"\0\0")
    entries = body[: end if end >= 0 else len(body)].split(b"\0")
    pairs = (entry.decode("latin-1").partition("=") for entry in entries)
    return UbootCopy(counter, {name: value for name, equals, value in pairs if equals and name})


def encode_copy(copy: UbootCopy, size_bytes: int) -> bytes:
    """A copy of exactly `size_bytes`. Raises `SlotError` where the variables do not fit."""
    entries = b"".join(f"{name}={value}".encode("latin-1") + b"\0" for name, value in copy.variables.items())
    room = size_bytes - HEADER.size - 1
    if len(entries) > room:
        raise SlotError(
            f"the environment of U-Boot is full: {len(entries)} of {room} bytes; remove variables"
        )
    body = (entries or b"\0").ljust(size_bytes - HEADER.size, b"\0")
    return HEADER.pack(zlib.crc32(body), copy.counter) + body


def is_single_copy(data: bytes) -> bool:
    """True for the form of a U-Boot that was built without redundant environment: checksum, then data."""
    if len(data) < SIZE_BYTES_MIN:
        return False
    crc: int = SINGLE_HEADER.unpack_from(data)[0]
    return zlib.crc32(data[SINGLE_HEADER.size :]) == crc


@frozen
class UbootReading:
    """The copy that counts, its number, and whether the other one is bad."""

    copy: UbootCopy
    index: int
    other_bad: bool


def read_copies(first: bytes, second: bytes) -> UbootReading:
    """Choose as U-Boot does. Raises `SlotError` where neither is good."""
    one, two = decode_copy(first), decode_copy(second)
    if one is None and two is None:
        if is_single_copy(first) or is_single_copy(second):
            raise SlotError(
                "U-Boot keeps a single copy of its environment here, which a power cut can destroy; build it with "
                "CONFIG_SYS_REDUNDAND_ENVIRONMENT (packaging/uboot/fruit.config)"
            )
        raise SlotError(
            "neither copy of U-Boot's environment is good; write it anew from a known good one: fw_setenv -f FILE -s -"
        )
    if one is None or two is None:
        return (
            UbootReading(two, 1, other_bad=True)
            if two is not None
            else UbootReading(_known(one), 0, other_bad=True)
        )
    return (
        UbootReading(two, 1, other_bad=False) if _ahead(two, one) else UbootReading(one, 0, other_bad=False)
    )


def _known(copy: UbootCopy | None) -> UbootCopy:
    assert copy is not None
    return copy


def _ahead(second: UbootCopy, first: UbootCopy) -> bool:
    """U-Boot's env_import_redund: 0 follows 255; else the larger one; the first where they are equal."""
    if (first.counter, second.counter) in ((255, 0), (0, 255)):
        return second.counter == 0
    return second.counter > first.counter


@frozen
class UbootState:
    """What U-Boot will do at the next boot."""

    default: str
    armed: str | None


def state_of(copy: UbootCopy) -> UbootState:
    """Raises `SlotError` where the environment names no default slot."""
    variables = copy.variables
    default, armed = variables.get(DEFAULT), variables.get(ARMED)
    if default not in SLOTS:
        raise SlotError(
            f"U-Boot's environment does not say which slot is the default; "
            f"say it, with the slot known to be good: fw_setenv {DEFAULT} a"
        )
    # As boot.cmd: what it cannot read it takes for a used-up try.
    will_try = variables.get(AVAILABLE) == "1" and armed in SLOTS and variables.get(COUNT) == "0"
    return UbootState(default, armed if will_try else None)


def changed(copy: UbootCopy, state: UbootState) -> UbootCopy:
    """The copy that follows, with another state and everything else as it was."""
    own = {
        DEFAULT: state.default,
        ARMED: state.armed or NONE,
        AVAILABLE: "0" if state.armed is None else "1",
        COUNT: "0",
        LIMIT: str(TRIES),
    }
    return UbootCopy((copy.counter + 1) % 256, {**copy.variables, **own})
