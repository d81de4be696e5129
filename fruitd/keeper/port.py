"""The keeper port: what the daemon asks of whoever holds the slots and the boot environment.

Two keep it: `OwnKeeper` in the daemon's own process, where one user owns everything (demo, tests, nodes without a separate
user); `KeeperClient`, which asks the small privileged process of `fruitd.keeper.server`. All calls block; the daemon makes them
in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from attrs import frozen

from fruitd.boot_facts import BootFacts


@frozen
class Proof:
    """Why a slot may be booted: what the maintainers signed, as it travelled. Judged anew by the keeper."""

    infohash: bytes
    """Of the image, 32 bytes."""
    torrent: bytes
    """The torrent file++ of the image."""
    manifest: bytes
    """The record that names the image; empty where there is none any more, for a slot that was proved before."""
    roots: tuple[bytes, ...] = ()
    """Records of the trust roots that follow the one on the node's card, in order."""


class SlotKeeper(Protocol):
    """Whoever may write the slots. Each change is durable when the call returns."""

    def facts(self) -> BootFacts:
        """What the boot loader and this boot say now. Raises `SlotError` where they cannot be read at all."""
        ...

    def paths(self) -> Mapping[str, Path]:
        """Where the daemon finds each slot, for the life of this keeper. Raises `SlotError` where there is none."""
        ...

    def slot_bytes(self, slot: str) -> int:
        """Size of a slot that could be written. Raises `SlotError` in words where it could not."""
        ...

    def lend(self, slot: str, image_bytes: int) -> None:
        """Let the daemon write `slot`; from now on nothing is known of what it holds. May be repeated.

        Raises:
            SlotError: it is the active slot, mounted, claimed, read-only, missing or too small.
            RetryError: that nothing is known of it any more could not be written down.
        """
        ...

    def check(
        self,
        slot: str,
        proof: Proof,
        leaves: bytes,
        length_bytes: int,
        tell: Callable[[float], None],
        checkpoint: Callable[[], None],
    ) -> list[int]:
        """End the loan, read the slot back whole and compare it with the image.

        Args:
            slot: the slot.
            proof: why this image may boot.
            leaves: of the image, 32 bytes for each block; the caller has checked their root.
            length_bytes: of the image.
            tell: called with 0..1 as the work goes on.
            checkpoint: called about once per MiB; may raise to cancel.

        Returns:
            Blocks that are wrong or cannot be read; empty where the slot holds the image and may be armed.

        Raises:
            RefusedError: the proof does not hold.
            SlotError: the slot cannot be opened or flushed.
        """
        ...

    def arm(self, slot: str, infohash: bytes) -> None:
        """Let the next boot, and no boot after it, try `slot`, which was checked for this image. May be repeated.

        Raises:
            RefusedError: it was not checked for this image, or was lent since.
            RetryError: the boot environment cannot be written.
        """
        ...

    def commit(self, slot: str) -> None:
        """Make `slot` the default, with nothing armed. May be repeated.

        Raises:
            RefusedError: it does not run and is not known to be good.
            RetryError: the boot environment cannot be written.
        """
        ...

    def restart(self) -> bool:
        """Restart the machine; False where the daemon restarts it by ending with `EXIT_RESTART`.

        Raises `RetryError` where the restart command cannot be run or says no.
        """
        ...
