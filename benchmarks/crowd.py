"""Many nodes in one process: whole swarm cores, shells and tables on real sockets, without updaters, slots or API.

`python -m benchmarks.crowd ROOT_FILE SWARM_KEY FIRST_PORT NODES CONTACT_PORT`: runs until it is ended; prints a line once all
listen.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from fruitd.config.swarm_keys import read_swarm_keys
from swarm.address import Address
from swarm.beginning import begin
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.discovery.dht.finding import Finding
from swarm.discovery.dht.plan import Situation
from swarm.discovery.reach import Reach
from swarm.effects import TableHeard
from swarm.root_file import load_chain
from swarm.seal import Keyring
from swarm.shell.dht import DhtShell
from swarm.shell.settings import ShellSettings
from swarm.shell.shell import SwarmShell
from swarm.shell.sockets import open_sockets
from swarm.wire import Datagram

HOST = "127.0.0.1"


class Member:
    """One node of the crowd."""

    def __init__(self, root: bytes, keyring: Keyring, sockets: Any, contacts: Sequence[Address]) -> None:
        self._contacts = list(contacts)
        beginning = begin(load_chain(root), ())
        self.store = beginning.store
        node_id, rng = random.randbytes(20), random.SystemRandom()
        me = Me(node_id, f"crowd-{sockets.port}", f"site-{sockets.port}", sockets.port, 0)
        settings = SwarmSettings(beacon=False)
        self._core = SwarmCore(
            me, settings, keyring, self.store, lambda _kind, _id: None, rng, trio.current_time(),
            trusted=beginning.trusted,
        )  # fmt: skip
        self._shell = SwarmShell(self._core, self._handle, sockets, set_contacts=self._core.set_contacts)
        self._table = DhtShell(node_id, sockets.port, "stable", self, Reach("yes"), rng, trio.current_time)

    async def run(self) -> None:
        """Take part until cancelled."""
        self._core.set_contacts(self._contacts, trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._shell.run)
            nursery.start_soon(self._table.run)

    async def _handle(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, TableHeard):
                self._table.heard(effect.message, effect.source)

    def say(self, message: Datagram, destination: Address) -> None:
        """See `swarm.shell.dht.Surroundings`."""
        self._shell.submit([self._core.say(message, destination)])

    def hear_of(self, addresses: Sequence[Address]) -> None:
        """See `swarm.shell.dht.Surroundings`."""
        self._core.hear_of(addresses, trio.current_time())
        self._shell.submit([])

    def found(self, finding: Finding) -> None:
        """See `swarm.shell.dht.Surroundings`."""

    def situation(self) -> Situation:
        """See `swarm.shell.dht.Surroundings`."""
        return Situation(len(self._core.peers()), True, len(self._contacts))

    def seeds(self) -> list[Address]:
        """See `swarm.shell.dht.Surroundings`."""
        return self._contacts


async def gather(root: bytes, keyring: Keyring, first_port: int, nodes: int, contact: Address) -> None:
    """Each knows the contact and the two that were there before it."""
    before = [contact]
    async with trio.open_nursery() as nursery:
        for port in range(first_port, first_port + nodes):
            sockets = await open_sockets(ShellSettings(bind=HOST, port=port, beacon=False))
            member = Member(root, keyring, sockets, [contact, *before[-2:]])
            nursery.start_soon(member.run)
            before.append(Address(HOST, port))
        print("gathered", flush=True)


def main(arguments: list[str]) -> None:
    """See the module."""
    root, key, first_port, nodes, contact_port = arguments
    keyring = Keyring(read_swarm_keys(Path(key)))
    contact = Address(HOST, int(contact_port))
    trio.run(gather, Path(root).read_bytes(), keyring, int(first_port), int(nodes), contact)


if __name__ == "__main__":
    main(sys.argv[1:])
