"""The books kept on one torrent between looks at libtorrent: who was offered, who has left, which pieces were wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from swarm.address import Address
from swarm.transfer.piece_order import AHEAD_BYTES, FAST_BYTES, pieces_of
from swarm.transfer.port import ImageJob, PieceArrived, PieceRejected, TransferPeer
from swarm.transfer.sources import SourceLedger
from swarm.transfer.turns import Turns

STALL_S = 10.0
"""Two rounds of offers without a byte."""
PIECE_S_MAX = 120.0
BANNED_MAX = 8
"""Liars remembered per image, for words only."""
EAGER_LOOKS = 40
"""A parcel that comes to nothing in so many looks is on a slow line, where looking often gains nothing."""


@frozen
class Counters:
    """Bytes of one image, as libtorrent counts them from the moment it was given the torrent."""

    received: int = 0
    wasted: int = 0
    sent: int = 0

    def plus(self, status: Any) -> Counters:
        """And those of a torrent's status."""
        return Counters(
            self.received + int(status.total_payload_download),
            self.wasted + int(status.total_failed_bytes + status.total_redundant_bytes),
            self.sent + int(status.total_payload_upload),
        )


@define(eq=False)
class TorrentJob:
    """What is known of one torrent that libtorrent was given."""

    job: ImageJob
    held: int
    """File descriptor kept open: closing a block device for the last time flushes and forgets its page cache, and
    libtorrent opens and closes it for every block."""
    fetching: bool
    piece_bytes: int
    near_only: bool = False
    """Exchanged with nodes of this site only."""
    handle: Any = None
    """None until libtorrent has taken the torrent in."""
    waits: bool = False
    """libtorrent has not been told to start: it dials once a second, and at once only what it knows of at its start. So the first
    byte comes 0.6 s earlier (loopback, five tries)."""
    status: Any = None
    """What the last look found; None before the first."""
    connected: frozenset[bytes] = frozenset()
    """Node ids of those whom that look found."""
    looked_s: float = -math.inf
    asked: bool = False
    """A look is under way."""
    again: bool = False
    """Something happened since it was asked for."""
    looks: int = 0
    """Asked for so far."""
    rejected: list[tuple[int, int]] = field(factory=list)
    """Pieces that failed their hash, each with the number of the look that has to come first: it shows who was there."""
    hurried: bool = False
    """A cautious job that was found to be of use."""
    told: set[int] = field(factory=set)
    """Pieces of a streamed job that were said to have come."""
    came_bytes: int = 0
    """Of a streamed job, between the last two looks."""
    first_until: int = 0
    """Pieces of a streamed job before this one are asked for before all others."""
    prepared: frozenset[int] = frozenset()
    """Pieces of which all blocks were said to be in place."""
    turns: Turns = field(factory=lambda: Turns(STALL_S, PIECE_S_MAX))
    dialled: Sequence[TransferPeer] = ()
    """Whose turn it is."""
    leaving: bool = False
    """It is being taken out and put in again: nobody is dialled meanwhile."""
    past: Counters = field(factory=Counters)
    """What libtorrent counted before it was put in again."""
    ledger: SourceLedger = field(factory=SourceLedger)
    offered: dict[bytes, TransferPeer] = field(factory=dict)
    departed: dict[tuple[bytes, Address], None] = field(factory=dict)
    """Connections that closed since the last snapshot, in order."""
    banned: dict[str, None] = field(factory=dict)
    """Peers that libtorrent has convicted of a wrong piece, in words; not all are, so later rejections name them too."""

    @property
    def received_bytes(self) -> int:
        """From peers, right or wrong, since the job was given."""
        return self.past.plus(self.status).received

    @property
    def is_urgent(self) -> bool:
        """Is it streamed, and either new and has come to nothing yet, or comes fast?"""
        begins = self.looks < EAGER_LOOKS and (self.is_cautious or not self.told)
        return self.job.streamed and (begins or self.is_fast)

    @property
    def is_fast(self) -> bool:
        """Is it streamed, and comes so fast that it matters in which order?"""
        return self.job.streamed and self.came_bytes >= FAST_BYTES

    @property
    def is_cautious(self) -> bool:
        """Does it come from its beginning on, and slowly?"""
        return bool(self.job.cautious_bytes_per_s) and not self.hurried

    def dial(self, peers: Sequence[TransferPeer]) -> None:
        """Have these dialled; at once, if they are the first."""
        for peer in peers:
            self.handle.connect_peer((peer.address.host, peer.address.port))
        if peers:
            self.start()

    def start(self) -> None:
        """From now on, if not before, it exchanges pieces."""
        if self.waits:
            self.waits = False
            self.handle.resume()

    def tell_rejected(self, *, everything: bool) -> list[PieceRejected]:
        """Who gave the pieces that were wrong: of those for which the look that shows it has come, or of all."""
        told = [piece for piece, look in self.rejected if everything or look <= self.looks]
        self.rejected = [row for row in self.rejected if not everything and row[1] > self.looks]
        events = []
        for piece in told:
            if piece in self.prepared:
                who = "blocks that were in place"
            elif self.banned:
                who = " or ".join(self.banned)
            else:
                who = self._only_giver() or "one of several peers"
            self.prepared -= {piece}
            events.append(PieceRejected(self.job.infohash, piece, who))
        return events

    def tell_arrived(self, here: Sequence[bool]) -> list[PieceArrived]:
        """The pieces of a streamed job that were not told yet. `here`: one entry for each piece; none where nobody asked."""
        new = [piece for piece, has in enumerate(here) if has and piece not in self.told]
        self.came_bytes = sum(piece not in self.prepared for piece in new) * self.piece_bytes
        self.told.update(new)
        return [PieceArrived(self.job.infohash, piece) for piece in new]

    def to_hasten(self, here: Sequence[bool]) -> range:
        """Which pieces of a streamed job are to be asked for before all others from now on."""
        if not self.is_fast or self.is_cautious:
            return range(0)
        so_far = next((piece for piece, has in enumerate(here) if not has), len(here))
        begin = max(so_far, self.first_until)
        until = min(so_far + pieces_of(AHEAD_BYTES, self.piece_bytes), len(here))
        self.first_until = max(begin, until)
        return range(begin, until)

    def _only_giver(self) -> str | None:
        givers = {(total.node_id, total.address) for total in self.ledger.totals()} | set(self.departed)
        return named(*givers.pop()) if len({node_id for node_id, _ in givers}) == 1 else None

    def on_banned(self, address: Address) -> None:
        """libtorrent convicted whoever listens there. It does not say who that is where the connection is gone already."""
        self.turns.banned(address)
        ids = [peer.node_id for peer in self.offered.values() if peer.address == address]
        if len(self.banned) < BANNED_MAX:
            self.banned[named(ids[0], address) if ids else f"a peer at {address}"] = None


def named(node_id: bytes, address: Address) -> str:
    """How a peer is called in words."""
    return f"node {node_id.hex()[:12]} at {address}"
