"""GRUB's environment block: pure codec, and which of its two copies counts.

A block is 1,024 bytes: a line that names it, then `name=value` lines with a backslash before each backslash and line feed,
then `#` up to the end. It has no checksum and GRUB knows no second copy, so both are made of what GRUB has:

- Our two variables stand first, in the first sector, and their values have one length: a change is one sector that a disk
  writes whole, and a torn write of both sectors, as GRUB's own `save_env` may leave one, changes nothing else.
- `grubenv` says which slot is the default and which is armed. `grubenv.copy` says the default only. Where the first is no
  environment block, or names no default, the second is asked, and nothing is armed.

What is found after a power cut, and what it means, is a total table in docs/boot.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from fruitd.boot.environment import SLOTS
from fruitd.boot.medium import SECTOR_BYTES
from fruitd.errors import SlotError

BLOCK_BYTES = 1024
SIGNATURE = b"# GRUB Environment Block\n"
DEFAULT = "fruit_default"
ARMED = "fruit_armed"
NONE = "-"
OWN = (DEFAULT, ARMED)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What GRUB's scripts can name; anything else is rubbish that a worn sector left."""


def decode_block(block: bytes) -> dict[str, str] | None:
    """The variables as GRUB reads them: a later line wins, what is no assignment is skipped. None: GRUB would refuse it."""
    if len(block) != BLOCK_BYTES or not block.startswith(SIGNATURE):
        return None
    found: dict[str, str] = {}
    for line in _lines(block[len(SIGNATURE) :]):
        name, equals, value = line.partition(b"=")
        if equals and not line.startswith(b"#"):
            found[name.decode("latin-1")] = _unescaped(value).decode("latin-1")
    return found


def _lines(body: bytes) -> Sequence[bytes]:
    """Split at line feeds that no backslash stands before; what follows the last of them is padding, or torn."""
    lines, begin, at = [], 0, 0
    while at < len(body):
        if body[at] == ord("\n"):
            lines.append(body[begin:at])
            begin = at + 1
        at += 2 if body[at] == ord("\\") else 1
    return lines


def _unescaped(value: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(value):
        if value[at] == ord("\\") and at + 1 < len(value):
            at += 1
        out.append(value[at])
        at += 1
    return bytes(out)


def _escaped(value: str) -> bytes:
    return value.encode("latin-1").replace(b"\\", b"\\\\").replace(b"\n", b"\\\n")


def encode_block(variables: Mapping[str, str]) -> bytes:
    """A block with our variables first. Raises `SlotError` where they do not fit."""
    ordered = [name for name in OWN if name in variables] + [n for n in variables if n not in OWN]
    block = SIGNATURE
    for name in ordered:
        block += name.encode("latin-1") + b"=" + _escaped(variables[name]) + b"\n"
        if name in OWN and len(block) > SECTOR_BYTES:
            raise SlotError("the slots do not fit into the first sector of the environment block")
    if len(block) > BLOCK_BYTES:
        raise SlotError(
            f"the environment block is full: {len(block)} of {BLOCK_BYTES} bytes; remove variables"
        )
    return block.ljust(BLOCK_BYTES, b"#")


@frozen
class GrubState:
    """What GRUB will do at the next boot."""

    default: str
    armed: str | None


@frozen
class GrubReading:
    """Both copies. `state` is what counts; `bad` the copies that are to be mended, in this order: the one that counts last."""

    state: GrubState
    bad: tuple[int, ...]


def read_state(first: bytes, second: bytes) -> GrubReading:
    """What `packaging/grub/grub.cfg` makes of both copies; raises `SlotError` where neither names a default."""
    whole, spare = _state(first), _state(second)
    counts = whole or (GrubState(spare.default, None) if spare is not None else None)
    if counts is None:
        raise SlotError(
            "neither grubenv nor grubenv.copy names the default slot; write both anew with the slot that is known "
            f"to be good: grub-editenv FILE set {DEFAULT}=a {ARMED}={NONE}"
        )
    kept = GrubState(counts.default, None)
    mend_first = whole is None or not _tidy(first, whole)
    mend_second = spare != kept or not _tidy(second, kept)
    order = (0, 1) if whole is None else (1, 0)
    return GrubReading(counts, tuple(i for i in order if (mend_first, mend_second)[i]))


def _state(block: bytes) -> GrubState | None:
    """One copy's word. GRUB cannot change a block that something else than `#` follows, so grub.cfg tries nothing there."""
    variables = decode_block(block)
    if variables is None or variables.get(DEFAULT) not in SLOTS:
        return None
    armed = variables.get(ARMED)
    will_try = armed in SLOTS and block.rstrip(b"#").endswith(b"\n")
    return GrubState(variables[DEFAULT], armed if will_try else None)


def _tidy(block: bytes, state: GrubState) -> bool:
    """True if a change of state changes this block in its first sector only."""
    return changed_block(block, state) == block


def changed_block(block: bytes, state: GrubState) -> bytes:
    """The block with another state, and whatever variables it held; a block GRUB would refuse is made anew."""
    others = {name: value for name, value in (decode_block(block) or {}).items() if _NAME.fullmatch(name)}
    return encode_block(others | {DEFAULT: state.default, ARMED: state.armed or NONE})
