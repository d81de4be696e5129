"""`kademlia`'s protocol with its network side taken away: what it would send goes out as an `Ask`, and only an `Ask` is answered.

Nothing from the network reaches `rpcudp`: its datagrams, its dispatch by name and its unbounded answers are shut. Runs on an
asyncio loop, because `kademlia`'s crawl does; `swarm.shell.dht` gives it one under trio.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, frozen
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from kademlia.storage import IStorage

from swarm.address import Address
from swarm.discovery.dht.messages import ECHO_BYTES, Ask, Contact, Told, value_id
from swarm.discovery.dht.table import Table
from swarm.errors import UnsupportedError

TRIES_S = (0.6, 1.0, 1.6)
"""How long each try of one question waits. Shorter asks twice on satellite links, which costs a datagram; longer lets one dead
contact hold a lookup up for longer than 3.2 s."""
ECHOES_MAX = 1024
"""Questions answered lately that are remembered, 100 bytes each."""
ANSWERS_PER_ECHO_MAX = len(TRIES_S)
"""A stranger who recorded a question can have it answered to somebody else so often and no more."""
WAITING_MAX = 64
"""Questions of ours under way at once."""


class Line(Protocol):
    """What the fence needs of its surroundings."""

    def say(self, message: Ask | Told, destination: Address) -> None:
        """Seal and send one datagram."""
        ...

    def value(self, kind: str, key: bytes, asker: Address) -> bytes:
        """The record of this name that this node holds, encoded; empty if none, or too large (then the asker is told
        otherwise)."""
        ...

    def is_open(self) -> bool:
        """Whether anybody can ask this node."""
        ...

    def answered(self, told: Told, source: Address) -> None:
        """A question of ours was answered."""
        ...


@frozen
class Wanted:
    """A value that is looked for."""

    kind: str
    key: bytes

    @property
    def target(self) -> bytes:
        """Where it lives."""
        return value_id(self.kind, self.key)


@frozen
class Met:
    """Who answered at an address, and whom it named."""

    node: Node
    named: tuple[Node, ...]


@define
class _Waiting:
    address: Address
    future: asyncio.Future[Told]


class NoStorage(IStorage):
    """The table stores nothing of its own: a value is what the node's record store holds, which admits only verified records
    with a higher sequence, within its bounds."""

    def __setitem__(self, key: bytes, value: object) -> None:
        raise UnsupportedError("records enter a node by its store alone")

    def __getitem__(self, key: bytes) -> object:
        raise KeyError(key)

    def get(self, key: bytes, default: object = None) -> object:
        """Nothing."""
        return default

    def iter_older_than(self, seconds_old: float) -> list[tuple[bytes, bytes]]:
        """Nothing: nobody republishes for others."""
        return []

    def __iter__(self) -> Any:
        return iter(())


class Fence(KademliaProtocol):
    """One node's end of the table."""

    def __init__(
        self,
        node_id: bytes,
        line: Line,
        rng: random.Random,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        table = Table(node_id, clock)
        super().__init__(table.node, NoStorage(), table.ksize)
        self.router: Table = table
        self._line = line
        self._rng = rng
        self._loop = loop
        self._looking_at: set[asyncio.Task[Any]] = set()
        self._waiting: dict[bytes, _Waiting] = {}
        self._answered: dict[bytes, int] = {}

    # ------------------------------------------------------------------ what is shut

    def __getattr__(self, name: str) -> Any:
        """`rpcudp` makes a remote call of any name that is not there."""
        raise AttributeError(name)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """No datagram gets here: they come opened and decoded to `on_ask` and `on_told`."""
        raise UnsupportedError("the table reads no datagrams")

    def welcome_if_new(self, node: Node) -> None:
        """`kademlia` takes in whoever asks, and hands keys over. Here a contact has to answer first (`_ask`)."""

    # ------------------------------------------------------------------ others ask

    def on_ask(self, ask: Ask, source: Address) -> None:
        """Answer, and look at an asker that says it is open."""
        if ask.node_id == self.source_node.id or not self._may_answer(ask.echo):
            return
        asker = Node(ask.node_id, source.host, source.port)
        near: Sequence[Node] = (
            self.router.find_neighbors(Node(ask.target), exclude=asker) if ask.target else ()
        )
        contacts = tuple(Contact(n.id, Address(n.ip, n.port)) for n in near if n.id != ask.node_id)
        value = self._line.value(ask.kind, ask.key, source) if ask.kind else b""
        me = self.source_node.id
        self._line.say(Told(ask.echo, me, self._line.is_open(), source, contacts, value), source)
        # Only who looks for something is looked at, or two nodes without room for each other would do nothing else.
        if ask.open and ask.target and self.router.has_room_for(asker) and len(self._waiting) < WAITING_MAX:
            look = self._loop.create_task(self.call_ping(asker))
            self._looking_at.add(look)
            look.add_done_callback(self._looking_at.discard)

    def on_told(self, told: Told, source: Address) -> None:
        """An answer counts once, and only from where the question went."""
        waiting = self._waiting.get(told.echo)
        if waiting is not None and waiting.address == source and not waiting.future.done():
            waiting.future.set_result(told)

    def _may_answer(self, echo: bytes) -> bool:
        times = self._answered.pop(echo, 0) + 1
        self._answered[echo] = times
        if len(self._answered) > ECHOES_MAX:
            del self._answered[next(iter(self._answered))]
        return times <= ANSWERS_PER_ECHO_MAX

    # ------------------------------------------------------------------ we ask

    async def call_ping(self, node_to_ask: Node) -> tuple[bool, Any]:
        """Is it there?"""
        return await self._ask(node_to_ask, b"", None)

    async def call_find_node(self, node_to_ask: Node, node_to_find: Node) -> tuple[bool, Any]:
        """Whom does it know near this id?"""
        return await self._ask(node_to_ask, node_to_find.id, None)

    async def call_find_value(self, node_to_ask: Node, node_to_find: WantedNode) -> tuple[bool, Any]:
        """The same, and what it holds."""
        return await self._ask(node_to_ask, node_to_find.id, node_to_find.wanted)

    async def call_store(self, node_to_ask: Node, key: bytes, value: object) -> tuple[bool, Any]:
        """Records travel as news."""
        raise UnsupportedError("records travel as news, not through the table")

    async def who_is_at(self, address: Address, target: bytes, wanted: Wanted | None) -> Met | None:
        """Whoever answers at an address, by whatever id, and whom it names."""
        told = await self._question(address, target, wanted)
        if told is None or told.node_id == self.source_node.id:
            return None
        node = Node(told.node_id, address.host, address.port)
        if told.open:
            self.router.answered(node)
        return Met(node, tuple(_node(contact) for contact in told.contacts))

    async def _ask(self, node: Node, target: bytes, wanted: Wanted | None) -> tuple[bool, Any]:
        """As `kademlia` wants answers: (did one come, [(id, host, port), ...])."""
        told = await self._question(Address(node.ip, node.port), target, wanted)
        if told is None or told.node_id != node.id:
            # Whoever answers there is not who others said it is: for this id, nobody answered.
            self.router.silent(node)
            return False, None
        if told.open:
            self.router.answered(node)
        else:
            self.router.drop(node)
        return True, [tuple(_node(contact)) for contact in told.contacts]

    async def _question(self, address: Address, target: bytes, wanted: Wanted | None) -> Told | None:
        if len(self._waiting) >= WAITING_MAX:
            return None
        echo = self._rng.randbytes(ECHO_BYTES)
        kind, key = (wanted.kind, wanted.key) if wanted else ("", b"")
        ask = Ask(echo, self.source_node.id, self._line.is_open(), target, kind, key)
        future: asyncio.Future[Told] = self._loop.create_future()
        self._waiting[echo] = _Waiting(address, future)
        try:
            for wait_s in TRIES_S:
                self._line.say(ask, address)
                await asyncio.wait([future], timeout=wait_s)
                if future.done():
                    told = future.result()
                    self._line.answered(told, address)
                    return told
            return None
        finally:
            del self._waiting[echo]
            future.cancel()


class WantedNode(Node):
    """A place in the table at which a value lives, as `kademlia`'s crawl passes it on."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.target)
        self.wanted = wanted


def _node(contact: Contact) -> Node:
    return Node(contact.node_id, contact.address.host, contact.address.port)
