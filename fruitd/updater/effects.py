"""What the updater asks the node to do. Carried out in order; all of them may be repeated without harm."""

from __future__ import annotations

from attrs import frozen

from fruitd.updater.journal import Journal, Target


@frozen
class SaveJournal:
    """Make this durable before anything behind it begins. If it cannot be saved, what is behind it is not done."""

    journal: Journal


@frozen
class FetchTorrent:
    """Get the torrent file++ by its SHA-256, check it: answered by TorrentReady, TorrentRefused or StepFailed."""

    target: Target


@frozen
class PrepareSlot:
    """Put blocks in place that the node already holds: answered by SlotPrepared or StepFailed."""

    target: Target
    slot: str


@frozen
class FetchImage:
    """Fetch what is missing straight into the slot: answered by ImageArrived or StepFailed."""

    target: Target
    slot: str


@frozen
class StopWork:
    """Stop fetching, preparing or reading back this image; what is in the slot stays there."""

    infohash: str


@frozen
class ReadBack:
    """Flush, then read the whole slot back: answered by ReadBackPassed, ReadBackFailed or StepFailed."""

    target: Target
    slot: str


@frozen
class ArmSlot:
    """Boot this slot once, at the next boot only: answered by SlotArmed or StepFailed."""

    slot: str
    infohash: str


@frozen
class RestartNode:
    """Restart the machine (with the `file` backend: let the boot chooser run again)."""

    why: str


@frozen
class WatchHealth:
    """Sample health until told otherwise: answered by Health, again and again."""

    on: bool


@frozen
class CommitSlot:
    """Make this slot the default: answered by SlotCommitted or StepFailed."""

    slot: str


@frozen
class Seed:
    """The slot holds this image, verified: serve it. None: serve nothing from slots."""

    target: Target | None
    slot: str | None


@frozen
class Note:
    """A line of the node's history, in words."""

    what: str
    why: str
    release: int | None = None
    version: str | None = None


Effect = (
    SaveJournal | FetchTorrent | PrepareSlot | FetchImage | StopWork | ReadBack | ArmSlot
    | RestartNode | WatchHealth | CommitSlot | Seed | Note
)  # fmt: skip
