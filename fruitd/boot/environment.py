"""The boot environment of the `file` backend: pure codec of two copies that survive a torn write.

Each copy fills one sector of 512 bytes, the unit a disk writes whole. Text, so that a person can read it with `strings`:

    fruit-boot 1 <sequence> <default> <armed or -> <crc32 of what stands before it, 8 hex digits>\\n      then zero bytes

The copy with the higher sequence counts. A change is written over the *other* copy, so that one good copy exists at every
moment; a copy that is torn is told by its checksum. Nothing is trusted to a rename: the two copies keep their places in one
file, or at the start of a partition, as U-Boot's redundant environment does and for the same reason (a single copy has been
found torn in the field, facts of update systems, nerves_runtime issue 375).
"""

from __future__ import annotations

import zlib

from attrs import frozen

from fruitd.errors import SlotError

COPY_BYTES = 512
COPIES = 2
ENVIRONMENT_BYTES = COPY_BYTES * COPIES
SLOTS = ("a", "b")
SEQUENCE_MAX = 2**53 - 1
_MAGIC = b"fruit-boot"
_VERSION = b"1"


def slot_named(slot: str) -> str:
    """The slot, if it is one. Raises `SlotError`."""
    if slot not in SLOTS:
        raise SlotError(f"there is no slot {slot!r}, only {' and '.join(SLOTS)}")
    return slot


@frozen
class BootEnvironment:
    """Which slot boots by default, and which one is to be tried once."""

    default: str
    armed: str | None
    sequence: int = 1

    def changed(self, default: str, armed: str | None) -> BootEnvironment:
        """The environment that follows this one."""
        return BootEnvironment(default, armed, self.sequence + 1)


def encode_copy(environment: BootEnvironment) -> bytes:
    """One copy, 512 bytes."""
    words = (
        _MAGIC,
        _VERSION,
        str(environment.sequence).encode(),
        environment.default.encode(),
        (environment.armed or "-").encode(),
    )
    text = b" ".join(words) + b" "
    return (text + b"%08x\n" % zlib.crc32(text)).ljust(COPY_BYTES, b"\0")


def decode_copy(data: bytes) -> BootEnvironment | None:
    """One copy; None for anything that `encode_copy` could not have written."""
    words = data.rstrip(b"\0").split(b" ")
    if len(data) != COPY_BYTES or len(words) != 6 or words[0] != _MAGIC or words[1] != _VERSION:
        return None
    sequence, default, armed = words[2], words[3].decode("latin-1"), words[4].decode("latin-1")
    if not sequence.isdigit() or len(sequence) > 16 or default not in SLOTS or armed not in (*SLOTS, "-"):
        return None
    environment = BootEnvironment(default, None if armed == "-" else armed, int(sequence))
    if environment.sequence > SEQUENCE_MAX or encode_copy(environment) != data:
        return None
    return environment


@frozen
class Reading:
    """The environment that counts, the number of the copy that holds it, and whether the other copy is bad."""

    environment: BootEnvironment
    copy: int
    other_bad: bool


def read_copies(data: bytes) -> Reading:
    """Both copies; raises `SlotError` where neither is good: then nobody knows which slot is the good one."""
    copies = [decode_copy(data[i * COPY_BYTES : (i + 1) * COPY_BYTES]) for i in range(COPIES)]
    good = [(c.sequence, i, c) for i, c in enumerate(copies) if c is not None]
    if not good:
        raise SlotError(
            "boot environment has no good copy; write it anew with the slot that is known to be good"
        )
    _, index, environment = max(good, key=lambda g: (g[0], -g[1]))
    return Reading(environment, index, other_bad=len(good) < COPIES)
