"""What the model of transfers remembers: an image on a node, its connections, and pieces on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from swarm.address import Address
from swarm.transfer.fabric import ModelImage, Pipe
from swarm.transfer.port import BLOCK_BYTES, ImageJob, Source, TransferPeer

if TYPE_CHECKING:
    from swarm.transfer.model import ModelTransfer


@define(eq=False)
class Run:
    """Pieces on their way from a giver to a taker. Without pieces: the taker waits for a giver that has gone silent."""

    giver: ModelTransfer
    taker: ModelTransfer
    pieces: dict[int, list[int]] = field(factory=dict)
    """Piece, and the blocks of it that are asked for."""
    pipes: tuple[Pipe, ...] = ()
    rate_bytes_per_s: float = 0.0
    size_bytes: int = 0
    over: bool = False

    def leave_pipes(self) -> None:
        """Nothing of this run is on its way any more. Said again by the other end, it changes nothing."""
        if self.over:
            return
        self.over = True
        for pipe in self.pipes:
            pipe.flows -= 1


@define(eq=False)
class Connection:
    """Between two transfers, about one image."""

    dialler: ModelTransfer
    listener: ModelTransfer
    runs: dict[ModelTransfer, Run] = field(factory=dict)
    """By taker."""

    def other(self, one: ModelTransfer) -> ModelTransfer:
        """The end that is not this one."""
        return self.listener if one is self.dialler else self.dialler


@define(eq=False)
class Task:
    """One image on one node."""

    owner: ModelTransfer
    job: ImageJob
    image: ModelImage
    have: bytearray
    """One byte per piece."""
    needed: dict[int, None]
    """Pieces neither here nor on their way, in the order in which they are asked for."""
    believed: list[set[int]] = field(factory=list)
    """Per piece, its blocks that are in place but not checked yet."""
    connections: dict[Address, Connection] = field(factory=dict)
    offered: dict[Address, TransferPeer] = field(factory=dict)
    banned: set[Address] = field(factory=set)
    sources: dict[bytes, Source] = field(factory=dict)
    near_only: bool = False
    received_bytes: int = 0
    wasted_bytes: int = 0
    sent_bytes: int = 0

    @property
    def whole(self) -> bool:
        """Is every piece here and checked?"""
        return 0 not in self.have

    def blocks_of(self, piece: int) -> range:
        """Numbers of the blocks of a piece."""
        first = piece * self.image.piece_blocks
        return range(first, min(first + self.image.piece_blocks, len(self.image.blocks)))

    def block_bytes(self, block: int) -> int:
        """The last block may be short."""
        return min(BLOCK_BYTES, self.job.length_bytes - block * BLOCK_BYTES)
