"""What can happen to an update. Each is a fact; the updater decides what it means.

Work that `StopWork` ended gives no more answers; answers about another image than the target's are ignored.
"""

from __future__ import annotations

from attrs import frozen

from fruitd.boot_facts import BootFacts
from fruitd.updater.journal import Target


@frozen
class Started:
    """The daemon has started: at boot, or again within the same boot. Always the first event an updater gets."""

    boot: BootFacts


@frozen
class Offered:
    """A verified manifest names this release for this node's resource and hardware."""

    target: Target


@frozen
class Disputed:
    """Two valid manifests contradict each other: nothing new may begin until a higher sequence settles it."""

    why: str


@frozen
class Settled:
    """The contradiction is over: a higher sequence is believed, or one side of it is believed no more."""


@frozen
class Withdrawn:
    """The trust root changed, and no manifest that is believed names the target any more."""

    why: str


@frozen
class ReleaseKeys:
    """These keys sign releases now. Told after every start and whenever the trust root changes.

    A release whose torrent another key signed sets no floor and holds no number: an abused key that pushed the numbers up is
    got rid of by rotating it out.
    """

    signers: frozenset[str]
    """Hex."""


@frozen
class TorrentReady:
    """The torrent file++ of the target is here; both signatures verify and agree with the manifest."""

    infohash: str


@frozen
class TorrentRefused:
    """The torrent file++ contradicts the manifest or its signature fails."""

    infohash: str
    why: str


@frozen
class SlotPrepared:
    """Blocks the node already had are in place in the inactive slot, and how the rest is to come is chosen."""

    infohash: str
    reused_bytes: int
    missing_bytes: int
    """Of the image, not in place."""
    way: str = ""
    """How they come and what that costs, in words; empty: block by block, at what is missing."""


@frozen
class WayLost:
    """The way chosen leads no further; another one does. What is in the slot stays there and counts."""

    infohash: str
    why: str


@frozen
class ImageArrived:
    """Every piece is in the slot."""

    infohash: str


@frozen
class ReadBackPassed:
    """The whole slot was flushed, read back and matches the signed hash tree."""

    infohash: str


@frozen
class ReadBackFailed:
    """The slot does not hold what was written; `bad_blocks` of them."""

    infohash: str
    bad_blocks: int


@frozen
class StepFailed:
    """The step under way could not be done. `final` means this release can never fit or be used here.

    Arming, committing and restarting fail with this too; `infohash` is then that of the journal's target.
    """

    infohash: str
    why: str
    final: bool = False


@frozen
class SlotArmed:
    """The boot environment durably says: try the target slot once."""

    infohash: str


@frozen
class Health:
    """One health sample during a trial. `ok` None: it says neither; `excused` then means that the release is not to blame."""

    ok: bool | None
    why: str
    excused: bool = False


@frozen
class SlotCommitted:
    """The boot environment durably says: this slot is the default."""

    slot: str


@frozen
class Hold:
    """An operator on this node wants no updates for now."""

    why: str


@frozen
class Resume:
    """The operator's hold ends."""


@frozen
class HeldBack:
    """For the time being nothing may be begun or armed: the supply fails, or the other Pi of the board updates."""

    why: str


@frozen
class FreeAgain:
    """What held it back is over."""


@frozen
class Rollback:
    """The operator wants the other slot back; the release that runs now is quarantined here."""

    why: str


@frozen
class Lift:
    """The operator wants this release to be tried again, whatever was found before."""

    release: int
    why: str


@frozen
class Wakeup:
    """Time has passed."""


Event = (
    Started | Offered | Disputed | Settled | Withdrawn | ReleaseKeys | TorrentReady | TorrentRefused | SlotPrepared | WayLost
    | ImageArrived | ReadBackPassed | ReadBackFailed | StepFailed | SlotArmed | Health | SlotCommitted
    | Hold | Resume | HeldBack | FreeAgain | Rollback | Lift | Wakeup
)  # fmt: skip
