"""The keeper in the daemon's own process: one user owns everything, so nothing is lent and nothing is judged twice.

For the demo, tests and nodes without a user of their own for the daemon. What it asks of a slot is the same: read back whole
before it is armed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fruitd.boot.port import BootBackend
from fruitd.boot_facts import BootFacts
from fruitd.keeper.port import Proof
from fruitd.keeper.restart import run_restart_command
from fruitd.slots import read_back, slot


class OwnKeeper:
    """`SlotKeeper` that does everything itself.

    Args:
        boot: the boot backend.
        slots: path of each slot.
        restart_command: the owner's; empty: the boot backend's, if it has one.
    """

    def __init__(
        self, boot: BootBackend, slots: Mapping[str, Path], restart_command: Sequence[str] = ()
    ) -> None:
        self._boot = boot
        self._slots = dict(slots)
        self._restart_command = tuple(restart_command)

    def facts(self) -> BootFacts:
        """See `SlotKeeper.facts`."""
        return self._boot.facts()

    def paths(self) -> Mapping[str, Path]:
        """See `SlotKeeper.paths`."""
        return dict(self._slots)

    def slot_bytes(self, slot: str) -> int:
        """See `SlotKeeper.slot_bytes`."""
        return self._inspect(slot, 0).size_bytes

    def lend(self, slot: str, image_bytes: int) -> None:
        """See `SlotKeeper.lend`."""
        self._inspect(slot, image_bytes)

    def check(
        self,
        slot: str,
        proof: Proof,
        leaves: bytes,
        length_bytes: int,
        tell: Callable[[float], None],
        checkpoint: Callable[[], None],
    ) -> list[int]:
        """See `SlotKeeper.check`."""
        return read_back.check_blocking(self._slots[slot], leaves, length_bytes, tell, checkpoint)

    def arm(self, slot: str, infohash: bytes) -> None:
        """See `SlotKeeper.arm`."""
        self._boot.arm(slot)

    def commit(self, slot: str) -> None:
        """See `SlotKeeper.commit`."""
        self._boot.commit(slot)

    def restart(self) -> bool:
        """See `SlotKeeper.restart`."""
        command = self._restart_command or self._boot.restart_command()
        if command is None:
            return False
        run_restart_command(command)
        return True

    def _inspect(self, name: str, image_bytes: int) -> slot.Slot:
        active = self._slots.get(self._boot.facts().active)
        return slot.inspect(self._slots[name], active=active, image_bytes=image_bytes)
