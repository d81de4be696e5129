"""What the updater must remember across a power cut: one small document, saved before the effects that rely on it."""

from __future__ import annotations

from enum import StrEnum

from attrs import field, frozen


class State(StrEnum):
    """Where the life of the current update stands (design 6)."""

    IDLE = "idle"
    OFFERED = "offered"
    WAITING = "waiting"
    REUSING = "reusing"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    ARMED = "armed"
    REBOOTING = "rebooting"
    TRIAL = "trial"
    COMMITTED = "committed"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"
    QUARANTINED = "quarantined"


SLOTS = ("a", "b")


def other_slot(slot: str) -> str:
    """The slot that is not this one."""
    return "b" if slot == "a" else "a"


@frozen
class Target:
    """The release an update is about: what the manifest says of it, as far as the updater needs it."""

    resource: str
    release: int
    version: str
    compatible: tuple[str, ...]
    length_bytes: int
    infohash: str
    """Hex, 64 characters; names the image everywhere in the node."""
    torrent_sha256: str
    """Hex."""
    torrent_bytes: int
    signer: str
    """Hex of the Ed25519 public key that must have signed the torrent."""


@frozen
class SlotContent:
    """What a slot holds. A slot that is being written holds nothing anyone may rely on: its entry is None."""

    target: Target
    committed: bool
    """True once this very slot survived a trial boot."""


@frozen
class Quarantine:
    """A release this node will not try again by itself."""

    infohash: str
    release: int
    version: str
    why: str
    at_s: float
    attempts: int


@frozen
class Journal:
    """All the updater knows. `slots` maps "a" and "b" to their content, or None."""

    state: State = State.IDLE
    why: str = "nothing has been offered yet"
    since_s: float = 0.0
    target: Target | None = None
    target_slot: str | None = None
    attempts: int = 0
    """Trial boots begun for `target`; counted before the boot environment is touched."""
    armed_boot_id: str | None = None
    """Boot id under which the target slot was armed; another boot id means the machine has restarted since."""
    retry_at_s: float = 0.0
    failures: int = 0
    """Failed tries before arming (disk full, nobody there, hash failures): sets the pause before the next."""
    slots: dict[str, SlotContent | None] = field(factory=lambda: dict.fromkeys(SLOTS))
    quarantined: tuple[Quarantine, ...] = ()
    highest_release: int = 0
    """Highest release ever accepted for this node's resource; an older one is never installed."""
    held_why: str | None = None
    """Set while an operator holds updates on this node."""
