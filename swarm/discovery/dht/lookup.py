"""Looking for a place in the table, among liars: several crawls side by side that share nobody.

Whoever is asked by one crawl is asked by no other, so that a liar spoils one of them. Every node asked gives the value it
holds at
once, and nearly every honest node holds the newest: one honest answer is enough. Bounded in questions, in time and in what one
machine can add.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from kademlia.crawling import NodeSpiderCrawl
from kademlia.node import Node

from swarm.address import Address
from swarm.discovery.dht.fence import Fence, Met, Wanted, WantedNode
from swarm.discovery.dht.table import BUCKET_CONTACTS, PER_HOST_MAX

ALPHA = 3
"""Questions of one crawl at once (Kademlia's alpha)."""
CRAWLS = 3
"""Crawls side by side. More outlive more liars and cost as much more; S/Kademlia (Baumgart and Mies 2007) takes 4 to 8 for swarms
of thousands."""
QUESTIONS_MAX = 96
"""In all crawls of one lookup: liars can invent nearer and nearer nodes without end."""
LOOKUP_S_MAX = 20.0
"""However slowly they answer."""
SEEDS_MAX = 16
"""Addresses a lookup begins with."""


class Crawl(NodeSpiderCrawl):
    """`kademlia`'s crawl; who else of the same lookup was asked already is left out."""

    def __init__(self, fence: Fence, node: Node, seeds: list[Node], lookup: Lookup) -> None:
        super().__init__(fence, node, seeds, BUCKET_CONTACTS, ALPHA)
        self._lookup = lookup

    async def find(self) -> Any:
        """Ask the nearest that were not asked yet, and go on until all the nearest were."""
        ask = (
            self.protocol.call_find_value
            if isinstance(self.node, WantedNode)
            else self.protocol.call_find_node
        )
        for node in self.nearest.get_uncontacted():
            if not self._lookup.may_ask(node):
                self.nearest.remove([node.id])
        if self.nearest.have_contacted_all():
            return list(self.nearest)
        return await self._find(self._counted(ask))

    def _counted(self, ask: Any) -> Any:
        def call(node: Node, target: Node) -> Any:
            # Another crawl may have come to it since `find` looked.
            return ask(node, target) if self._lookup.claims(node) else _nobody()

        return call


async def _nobody() -> tuple[bool, None]:
    return False, None


class Lookup:
    """One question to the whole table: who is near `target`, or what is the newest `wanted`?"""

    def __init__(self, fence: Fence, rng: random.Random, target: bytes | Wanted) -> None:
        self._fence = fence
        self._rng = rng
        self._wanted = target if isinstance(target, Wanted) else None
        self._node = WantedNode(target) if isinstance(target, Wanted) else Node(target)
        self._claimed: set[tuple[str, int]] = set()
        self._hosts: Counter[str] = Counter()
        self.asked = 0

    async def run(self, seeds: Iterable[Address]) -> list[Node]:
        """Ask; the nearest nodes that answered, open or not. What they hold went to the fence's line as it came.

        Args:
            seeds: addresses to begin with besides the table: contacts, peers. All of them are asked.
        """
        table = self._fence.router
        table.touch(self._node)
        known = table.find_neighbors(self._node)
        strangers = [a for a in dict.fromkeys(seeds) if not any(Address(n.ip, n.port) == a for n in known)]
        try:
            async with asyncio.timeout(LOOKUP_S_MAX):
                return await self._run(known, strangers[:SEEDS_MAX])
        except TimeoutError:
            return table.find_neighbors(self._node)

    async def _run(self, known: Sequence[Node], strangers: Sequence[Address]) -> list[Node]:
        target, wanted = self._node.id, self._wanted
        first = [address for address in strangers if self.claims(Node(target, address.host, address.port))]
        asked = await asyncio.gather(*(self._fence.who_is_at(address, target, wanted) for address in first))
        met = [each for each in asked if each is not None]
        beginnings = [*(Met(node, ()) for node in known), *met]
        self._rng.shuffle(beginnings)
        crawls = [
            self._crawl(beginnings[part::CRAWLS], {each.node.id for each in met})
            for part in range(min(CRAWLS, len(beginnings)))
        ]
        found = [node for nodes in await asyncio.gather(*crawls) for node in nodes]
        return sorted({node.id: node for node in found}.values(), key=self._node.distance_to)

    async def _crawl(self, beginnings: Sequence[Met], asked: set[bytes]) -> list[Node]:
        seeds = [node for each in beginnings for node in (each.node, *each.named)]
        crawl = Crawl(self._fence, self._node, seeds, self)
        for node in seeds:
            if node.id in asked:
                crawl.nearest.mark_contacted(node)
        found: list[Node] = await crawl.find()
        return found

    def may_ask(self, node: Node) -> bool:
        """Whether this lookup may still ask this node."""
        return (
            node.id != self._fence.source_node.id
            and self.asked < QUESTIONS_MAX
            and (node.ip, node.port) not in self._claimed
            and (self._hosts[node.ip] < PER_HOST_MAX + 1 or ip_address(node.ip).is_loopback)
        )

    def claims(self, node: Node) -> bool:
        """The same, and count it as asked."""
        if not self.may_ask(node):
            return False
        self._claimed.add((node.ip, node.port))
        self._hosts[node.ip] += 1
        self.asked += 1
        return True
