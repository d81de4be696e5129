"""What a boot backend knows about the boot that is running: the word shared by boot backends and the updater."""

from __future__ import annotations

from attrs import frozen


@frozen
class BootFacts:
    """One boot of this node, as its boot backend sees it."""

    boot_id: str
    """Different at every boot, the same for the whole of one."""
    active: str
    """Slot that is running."""
    default: str
    """Slot that boots when nothing is armed."""
    armed: str | None
    """Slot that the next boot will try once; None after the try was used up."""
