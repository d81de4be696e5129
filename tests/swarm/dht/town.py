"""Many nodes' ends of the table in one process, on trio's virtual clock, over a network with delay and loss. Test harness."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import trio
import trio_asyncio
from trio.testing import MockClock

from swarm.address import Address
from swarm.discovery.dht.fence import Fence, Wanted
from swarm.discovery.dht.finding import Finding, Held, Search, Verdict, judge
from swarm.discovery.dht.lookup import Lookup
from swarm.discovery.dht.messages import VALUE_BYTES_MAX, Ask, Told
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.wire import decode_datagram, encode, fitted
from tests.swarm.core.village import node_id, verdict

NEWEST = Wanted("manifest", b"stable")


def place(number: int) -> Address:
    return Address(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}", 47101)


class Citizen:
    """One node: its end of the table, its store, and what it heard. `open`: others can be told of it."""

    def __init__(self, town: Town, number: int, *, is_open: bool = True) -> None:
        self.town = town
        self.number = number
        self.address = place(number)
        self.node_id = node_id(number)
        self.open = is_open
        self.alive = True
        self.store = RecordStore(verdict)
        self.search: Search | None = None
        self.sent = 0
        self.fence = Fence(
            self.node_id, self, random.Random(f"{town.seed}/{number}"), trio.current_time, town.loop
        )

    # what a fence asks of its surroundings

    def say(self, message: Ask | Told, destination: Address) -> None:
        self.sent += 1
        told = fitted(message) if isinstance(message, Told) else message
        self.town.carry(self.address, destination, told)

    def value(self, kind: str, key: bytes, asker: Address) -> bytes:
        entry = self.store.get(kind, key)
        encoded = entry.records[0].encode() if entry is not None else b""
        return encoded if len(encoded) <= VALUE_BYTES_MAX else b""

    def is_open(self) -> bool:
        return self.open

    def answered(self, told: Told, source: Address) -> None:
        if self.search is None:
            return
        if not told.value:
            self.search.heard(source, Verdict.NOTHING)
            return
        record = Record.decode(told.value)
        with contextlib.suppress(RefusedError):
            self.store.offer(record)
        self.search.heard(source, judge(record.sequence, record.content_hash, self.held()), record.sequence)

    def held(self) -> Held | None:
        entry = self.store.get("manifest", b"stable")
        return (
            Held(entry.sequence, frozenset(r.content_hash for r in entry.records))
            if entry is not None
            else None
        )

    # what a test does with it

    def receive(self, message: Ask | Told, source: Address) -> None:
        if isinstance(message, Ask):
            self.fence.on_ask(message, source)
        else:
            self.fence.on_told(message, source)

    async def look_up(
        self, target: bytes | Wanted, seeds: Sequence[Address] = ()
    ) -> tuple[list[Any], Lookup]:
        lookup = Lookup(self.fence, random.Random(self.number), target)
        found = await trio_asyncio.aio_as_trio(lookup.run)(seeds)
        return found, lookup

    async def newest(self, seeds: Sequence[Address] = ()) -> Finding:
        self.search = Search("manifest of channel stable")
        _, lookup = await self.look_up(NEWEST, seeds)
        search, self.search = self.search, None
        return search.finding(lookup.asked, self.held())

    async def join(self, seeds: Sequence[Address]) -> None:
        """As a node does at its start: look for itself, then for a place somewhere."""
        await self.look_up(self.node_id, seeds)
        await self.look_up(random.Random(f"join {self.number}").randbytes(20), seeds)


class Town:
    """The network. `loss` for each datagram; delays in seconds, one way."""

    def __init__(
        self, loop: Any, nursery: trio.Nursery, seed: int, loss: float, delay_s: tuple[float, float]
    ) -> None:
        self.loop = loop
        self.seed = seed
        self.loss = loss
        self.rng = random.Random(seed)
        self._nursery = nursery
        self._delay_s = delay_s
        self.citizens: dict[Address, Any] = {}
        self.carried = 0
        self.bytes_max = 0

    def add(self, number: int, **how: Any) -> Citizen:
        citizen = Citizen(self, number, **how)
        self.citizens[citizen.address] = citizen
        return citizen

    def carry(self, source: Address, destination: Address, message: Ask | Told) -> None:
        """Through the real encoding, and only between the living."""
        data = encode(message)
        self.carried += 1
        self.bytes_max = max(self.bytes_max, len(data))
        if self.rng.random() < self.loss:
            return
        self.loop.call_later(self.rng.uniform(*self._delay_s), self._arrive, source, destination, data)

    def _arrive(self, source: Address, destination: Address, data: bytes) -> None:
        target = self.citizens.get(destination)
        if target is not None and target.alive:
            message = decode_datagram(data)
            assert isinstance(message, Ask | Told)
            target.receive(message, source)


def in_town(
    story: Callable[[Town], Any],
    seed: int = 1,
    loss: float = 0.0,
    delay_s: tuple[float, float] = (0.02, 0.08),
) -> Any:
    """Run `story(town)` on the virtual clock; what it returns."""

    async def main() -> Any:
        # trio orders ready tasks at random; with this it does not, and a seed tells everything.
        trio._core._run._r = random.Random(seed)  # type: ignore[attr-defined]
        async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
            result = await story(Town(loop, nursery, seed, loss, delay_s))
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def found(town: Town, numbers: int, seeds: int = 5) -> list[Citizen]:
    """A town of so many open nodes, each of which joined by some that were there before."""
    everyone: list[Citizen] = []
    for number in range(1, numbers + 1):
        citizen = town.add(number)
        before = town.rng.sample(everyone, min(seeds, len(everyone)))
        await citizen.join([c.address for c in before])
        everyone.append(citizen)
    return everyone
