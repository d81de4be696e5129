"""The `grub` boot backend: GRUB 2 with `packaging/grub/grub.cfg`, and its two environment blocks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fruitd.boot.environment import slot_named
from fruitd.boot.grubenv import BLOCK_BYTES, GrubReading, GrubState, changed_block, encode_block, read_state
from fruitd.boot.medium import FileMedium, Medium, overwrite_sectors, read_whole
from fruitd.boot.running import Places, read_boot_id, running_slot
from fruitd.boot_facts import BootFacts
from fruitd.errors import RetryError, SlotError
from swarm.durable import sync_folder

COPY_SUFFIX = ".copy"
RESTART_COMMAND = ("/sbin/reboot",)


def grub_media(env: Path) -> tuple[Medium, Medium]:
    """`grubenv`, and `grubenv.copy` beside it."""
    return FileMedium(env), FileMedium(env.with_name(env.name + COPY_SUFFIX))


def create_grub_environment(env: Path, default: str) -> None:
    """Make both blocks, with nothing armed, in a folder that has neither. Raises `RetryError`."""
    block = changed_block(encode_block({}), GrubState(slot_named(default), None))
    for path in (env, env.with_name(env.name + COPY_SUFFIX)):
        try:
            with path.open("xb") as file:
                file.write(block)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)
        except OSError as error:
            raise RetryError(f"boot environment {path} cannot be made: {error.strerror}") from error


def read_grub_state(media: tuple[Medium, Medium]) -> GrubReading:
    """What GRUB will do. Raises `SlotError` where no copy says."""
    first, second = (_block(medium) for medium in media)
    return read_state(first, second)


def write_grub_state(media: tuple[Medium, Medium], state: GrubState) -> None:
    """Change what GRUB will do; durable at return. Raises `RetryError`; then the old state counts, or the new one.

    A bad copy is mended first, with what counts and while the other copy says it too: one names the default at every moment.
    Then `grubenv` is changed, by one sector, and `grubenv.copy` follows it.
    """
    mend_grub_environment(media)
    _put(media[0], state)
    _put(media[1], GrubState(state.default, None))


def mend_grub_environment(media: tuple[Medium, Medium]) -> None:
    """Write bad copies anew; GRUB does the same afterwards as before. Raises `RetryError`."""
    reading = read_grub_state(media)
    for index in reading.bad:
        _put(media[index], reading.state if index == 0 else GrubState(reading.state.default, None))


def _put(medium: Medium, state: GrubState) -> None:
    old = _block(medium)
    if len(old) != BLOCK_BYTES:
        raise RetryError(
            f"{medium.where} has {len(old)} bytes, an environment block has {BLOCK_BYTES}; "
            f"make it anew: rm {medium.where}; grub-editenv {medium.where} create"
        )
    overwrite_sectors(medium, old, changed_block(old, state))


def _block(medium: Medium) -> bytes:
    """What is there: a copy that cannot be read is a bad one, as it is to GRUB."""
    try:
        return read_whole(medium, BLOCK_BYTES + 1)
    except SlotError:
        return b""


class GrubBackend:
    """`BootBackend` on GRUB. `slots` are the devices of the two slots, to check what GRUB says it started."""

    def __init__(
        self, media: tuple[Medium, Medium], slots: Mapping[str, Path], places: Places | None = None
    ) -> None:
        places = Places() if places is None else places
        self._media = media
        self._boot_id = read_boot_id(places)
        self._active = running_slot(slots, places, told_by="GRUB")

    def facts(self) -> BootFacts:
        """See `BootBackend.facts`."""
        state = read_grub_state(self._media).state
        return BootFacts(self._boot_id, self._active, state.default, state.armed)

    def arm(self, slot: str) -> None:
        """See `BootBackend.arm`. GRUB takes the word back, on disk, before it starts the slot."""
        write_grub_state(self._media, GrubState(read_grub_state(self._media).state.default, slot_named(slot)))

    def commit(self, slot: str) -> None:
        """See `BootBackend.commit`."""
        write_grub_state(self._media, GrubState(slot_named(slot), None))

    def mend(self) -> None:
        """See `BootBackend.mend`."""
        mend_grub_environment(self._media)

    def restart_command(self) -> Sequence[str]:
        """See `BootBackend.restart_command`."""
        return RESTART_COMMAND
