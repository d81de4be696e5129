"""The boot port: what the node needs from whatever starts the machine.

Every backend keeps the suite in tests/fruitd/boot/contract.py. The calls block for as long as the medium needs; the daemon
makes them in a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fruitd.boot_facts import BootFacts


class BootBackend(Protocol):
    """A boot loader, as the node sees it. Every change is durable when the call returns, or has not happened or is retried:
    a power cut in the middle leaves a boot environment that says either the old or the new."""

    def facts(self) -> BootFacts:
        """What the loader and this boot say now. Raises `SlotError` where they cannot be read at all."""
        ...

    def arm(self, slot: str) -> None:
        """Let the next boot, and no boot after it, try `slot`. May be repeated. Raises `RetryError` if it cannot be written."""
        ...

    def commit(self, slot: str) -> None:
        """Make `slot` the default, with nothing armed. May be repeated. Raises `RetryError` if it cannot be written."""
        ...

    def mend(self) -> None:
        """Write a copy of the boot environment that has gone bad anew from the good one; change nothing else.

        Called at every start: a second copy may go bad too. Raises `RetryError` if it cannot be written.
        """
        ...

    def restart_command(self) -> Sequence[str] | None:
        """The command that restarts the machine; None where the daemon restarts by ending with `EXIT_RESTART`."""
        ...
