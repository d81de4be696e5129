"""A week of a small swarm's table, on a virtual clock: nodes come and go, and memory stays where it was."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence

import trio
import trio_asyncio
from trio.testing import MockClock

from swarm.address import Address
from swarm.discovery.dht.finding import Finding
from swarm.discovery.dht.messages import Ask, Told
from swarm.discovery.dht.plan import Situation
from swarm.discovery.reach import Reach
from swarm.news.store import RecordStore
from swarm.shell.dht import DhtShell
from swarm.wire import Datagram
from tests.swarm.core.village import manifest, node_id, verdict
from tests.swarm.dht.town import Town, place

NODES = 4
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
GROWTH_OBJECTS_MAX = 4000
"""For the whole town between its first and its last day, of some 10,000 questions: what is bounded may fill up a little yet
(`ECHOES_MAX` a node, as plain bytes, which are not counted)."""


class Home:
    """One node's whole shell of the table, on the town's network."""

    def __init__(self, town: Town, number: int, contacts: Sequence[Address]) -> None:
        self.town = town
        self.address = place(number)
        self.alive = True
        self.contacts = list(contacts)
        self.store = RecordStore(verdict)
        self.heard_of: set[Address] = set()
        self.asked_at: list[float] = []
        self.findings = 0
        rng = random.Random(f"home {number}")
        self.shell = DhtShell(node_id(number), 47101, "stable", self, Reach("yes"), rng, trio.current_time)
        town.citizens[self.address] = self

    def say(self, message: Datagram, destination: Address) -> None:
        assert isinstance(message, Ask | Told)
        if isinstance(message, Ask):
            self.asked_at.append(trio.current_time())
        self.town.carry(self.address, destination, message)

    def hear_of(self, addresses: Sequence[Address]) -> None:
        self.heard_of = set(addresses)

    def found(self, finding: Finding) -> None:
        self.findings += 1

    def situation(self) -> Situation:
        return Situation(NODES, True, len(self.contacts))

    def seeds(self) -> list[Address]:
        return self.contacts

    def receive(self, message: Ask | Told, source: Address) -> None:
        self.shell.heard(message, source)


def test_a_week_of_coming_and_going_costs_no_memory_and_little_traffic() -> None:
    """A node that is never restarted would fill a Pi, or a thin line, with its table."""

    async def story(town: Town, nursery: trio.Nursery) -> None:
        homes = [Home(town, n, [place(1 + (n + k) % NODES) for k in (0, 1)]) for n in range(1, NODES + 1)]
        homes[0].store.offer(manifest(7))
        for home in homes:
            nursery.start_soon(home.shell.run)
        await trio.sleep(DAY_S)
        gc.collect()
        before = len(gc.get_objects())
        told = {home.address: len(home.asked_at) for home in homes}
        for day in range(1, 7):
            # One node of four is off every day, and comes back with what it knew.
            off = homes[day % NODES]
            off.alive = False
            await trio.sleep(DAY_S / 4)
            off.alive = True
            await trio.sleep(DAY_S * 3 / 4)
            for home in homes:
                told[home.address] = len(home.asked_at)
                home.asked_at.clear()
        gc.collect()
        assert len(gc.get_objects()) - before < GROWTH_OBJECTS_MAX
        assert trio.current_time() >= WEEK_S
        for home in homes:
            view = home.shell.view()
            assert view.contacts == NODES - 1
            assert view.newest is not None
            assert home.findings > 100
            # In an ordinary day: 24 lookups of the newest and as many of somewhere, of at most 3 nodes each, and refreshing.
            assert told[home.address] < 24 * 3 * 2 * NODES

    async def main() -> None:
        trio._core._run._r = random.Random(1)  # type: ignore[attr-defined]
        async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
            await story(Town(loop, nursery, 1, 0.02, (0.02, 0.08)), nursery)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_nodes_that_got_their_power_at_once_do_not_look_at_once_for_ever() -> None:
    """A hundred nodes on one clock make bursts that a thin line loses."""

    async def story(town: Town, nursery: trio.Nursery) -> None:
        homes = [Home(town, n, [place(1)]) for n in range(1, NODES + 1)]
        for home in homes:
            nursery.start_soon(home.shell.run)
        await trio.sleep(6 * 3600)
        # Minutes of the sixth hour in which each node asked: they must not all be the same.
        minutes = [{int(at_s // 60) for at_s in home.asked_at if at_s > 5 * 3600} for home in homes]
        assert len(set.union(*minutes)) > 1

    async def main() -> None:
        trio._core._run._r = random.Random(2)  # type: ignore[attr-defined]
        async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
            await story(Town(loop, nursery, 1, 0.0, (0.02, 0.08)), nursery)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
