"""Nodes that know the swarm key and lie: what each does is its whole story."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from swarm.address import Address
from swarm.discovery.dht.messages import NEIGHBOURS_MAX, Ask, Contact, Told
from swarm.news.record import Record
from tests.swarm.core.village import node_id
from tests.swarm.dht.town import Town, place


class Liar:
    """Answers everything at once, and leads to its own kind only.

    Args:
        value: what it gives to whoever looks for a value.
        friends: whom it names. Empty: nodes that do not exist, nearer and nearer to the target, new ones each time.
    """

    def __init__(
        self, town: Town, number: int, value: Record | None = None, friends: Sequence[Contact] = ()
    ) -> None:
        self.town = town
        self.address = place(number)
        self.node_id = node_id(number)
        self.alive = True
        self.value = value.encode() if value is not None else b""
        self.friends = tuple(friends)
        self.asked = 0
        town.citizens[self.address] = self

    @property
    def contact(self) -> Contact:
        return Contact(self.node_id, self.address)

    def receive(self, message: Ask | Told, source: Address) -> None:
        if not isinstance(message, Ask):
            return
        self.asked += 1
        named = self.friends or tuple(self._invented(message.target, n) for n in range(NEIGHBOURS_MAX))
        told = Told(message.echo, self.node_id, True, source, named[:NEIGHBOURS_MAX])
        self.town.carry(self.address, source, evolve(told, value=self.value if message.kind else b""))

    def _invented(self, target: bytes, number: int) -> Contact:
        """Nobody, ever nearer to the target, each on a machine of its own."""
        near = (int.from_bytes(target or bytes(20), "big") ^ (self.asked * 8 + number + 1)).to_bytes(
            20, "big"
        )
        return Contact(near, place(1_000_000 + self.asked * 8 + number))
