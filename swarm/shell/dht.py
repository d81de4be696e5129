"""The distributed hash table on a real node: loads `kademlia` when there is a reason to, carries its questions, follows the plan.

`kademlia` runs on an asyncio loop under trio (trio-asyncio); its datagrams leave by the node's own control port. A node whose LAN
is enough for it never loads any of this.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import trio
from attrs import evolve, frozen

from swarm.address import Address
from swarm.discovery.dht.finding import Finding, Held, Search, Verdict, judge
from swarm.discovery.dht.messages import VALUE_BYTES_MAX, Ask, Told
from swarm.discovery.dht.plan import REFRESH_S, Plan, Situation, Step
from swarm.discovery.reach import QUORUM, Reach
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.shell.sockets import local_host
from swarm.wire import Datagram, Have, fitted

if TYPE_CHECKING:
    from swarm.discovery.dht.fence import Fence

MANIFEST = "manifest"
WAITING_MAX = 256
"""Messages waiting to be looked at; more are lost, as datagrams are."""
LOOK_S = 60.0
"""How often a node that waits looks whether its situation has changed."""
STALE_RANGES_MAX = 4
"""Ranges looked into at one refresh."""
TOLD_ON_MAX = 16
"""Nodes found that are asked for a hello."""


class Surroundings(Protocol):
    """What the table needs of its node."""

    store: RecordStore

    def say(self, message: Datagram, destination: Address) -> None:
        """Send one datagram from the control port."""
        ...

    def hear_of(self, addresses: Sequence[Address]) -> None:
        """Nodes of this swarm were found there."""
        ...

    def found(self, finding: Finding) -> None:
        """A lookup of the newest manifest has ended."""
        ...

    def situation(self) -> Situation:
        """What the plan goes by."""
        ...

    def seeds(self) -> list[Address]:
        """Contacts, and some peers, to begin a lookup with."""
        ...


@frozen
class DhtView:
    """How it stands, for people."""

    awake: bool
    contacts: int
    open: bool
    reach: str
    newest: Finding | None


class DhtShell:
    """One node's part in the table.

    Args:
        node_id: of this node.
        port: its control port.
        channel: whose newest manifest is looked for.
        surroundings: the node.
        reach: what peers say of this node's address is told to it.
        clock: steady seconds.
    """

    def __init__(
        self,
        node_id: bytes,
        port: int,
        channel: str,
        surroundings: Surroundings,
        reach: Reach,
        rng: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._node_id = node_id
        self._port = port
        self._channel = channel
        self._around = surroundings
        self._reach = reach
        self._rng = rng
        self._clock = clock
        self._plan = Plan(rng, clock())
        self._fence: Fence | None = None
        self._search: Search | None = None
        self._newest: Finding | None = None
        self._inbox, self._outbox = trio.open_memory_channel[tuple[Ask | Told, Address]](WAITING_MAX)
        self._changed = trio.Event()

    # ------------------------------------------------------------------ what the node tells it

    def heard(self, message: Ask | Told, source: Address) -> None:
        """A message for the table came from `source`; whoever asks wakes it."""
        try:
            self._inbox.send_nowait((message, source))
        except trio.WouldBlock:
            return
        if isinstance(message, Ask):
            self._changed.set()

    def changed(self) -> None:
        """Contacts have come, or peers: look whether there is something to do."""
        self._changed.set()

    def view(self) -> DhtView:
        """How it stands."""
        now_s = self._clock()
        contacts = len(self._fence.router.contacts()) if self._fence is not None else 0
        return DhtView(
            self._fence is not None,
            contacts,
            self._reach.is_open(now_s),
            self._reach.words(now_s),
            self._newest,
        )

    # ------------------------------------------------------------------ running

    async def run(self) -> None:
        """Sleep until needed, then take part until cancelled."""
        await self._until_needed()
        # Here and not above: half a MiB that most nodes never need.
        import trio_asyncio

        from swarm.discovery.dht.fence import Fence

        async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
            self._fence = Fence(self._node_id, self, self._rng, self._clock, loop)
            nursery.start_soon(self._take_messages, self._fence)
            await self._keep_plan(self._fence)

    async def _until_needed(self) -> None:
        while self._plan.next_s(self._around.situation()) == float("inf"):
            if self._outbox.statistics().current_buffer_used:
                return
            await self._wait(LOOK_S)

    async def _wait(self, pause_s: float) -> None:
        with trio.move_on_after(pause_s):
            await self._changed.wait()
        self._changed = trio.Event()

    async def _take_messages(self, fence: Fence) -> None:
        async for message, source in self._outbox:
            if isinstance(message, Ask):
                fence.on_ask(message, source)
            else:
                fence.on_told(message, source)

    async def _keep_plan(self, fence: Fence) -> None:
        while True:
            situation = self._around.situation()
            placed = self._reach.known_by(self._clock()) >= min(QUORUM, situation.far_peers)
            beginnings = situation.beginnings + len(fence.router.contacts())
            situation = evolve(situation, beginnings=beginnings, placed=placed)
            step = self._plan.due(situation, self._clock())
            if step is Step.NEWEST:
                await self._look_for_newest(fence)
            elif step is Step.REFRESH:
                await self._refresh(fence)
            else:
                await self._wait(min(LOOK_S, max(0.0, self._plan.next_s(situation) - self._clock())))

    async def _look_for_newest(self, fence: Fence) -> None:
        from swarm.discovery.dht.fence import Wanted

        self._search = Search(f"manifest of channel {self._channel}")
        asked = await self._look_up(fence, Wanted(MANIFEST, self._channel.encode()))
        self._newest = self._search.finding(asked, self._held())
        self._search = None
        self._around.found(self._newest)
        # Who is near a place of our own choosing differs from node to node: so all of the swarm is met by somebody.
        await self._look_up(fence, self._rng.randbytes(len(self._node_id)))

    async def _refresh(self, fence: Fence) -> None:
        for bucket in fence.router.stale(REFRESH_S)[:STALE_RANGES_MAX]:
            place = self._rng.randint(*bucket.range).to_bytes(len(self._node_id), "big")
            await self._look_up(fence, place)

    async def _look_up(self, fence: Fence, target: object) -> int:
        import trio_asyncio

        from swarm.discovery.dht.lookup import Lookup

        lookup = Lookup(fence, self._rng, target)  # type: ignore[arg-type]
        found = await trio_asyncio.aio_as_trio(lookup.run)(self._around.seeds())
        self._around.hear_of([Address(node.ip, node.port) for node in found[:TOLD_ON_MAX]])
        return lookup.asked

    # ------------------------------------------------------------------ what the fence asks of it (its `Line`)

    def say(self, message: Ask | Told, destination: Address) -> None:
        """Through the node's control port."""
        self._around.say(fitted(message) if isinstance(message, Told) else message, destination)

    def value(self, kind: str, key: bytes, asker: Address) -> bytes:
        """The record of this name; one that is too large is announced, and the asker gets it by a stream."""
        entry = self._around.store.get(kind, key) if kind == MANIFEST else None
        if entry is None:
            return b""
        record = entry.records[0]
        encoded = record.encode()
        if len(encoded) <= VALUE_BYTES_MAX:
            return encoded
        self._around.say(Have(*self._around.store.row(record)), asker)
        return b""

    def is_open(self) -> bool:
        """What this node says of itself."""
        return self._reach.is_open(self._clock())

    def answered(self, told: Told, source: Address) -> None:
        """Note where the answerer sees this node, and what its value was worth."""
        local = local_host(source.host)
        if local:
            self._reach.seen(source, told.seen, Address(local, self._port), self._clock())
        if self._search is None:
            return
        try:
            record = Record.decode(told.value) if told.value else None
        except RefusedError:
            self._search.heard(source, Verdict.REFUSED)
            return
        if record is None:
            self._search.heard(source, Verdict.NOTHING)
        elif (record.kind, record.key) != (MANIFEST, self._channel.encode()):
            self._search.heard(source, Verdict.REFUSED)
        else:
            verdict = judge(record.sequence, record.content_hash, self._held())
            self._search.heard(source, verdict, record.sequence)

    def _held(self) -> Held | None:
        entry = self._around.store.get(MANIFEST, self._channel.encode())
        if entry is None:
            return None
        return Held(entry.sequence, frozenset(record.content_hash for record in entry.records))
