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
    signer: str = ""
    """Hex of the key that signed its torrent; "" where it is not known."""


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
    cut_off: int = 0
    """Of those, how many were well as far as anybody saw, and then ended without a word: power cuts, most likely."""
    seen_well: bool | None = None
    """What was seen of health in the trial under way: nothing yet, only good, or (False) anything bad."""
    armed_boot_id: str | None = None
    """Boot id under which the target slot was armed, or the way back was asked for; another boot id means the machine has
    restarted since."""
    retry_at_s: float = 0.0
    failures: int = 0
    """Failed tries before arming (disk full, nobody there, hash failures): sets the pause before the next."""
    slots: dict[str, SlotContent | None] = field(factory=lambda: dict.fromkeys(SLOTS))
    quarantined: tuple[Quarantine, ...] = ()
    highest_release: int = 0
    """Highest release accepted for this node's resource; an older one is never installed while `highest_signer` holds a release
    key."""
    highest_signer: str = ""
    """Hex of the key that signed the torrent of `highest_release`; "" where it is not known, which counts as one that does."""
    held_why: str | None = None
    """Set while an operator holds updates on this node."""
    disputed_why: str | None = None
    """Set while two valid manifests contradict each other; the next offer clears it."""
    pending: Target | None = None
    """Newest release offered while a trial was under way; considered when that ends."""
    trial_passed: bool = False
    """The trial of `target` in `target_slot` saw sustained health: what is left is to commit the slot."""
    starts: int = 0
    """Times the daemon has started on the way to a trial boot or in it, since the last step that counts. A loop guard."""
    rollback: bool = False
    """`target` is what the operator's rollback asked for: a hold does not stop it, its age does not matter."""
    succeeded: tuple[str, ...] = ()
    """Images that were committed on this node, the latest last: never quarantined by the node itself."""
    factory_slot: str | None = None
    """Slot that ran, as the default, when this journal was new, until it is written to. Known good, content not known."""

    def running(self, active: str) -> SlotContent | None:
        """What is known of the slot that is running."""
        return self.slots.get(active)

    def quarantine_of(self, infohash: str) -> Quarantine | None:
        """The entry for this image, if it is quarantined."""
        return next((q for q in self.quarantined if q.infohash == infohash), None)

    def holds_target(self) -> bool:
        """True if the target slot was read back whole for this very target."""
        if self.target is None or self.target_slot is None:
            return False
        content = self.slots[self.target_slot]
        return content is not None and content.target == self.target

    def known_good(self, slot: str) -> bool:
        """True if this slot once survived a trial, or is the factory's, and holds nothing that is quarantined."""
        content = self.slots[slot]
        if content is None:
            return self.factory_slot == slot
        return content.committed and self.quarantine_of(content.target.infohash) is None
