"""A few real shells on loopback, in one process."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

import trio
from attrs import evolve

from swarm.address import Address
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.shell import ShellSettings, SwarmShell, open_sockets
from tests.swarm.core.village import KEYRING, node_id, verdict

PATIENCE_S = 60.0


def free_udp_port() -> int:
    """A port for a beacon group of our own, so that tests do not hear each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Home:
    """One running shell and what its host was told."""

    def __init__(self) -> None:
        self.effects: list[Any] = []
        self.store = RecordStore(verdict)
        self.blobs: dict[tuple[str, bytes], bytes] = {}
        self.core: SwarmCore
        self.shell: SwarmShell
        self.address: Address
        self.before_handling: Callable[[], Any] | None = None

    async def handle(self, effects: list[Any]) -> None:
        if self.before_handling is not None:
            await self.before_handling()
        self.effects += effects

    def said(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def publish(self, record: Record) -> None:
        self.shell.submit(self.core.publish(record, trio.current_time()))


async def settle(
    nursery: trio.Nursery, number: int, settings: ShellSettings, swarm: SwarmSettings | None = None
) -> Home:
    """Start node `number`; port 0 unless the settings say otherwise."""
    home = Home()
    sockets = await open_sockets(settings)
    me = Me(node_id(number), f"n{number}", "", sockets.port, 0)
    home.core = SwarmCore(
        me,
        swarm or SwarmSettings(beacon=settings.beacon),
        KEYRING,
        home.store,
        lambda kind, blob_id: home.blobs.get((kind, blob_id)),
        random.SystemRandom(),
        trio.current_time(),
    )
    home.shell = SwarmShell(home.core, home.handle, sockets, set_contacts=home.core.set_contacts)
    home.address = Address(settings.bind, sockets.port)
    await nursery.start(home.shell.run)
    return home


def loopback(**changes: Any) -> ShellSettings:
    """Settings for a node on 127.0.0.1 that hears nobody by multicast unless told otherwise."""
    base = ShellSettings(bind="127.0.0.1", port=0, beacon=False, connections_per_host_max=32)
    return evolve(base, **changes)


async def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait for something real to happen; fails after `patience_s`."""
    with trio.fail_after(patience_s):
        while not condition():
            await trio.sleep(0.005)
