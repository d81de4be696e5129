"""What the node core asks its host (the daemon, or the simulated world) to do, beside what swarm and updater define.

Carried out in order. Effects that take time are answered by a call back into the core, named at each.
"""

from __future__ import annotations

from attrs import field, frozen

from fruitd.power.effects import KeepEnergy, KeepPower, PauseHeartbeat, SwitchBay, UpdateUsed
from fruitd.updater.effects import ArmSlot, CommitSlot, Note, RestartNode, SaveJournal, WatchHealth
from fruitd.updater.journal import Target
from swarm.effects import (
    CarryTunnel,
    CloseTunnel,
    DialWanted,
    OpenStream,
    OpenTunnel,
    RecordAccepted,
    RecordForgotten,
    Refused,
    SendDatagram,
    TableHeard,
)
from swarm.parcel.header import Parcel, Segment
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
    search: bool = True
    """Look for blocks that have moved, in the active slot and the sources; else only at what is in place."""


@frozen
class StartFetch:
    """Fetch into the slot through the transfer port. Answered by `image_arrived` or `step_failed`."""

    target: Target
    slot: str
    torrent: bytes
    blocks_present: bytes
    healing: bool = False
    """What a parcel should have made and did not, or made wrong."""


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
    parcel: bool = False
    """It is a parcel, not an image."""


@frozen
class OpenParcel:
    """Make room in the cache for a parcel of this length, and look at what an earlier try left of it.

    Answered by `parcel_opened`, or by `parcel_lost` where the disk has no room.
    """

    infohash: str
    path: str
    length_bytes: int


@frozen
class FetchParcel:
    """Fetch a parcel into the cache, piece by piece as they come, and serve it from then on.

    Answered by `parcel_piece`, `parcel_fetched` and `parcel_lost`.
    """

    infohash: str
    torrent: bytes
    path: str
    length_bytes: int
    blocks_present: bytes
    cautious_bytes_per_s: int = 0
    """Not 0: it may turn out to be of no use. From its beginning, and no faster, until `HurryParcel`."""


@frozen
class HurryParcel:
    """The parcel that is fetched cautiously is of use."""

    infohash: str


@frozen
class ReadParcelHead:
    """Read the header, if `here_bytes` from the beginning are enough for it. Answered by `parcel_head` or `parcel_lost`."""

    infohash: str
    path: str
    length_bytes: int
    here_bytes: int


@frozen
class MakeSegment:
    """Make one segment's blocks and write those that differ into the slot. Answered by `segment_made` or `step_failed`."""

    target: Target
    slot: str
    infohash: str
    """Of the parcel."""
    torrent: bytes = field(repr=False)
    """Of the parcel."""
    path: str
    """Of the parcel in the cache."""
    parcel: Parcel
    segment: Segment
    leaves: bytes = field(repr=False)
    """Of the image."""
    present: bytes = field(repr=False)
    """Bitmap of the image's blocks that are in place: those are not written."""
    sure: bool = False
    """Nothing speaks against what it makes: samples of it are compared with the leaves before it is written."""


@frozen
class DropParcel:
    """Delete a parcel from the cache."""

    path: str


@frozen
class RelayImage:
    """Fetch an image that others seek into the cache for parcels, if the disk has room, and serve it from then on.

    Answered by `image_relayed` or `relay_failed`; stopped by StopSeed.
    """

    infohash: str
    torrent: bytes = field(repr=False)
    path: str
    length_bytes: int


@frozen
class OfferPeers:
    """Tell the transfer who holds the image, and whether it may use the uplink for it.

    `peers` are those to connect to; `mates` are all of the site, whether they hold it or not: nobody else's connections are
    taken for this image while this node is not `out`.
    """

    infohash: str
    peers: tuple[TransferPeer, ...]
    mates: tuple[TransferPeer, ...] = ()
    out: bool = True


@frozen
class KeepNear:
    """Tell the transfer who is of this site: limits of the uplink do not hold for them."""

    mates: tuple[TransferPeer, ...]


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
    | OpenTunnel
    | CloseTunnel
    | CarryTunnel
    | RecordAccepted
    | RecordForgotten
    | TableHeard
    | DialWanted
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
    | KeepNear
    | MakeLeaves
    | OpenParcel
    | FetchParcel
    | HurryParcel
    | ReadParcelHead
    | MakeSegment
    | DropParcel
    | RelayImage
    | ArmSlot
    | RestartNode
    | WatchHealth
    | CommitSlot
    | Note
    | KeepPower
    | KeepEnergy
    | UpdateUsed
    | PauseHeartbeat
    | SwitchBay
)
