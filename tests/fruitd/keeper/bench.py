"""A keeper over two slot files and a boot environment, in a thread, and the daemon's side of it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bep35.merkle
from fruitd.boot.file_backend import ID_VARIABLE, SLOT_VARIABLE, FileBackend, create_environment
from fruitd.keeper.client import KeeperClient
from fruitd.keeper.port import Proof
from fruitd.keeper.server import listen, serve
from fruitd.keeper.service import Keeper
from fruitd.keeper.verdict import Belief
from swarm.news.record import Record
from tests.swarm.trust.ceremony import IMAGE, RELEASERS, manifest_record, torrent_and_release, trust_root

CORA, DAN, EVE = RELEASERS
BELIEF = Belief(trust_root(), "org.fruit-testbed.os/rootfs", frozenset({"pi4"}))
TORRENT, RELEASE = torrent_and_release()
LEAVES = bep35.merkle.leaf_hashes(IMAGE)
SLOT_BYTES = 256 * 1024


def proof(record: Record | None = None, *roots: Record) -> Proof:
    """Why the image may boot: by default a manifest that two of three signed."""
    manifest = manifest_record(CORA, DAN) if record is None else record
    return Proof(RELEASE.infohash, TORRENT, manifest.encode(), tuple(root.encode() for root in roots))


NO_MANIFEST = Proof(RELEASE.infohash, TORRENT, b"")


class Bench:
    """One machine: `boot` chooses what runs, as a boot chooser would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / "env"
        self.book = folder / "book"
        self.slots = {"a": folder / "slot-a", "b": folder / "slot-b"}
        for path in self.slots.values():
            path.write_bytes(bytes(SLOT_BYTES))
        create_environment(self.env, "a")
        self._boots = 0

    def keeper(
        self,
        active: str = "a",
        belief: Belief = BELIEF,
        *,
        boots: bool = False,
        restart_command: tuple[str, ...] = (),
    ) -> Keeper:
        """The keeper of a process that starts now, in the boot that runs or in a new one."""
        self._boots += boots
        process = {SLOT_VARIABLE: active, ID_VARIABLE: f"boot-{self._boots}"}
        return Keeper(FileBackend(self.env, process), self.slots, belief, self.book, None, restart_command)

    @contextmanager
    def client(self, keeper: Keeper | None = None, user: int | None = None) -> Iterator[KeeperClient]:
        """The daemon's side of it, over a real socket."""
        path = self.folder / "socket"
        with listen(path, None) as listener:
            served = keeper or self.keeper()
            served.open()
            asked = os.geteuid() if user is None else user
            thread = threading.Thread(target=_serve, args=(served, listener, asked), daemon=True)
            thread.start()
            try:
                yield KeeperClient(path)
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(timeout=10)

    def write_image(self, slot: str = "b", data: bytes = IMAGE) -> None:
        """What the daemon does with a slot that was lent to it."""
        with open(self.slots[slot], "r+b") as file:
            file.write(data)


def _serve(keeper: Keeper, listener: socket.socket, user: int) -> None:
    with contextlib.suppress(OSError):  # the listener was shut down
        serve(keeper, listener, user, idle_s=None)


def check(client: KeeperClient, why: Proof | None = None, slot: str = "b") -> list[int]:
    """Read the slot back."""
    return client.check(slot, why or proof(), LEAVES, len(IMAGE), lambda done: None, lambda: None)
