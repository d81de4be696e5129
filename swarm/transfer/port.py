"""The transfer port: moves an image's bytes between this node's storage and its peers'.

Two implementations keep one contract suite: `libtorrent_transfer` (real) and `model` (virtual time).
Nothing here blocks. An image is identified by its BitTorrent v2 infohash (32 bytes, SHA-256).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from swarm.address import Address

BLOCK_BYTES = 16 * 1024
"""BEP-52 leaf: the unit that is hashed, asked for and reused."""


@frozen
class ImageJob:
    """One image and where its bytes live on this node."""

    torrent: bytes
    """The torrent file++, raw."""
    infohash: bytes
    path: str
    """Slot (file or block device) or image file; the image is its first `length_bytes`."""
    length_bytes: int
    streamed: bool = False
    """Tell of each piece as it comes: somebody uses them one by one."""
    cautious_bytes_per_s: int = 0
    """Not 0: whether it is of any use is known only when its beginning has come. Until `hurry` it comes from its beginning on,
    and no faster."""


@frozen
class TransferPeer:
    """A peer that says it holds the image, or part of it."""

    node_id: bytes
    address: Address
    same_site: bool
    shut: bool = False
    """No plain dial gets through to it: it may be knocked at, and takes its turn like others."""


@frozen
class Source:
    """What one peer has given us for one image."""

    node_id: bytes
    """20 bytes; zeros where the peer did not say."""
    address: Address
    same_site: bool
    received_bytes: int
    rate_bytes_per_s: float


def by_way(sources: Iterable[Source]) -> tuple[int, int]:
    """Bytes from this site, and from others."""
    near = far = 0
    for source in sources:
        if source.same_site:
            near += source.received_bytes
        else:
            far += source.received_bytes
    return near, far


@frozen
class Progress:
    """How far one image is. Payload bytes, protocol overhead not counted."""

    have_bytes: int
    """Verified or put in place beforehand, of `length_bytes`."""
    received_bytes: int
    """From peers, since the job was given."""
    wasted_bytes: int
    """Received and thrown away: failed its hash, or came twice."""
    sent_bytes: int
    receive_rate_bytes_per_s: float
    send_rate_bytes_per_s: float
    peers: int
    connected: frozenset[bytes]
    """Node ids of those that a connection stands with."""
    sources: tuple[Source, ...]


@frozen
class ImageFetched:
    """Every piece is on the path and has passed its hash; not yet flushed or read back."""

    infohash: bytes


@frozen
class TransferStopped:
    """The job cannot go on; it has been removed. `disk_full` tells the one cause that waiting can mend."""

    infohash: bytes
    why: str
    disk_full: bool = False


@frozen
class PieceRejected:
    """A piece from peers failed its hash; it will be fetched again."""

    infohash: bytes
    piece: int
    source: str


@frozen
class PieceArrived:
    """This piece of a streamed job is on the path and has passed its hash.

    May be told twice, or (where much happens at once) be left out until `ImageFetched` says it of all.
    """

    infohash: bytes
    piece: int


TransferEvent = ImageFetched | TransferStopped | PieceRejected | PieceArrived


class Transfer(Protocol):
    """What the node needs from whatever moves image bytes."""

    def fetch(self, job: ImageJob, blocks_present: bytes) -> None:
        """Begin (or begin again) to fetch into `job.path`.

        `blocks_present` is a bitmap, bit i (most significant first) set where block i is believed in place;
        a wrong bit costs a re-fetch, never a wrong image. Empty means none.
        """
        ...

    def seed(self, job: ImageJob) -> None:
        """Serve an image that is whole and verified; the path is only read."""
        ...

    def stop(self, infohash: bytes) -> None:
        """Forget the job; bytes stay where they are, and no event of it follows. Unknown infohashes are ignored.

        What is being written at this moment may still get to the path.
        """
        ...

    def hurry(self, infohash: bytes) -> None:
        """A cautious job is of use: the rest may come in any order and as fast as it can. Unknown infohashes are ignored."""
        ...

    def offer_peers(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """Connect to these too, best first; repeats are harmless."""
        ...

    def keep_near(self, infohash: bytes, mates: Sequence[TransferPeer], *, near_only: bool) -> None:
        """Say who is of this node's site: nobody's limits of the uplink hold for them.

        `near_only`: this image is exchanged with them only. Connections with others end, and none are taken, until it is
        called again. Mates are those of the whole node, whatever image they are named with.
        """
        ...

    def progress(self, infohash: bytes) -> Progress | None:
        """None for an unknown job, and for one of which nothing is known yet."""
        ...

    def uplink_bytes(self) -> tuple[int, int]:
        """Image bytes received from, and sent to, nodes of other sites since the start."""
        ...

    def events(self) -> list[TransferEvent]:
        """What happened since the last call."""
        ...

    def close(self) -> None:
        """Stop everything and flush."""
        ...
