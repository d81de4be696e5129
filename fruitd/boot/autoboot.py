"""`autoboot.txt` of the Raspberry Pi: pure codec, and which of its two copies counts.

The firmware reads the file from the first FAT partition, at most 512 bytes of it:

    [all]
    tryboot_a_b=1
    boot_partition=2
    [tryboot]
    boot_partition=3

and empty lines up to 256 bytes. Every file has that length, which lies in one sector at the beginning of a cluster: a commit
swaps the two numbers in place, and a disk writes that sector whole or not at all. `autoboot.bak` beside it says the same; the
firmware does not read it, we do where the first has gone bad, so that it is mended and not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from fruitd.errors import SlotError

FILE_BYTES = 256
FILE_BYTES_MAX = 512
"""More is not read by the firmware."""
PARTITION_MAX = 63
"""The firmware keeps a partition number in six bits of a register."""


@frozen
class Autoboot:
    """Partition numbers that the firmware boots: without the one-shot flag, and with it."""

    default: int
    trial: int


def encode(autoboot: Autoboot, length: int = FILE_BYTES) -> bytes:
    """The file, of exactly `length` bytes. Raises `SlotError` where it does not fit."""
    text = f"[all]\ntryboot_a_b=1\nboot_partition={autoboot.default}\n[tryboot]\nboot_partition={autoboot.trial}\n"
    if not len(text) <= length <= FILE_BYTES_MAX:
        raise SlotError(f"autoboot.txt has {length} bytes; it needs {len(text)} to {FILE_BYTES_MAX}")
    return text.encode().ljust(length, b"\n")


def decode(data: bytes) -> Autoboot | None:
    """What the firmware makes of it; None where it would not boot two partitions by the flag.

    As the firmware: a later value wins, a section holds until the next one, comments and unknown keys are skipped. Sections
    other than [all], [none] and [tryboot] may or may not hold: a partition or `tryboot_a_b` in one of them is None too.
    """
    if len(data) > FILE_BYTES_MAX or not data.isascii() or b"\0" in data:
        return None
    section, found = "all", {"all": 0, "tryboot": 0}
    by_flag = False
    for line in data.decode("ascii").splitlines():
        words = line.strip()
        if words.startswith("[") and words.endswith("]"):
            section = words[1:-1]
            continue
        key, _, value = words.partition("=")
        if section == "none" or key not in ("boot_partition", "tryboot_a_b"):
            continue
        if section not in found or not value.isdigit() or len(value) > 2:
            return None
        if key == "tryboot_a_b":
            by_flag = value == "1" and section == "all"
        elif section == "all":
            found = {"all": int(value), "tryboot": int(value)}
        else:
            found["tryboot"] = int(value)
    good = by_flag and all(1 <= number <= PARTITION_MAX for number in found.values())
    return Autoboot(found["all"], found["tryboot"]) if good and found["all"] != found["tryboot"] else None


@frozen
class AutobootReading:
    """Both copies: the default slot, and the copies that are to be mended, in this order."""

    default: str
    bad: tuple[int, ...]


def read_state(first: bytes, second: bytes, partitions: Mapping[str, int]) -> AutobootReading:
    """Which slot is the default. Raises `SlotError` where neither copy says so with the partitions of the two slots."""
    one, two = (_default(copy, partitions) for copy in (first, second))
    default = one or two
    if default is None:
        numbers = " and ".join(str(partitions[slot]) for slot in sorted(partitions))
        raise SlotError(
            f"neither autoboot.txt nor autoboot.bak boots one of partitions {numbers} and tries the other; write both anew "
            "with the slot that is known to be good (docs/raspberry-pi.md, autoboot.txt)"
        )
    order = (0, 1) if one is None else (1, 0)
    return AutobootReading(default, tuple(i for i in order if (one, two)[i] != default))


def autoboot_for(default: str, partitions: Mapping[str, int]) -> Autoboot:
    """The file's content when `default` boots and the other slot is tried by the flag."""
    (other,) = (slot for slot in partitions if slot != default)
    return Autoboot(partitions[default], partitions[other])


def _default(data: bytes, partitions: Mapping[str, int]) -> str | None:
    autoboot = decode(data)
    return next((slot for slot in partitions if autoboot == autoboot_for(slot, partitions)), None)
