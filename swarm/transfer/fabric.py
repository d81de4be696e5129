"""The virtual network under `swarm.transfer.model`: who reaches whom, over which pipes, and what time it is.

A world gives `Paths` and each node a `BlockStorage`; transfers attach themselves by address.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Protocol

from attrs import define, frozen

from swarm.address import Address

if TYPE_CHECKING:
    from swarm.transfer.model import ModelTransfer

RUN_BYTES = 1024 * 1024
"""Moved by one event. Larger runs the world faster; smaller shows better how nodes serve what they have just got."""
RATE_UNBOUND = 100e6
"""Bytes/s where no pipe says otherwise."""


@frozen
class ModelImage:
    """What an image truly is."""

    blocks: Sequence[int]
    """Content number of each block of 16 KiB; the last one may stand for a short block."""
    piece_blocks: int = 16
    """Blocks in a piece, the unit that is checked."""


class BlockStorage(Protocol):
    """A node's storage as transfers see it. Any method may raise `OSError`, which stops the job."""

    def size_bytes(self, path: str) -> int:
        """How much room there is at the path."""
        ...

    def read(self, path: str, block: int) -> int:
        """Content number of a block."""
        ...

    def write(self, path: str, block: int, content: int) -> None:
        """Replace a block."""
        ...


@define(eq=False)
class Pipe:
    """Something of bounded rate that flows share evenly: a node's interface, a site's uplink."""

    rate_bytes_per_s: float
    flows: int = 0
    carried_bytes: int = 0
    """Payload that has passed, for whoever counts what crosses a line."""


@frozen
class Route:
    """The way from a giver to a taker."""

    latency_s: float
    pipes: tuple[Pipe, ...] = ()


class Paths(Protocol):
    """What the world knows about its network."""

    def reachable(self, dialler: Address, listener: Address) -> bool:
        """Can the one connect to the other, or keep a connection it once made?"""
        ...

    def route(self, giver: Address, taker: Address) -> Route:
        """The way of bytes between two that are connected."""
        ...


class Fabric:
    """The virtual network between transfers, and their clock."""

    def __init__(
        self, paths: Paths, rng: random.Random, *, run_bytes: int = RUN_BYTES, connections_max: int = 20
    ) -> None:
        self.paths = paths
        self.rng = rng
        self.run_bytes = run_bytes
        self.connections_max = connections_max
        """Per image and node, as the real session has."""
        self.now_s = 0.0
        self.images: dict[bytes, ModelImage] = {}
        self.transfers: dict[Address, ModelTransfer] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._noisy: dict[ModelTransfer, None] = {}

    def publish(self, infohash: bytes, image: ModelImage) -> None:
        """Make known what an infohash stands for."""
        self.images[infohash] = image

    def next_event_s(self) -> float | None:
        """When `advance` has something to do; None while nothing moves."""
        return self._heap[0][0] if self._heap else None

    def advance(self, now_s: float) -> list[ModelTransfer]:
        """Let time pass up to `now_s`, never backwards; returns the transfers that have events to take."""
        while self._heap and self._heap[0][0] <= now_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
        self.now_s = max(self.now_s, now_s)
        noisy, self._noisy = list(self._noisy), {}
        return noisy

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do this at a virtual time from now."""
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._order), action))

    def tell(self, transfer: ModelTransfer) -> None:
        """This transfer has events."""
        self._noisy[transfer] = None
