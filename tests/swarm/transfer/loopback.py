"""Implements `contract.Yard` with libtorrent, on loopback and real files. Real time passes here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from bep35 import merkle, metainfo
from swarm.address import Address
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.port import BLOCK_BYTES, ImageJob, TransferEvent
from swarm.transfer.session_settings import TransferSettings
from tests.swarm.transfer.contract import LENGTH, PATIENCE_S, PIECE_BLOCKS, YardImage

ROOMY_BYTES = 300_000
_BLANK = b"\xee"
"""What unwritten slots are filled with, so that writing zeros would show."""


class RealNode:
    """A transfer on loopback, with files in a folder of its own."""

    def __init__(self, yard: RealYard, number: int, settings: TransferSettings) -> None:
        self.node_id = settings.node_id
        self.transfer = LibtorrentTransfer(settings)
        self.address = Address(settings.host, self.transfer.port)
        self.seen: list[TransferEvent] = []
        self.ended = False
        self._yard = yard
        self._folder = yard.folder / str(number)
        self._folder.mkdir()
        self._paths = 0

    def put(self, image: YardImage, *, wrong: Sequence[int] = (), missing: Sequence[int] = ()) -> ImageJob:
        job = self.slot(image)
        content = bytearray(self._yard.contents[image.infohash])
        for block in wrong:
            content[block * BLOCK_BYTES] ^= 1
        for block in missing:
            part = slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
            content[part] = _BLANK * len(content[part])
        with Path(job.path).open("r+b") as file:
            file.write(content)
        return job

    def slot(self, image: YardImage, *, size_bytes: int | None = None) -> ImageJob:
        self._paths += 1
        path = self._folder / f"slot{self._paths}"
        path.write_bytes(_BLANK * (image.length_bytes + ROOMY_BYTES if size_bytes is None else size_bytes))
        return ImageJob(image.torrent, image.infohash, str(path), image.length_bytes)

    def is_whole(self, job: ImageJob) -> bool:
        return Path(job.path).read_bytes() == self._yard.contents[job.infohash] + _BLANK * ROOMY_BYTES

    def is_blank(self, job: ImageJob) -> bool:
        return not Path(job.path).read_bytes().strip(_BLANK)

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.transfer.close()


class RealYard:
    """Implements `contract.Yard` on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contents: dict[bytes, bytes] = {}
        self.nodes: list[RealNode] = []
        self._rng = random.Random(1)

    def image(self, length_bytes: int = LENGTH) -> YardImage:
        content = self._rng.randbytes(length_bytes)
        leaves = merkle.leaf_hashes(content)
        torrent = metainfo.build("rootfs.img", length_bytes, leaves, PIECE_BLOCKS * BLOCK_BYTES)
        infohash = metainfo.parse(torrent).infohash
        self.contents[infohash] = content
        return YardImage(torrent, infohash, length_bytes)

    def node(self, *, slow: bool = False, far: bool = False) -> RealNode:
        number = len(self.nodes) + 1
        # Not ASCII on purpose: node ids are arbitrary bytes.
        settings = TransferSettings(
            bytes([0x80 + number]) * 20,
            "127.0.0.2" if far else "127.0.0.1",
            0,
            upload_bytes_per_s=LENGTH if slow else 0,
            redial_s=1,
        )
        self.nodes.append(RealNode(self, number, settings))
        return self.nodes[-1]

    def until(self, done: Callable[[], bool], why: str) -> None:
        trio.run(self._until, done, why, PATIENCE_S)

    def let_pass(self, seconds: float) -> None:
        trio.run(self._until, lambda: False, None, seconds)

    def close(self) -> None:
        for node in self.nodes:
            node.end()

    async def _until(self, done: Callable[[], bool], why: str | None, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(self._listen, node)
            with trio.move_on_after(seconds) as patience:
                while not done():
                    await trio.sleep(
                        0.01
                    )  # counters change without an event; loopback is not on a virtual clock
            nursery.cancel_scope.cancel()
        if patience.cancelled_caught and why is not None:
            pytest.fail(f"not within {seconds} s: {why}; seen {[node.seen for node in self.nodes]}")

    @staticmethod
    async def _listen(node: RealNode) -> None:
        while not node.ended:
            await node.transfer.wait()
            node.seen += node.transfer.events()
