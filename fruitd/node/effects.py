"""What the node core asks its host (the daemon, or the simulated world) to do, beside what swarm and updater define.

Carried out in order. Effects that take time are answered by a call back into the core, named at each.
"""

from __future__ import annotations

from attrs import frozen

from fruitd.updater.effects import ArmSlot, CommitSlot, Note, RestartNode, SaveJournal, WatchHealth
from fruitd.updater.journal import Target
from swarm.effects import OpenStream, RecordAccepted, RecordForgotten, Refused, SendDatagram
from swarm.transfer.port import TransferPeer


@frozen
class KeepTorrent:
    """Make this torrent file++ durable under its SHA-256 (hex)."""

    sha256: str
    raw: bytes


@frozen
class FillSlot:
    """Put blocks in place that `sources` (paths beside the active slot) or the slot itself hold.

    Answered by `NodeCore.slot_prepared` or `NodeCore.step_failed`.
    """

    target: Target
    slot: str
    leaves: bytes
    sources: tuple[str, ...]


@frozen
class StartFetch:
    """Fetch into the slot through the transfer port. Answered by `image_arrived` or `step_failed`."""

    target: Target
    slot: str
    torrent: bytes
    blocks_present: bytes


@frozen
class CheckSlot:
    """Flush and read the slot back against the leaves. Answered by `read_back` or `step_failed`."""

    target: Target
    slot: str
    leaves: bytes


@frozen
class StopJob:
    """Cancel whatever runs for this image (filling, fetching, reading back); bytes stay in place."""

    infohash: str


@frozen
class StartSeed:
    """Serve the image from `slot`, or from the image file `path` where `slot` is None. It is whole and verified."""

    infohash: str
    torrent: bytes
    length_bytes: int
    slot: str | None
    path: str | None


@frozen
class StopSeed:
    """Serve this image no more."""

    infohash: str


@frozen
class KeepShare:
    """Remember across restarts that the image file at `path` is shared (None: forget it)."""

    infohash: str
    torrent_sha256: str
    path: str | None


@frozen
class OfferPeers:
    """Tell the transfer who holds the image."""

    infohash: str
    peers: tuple[TransferPeer, ...]


@frozen
class MakeLeaves:
    """Hash the image at `slot` or `path` into leaves, in the background.

    Answered by `leaves_made`, with b"" where the image cannot be read.
    """

    pieces_root: bytes
    length_bytes: int
    slot: str | None
    path: str | None


NodeEffect = (
    SendDatagram
    | OpenStream
    | RecordAccepted
    | RecordForgotten
    | Refused
    | SaveJournal
    | KeepTorrent
    | FillSlot
    | StartFetch
    | CheckSlot
    | StopJob
    | StartSeed
    | StopSeed
    | KeepShare
    | OfferPeers
    | MakeLeaves
    | ArmSlot
    | RestartNode
    | WatchHealth
    | CommitSlot
    | Note
)
