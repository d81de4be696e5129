"""libtorrent keeps the contract of transfers, on loopback and real files. Real time passes here."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from bep35 import merkle, metainfo
from bep35.bencode import decode, encode
from swarm.address import Address
from swarm.errors import UnavailableError, UnsupportedError
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer, check_version
from swarm.transfer.port import BLOCK_BYTES, ImageFetched, ImageJob, TransferEvent, TransferStopped
from swarm.transfer.session_settings import TransferSettings
from tests.swarm.transfer.contract import (
    LENGTH,
    PATIENCE_S,
    PIECE_BLOCKS,
    TransferContract,
    YardImage,
    fetched,
    peer,
)

ROOMY_BYTES = 300_000
_BLANK = b"\xee"
"""What unwritten slots are filled with, so that writing zeros would show."""


class RealNode:
    """A transfer on loopback, with files in a folder of its own."""

    def __init__(self, yard: RealYard, number: int, settings: TransferSettings) -> None:
        self.node_id = settings.node_id
        self.transfer = LibtorrentTransfer(settings)
        self.address = Address("127.0.0.1", self.transfer.port)
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

    def node(self, *, slow: bool = False) -> RealNode:
        number = len(self.nodes) + 1
        # Not ASCII on purpose: node ids are arbitrary bytes.
        settings = TransferSettings(
            bytes([0x80 + number]) * 20, "127.0.0.1", 0, upload_bytes_per_s=LENGTH if slow else 0, redial_s=1
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


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[RealYard]:
    real = RealYard(tmp_path)
    yield real
    real.close()


class TestLibtorrentTransfer(TransferContract):
    """The contract, on loopback."""


def test_a_torrent_that_is_garbage(yard: RealYard) -> None:
    """Bytes that are no torrent would crash the daemon."""
    taker = yard.node()
    taker.transfer.fetch(ImageJob(b"d4:infod", bytes(32), "/nowhere", 1), b"")
    yard.until(lambda: bool(taker.seen), "the torrent was refused")
    (event,) = taker.seen
    assert isinstance(event, TransferStopped)
    assert event.why.startswith("torrent cannot be used: ")


def test_calls_nobody_an_unsigned_part_of_the_torrent_names(yard: RealYard) -> None:
    """Whoever changes a torrent on its way could make a whole swarm call an address of his choice."""
    image, taker = yard.image(), yard.node()
    fields = decode(image.torrent)
    assert isinstance(fields, dict)
    caller = b"http://127.0.0.1:9/"
    torrent = encode(
        {
            **fields,
            b"announce": caller,
            b"announce-list": [[caller]],
            b"url-list": caller,
            b"httpseeds": [caller],
        }
    )
    job = taker.slot(image)
    taker.transfer.fetch(ImageJob(torrent, image.infohash, job.path, image.length_bytes), b"")
    handle = taker.transfer._jobs[image.infohash].handle
    assert handle.trackers() == []
    assert handle.url_seeds() == []


def test_serving_does_not_write(yard: RealYard) -> None:
    """The slot that runs would be written while it is served."""
    image, giver, taker = yard.image(), yard.node(), yard.node()
    job = giver.put(image)
    Path(job.path).chmod(0o444)
    before = Path(job.path).stat().st_mtime_ns
    giver.transfer.seed(job)
    taker.transfer.fetch(taker.slot(image), b"")
    taker.transfer.offer_peers(image.infohash, [peer(giver)])
    yard.until(fetched(taker, image), "the image has arrived")
    assert Path(job.path).stat().st_mtime_ns == before


def test_a_seed_whose_file_became_shorter_says_so(yard: RealYard) -> None:
    """A node would be believed to hold an image that is gone."""
    image, giver, taker = yard.image(), yard.node(), yard.node()
    job = giver.put(image)
    giver.transfer.seed(job)
    os.truncate(job.path, 1000)
    taker.transfer.fetch(taker.slot(image), b"")
    taker.transfer.offer_peers(image.infohash, [peer(giver)])
    yard.until(lambda: bool(giver.seen), "the error was told")
    assert giver.seen[0] == TransferStopped(image.infohash, f"{job.path}: file too short")
    assert giver.transfer.progress(image.infohash) is None


def test_limits_hold_on_the_lan(yard: RealYard) -> None:
    """An operator's limit would mean nothing where it is needed: among neighbours."""
    image, giver, taker = yard.image(2 * LENGTH), yard.node(slow=True), yard.node()
    giver.transfer.seed(giver.put(image))
    taker.transfer.fetch(taker.slot(image), b"")
    began_s = time.monotonic()
    taker.transfer.offer_peers(image.infohash, [peer(giver)])
    yard.until(fetched(taker, image), "the image has arrived")
    assert time.monotonic() - began_s > 1.0, "two images' worth at one a second"


def test_a_taken_port_is_an_error() -> None:
    """A second daemon would listen on a port that nobody knows."""
    first = LibtorrentTransfer(TransferSettings(b"a" * 20, "127.0.0.1", 0))
    try:
        with pytest.raises(UnavailableError, match=f"transfer port {first.port} on 127.0.0.1"):
            LibtorrentTransfer(TransferSettings(b"b" * 20, "127.0.0.1", first.port))
    finally:
        first.close()


@pytest.mark.parametrize("version", ["2.0.11", "2.1.0.0", "1.2.19", "2.1", "unknown"])
def test_an_old_libtorrent_is_refused(version: str) -> None:
    """An older libtorrent truncates slots, cannot write to devices and has holes in its hash requests."""
    with pytest.raises(UnsupportedError, match=r"2\.1\.1 or later is needed"):
        check_version(version)


@pytest.mark.parametrize("version", ["2.1.1", "2.1.1.0", "2.2.0", "3.0.0"])
def test_a_new_libtorrent_is_accepted(version: str) -> None:
    """A node could not be kept up to date."""
    check_version(version)


@contextmanager
def _loop_device(path: Path, *options: str) -> Iterator[str]:
    attach = ["losetup", "--find", "--show", *options, str(path)]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_into_and_out_of_a_block_device(yard: RealYard, tmp_path: Path) -> None:
    """On a real node slots are block devices: the image would not get in, or not be served read-only from there."""
    image, giver, middle, taker = yard.image(), yard.node(), yard.node(), yard.node()
    giver.transfer.seed(giver.put(image))
    backing = tmp_path / "device"
    backing.write_bytes(_BLANK * (2 * 1024 * 1024))
    with _loop_device(backing) as device:
        job = ImageJob(image.torrent, image.infohash, device, image.length_bytes)
        middle.transfer.fetch(job, b"")
        middle.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(fetched(middle, image), "the image is on the device")
        middle.end()
    with _loop_device(backing, "--read-only") as device:
        server = yard.node()
        server.transfer.seed(ImageJob(image.torrent, image.infohash, device, image.length_bytes))
        end = taker.slot(image)
        taker.transfer.fetch(end, b"")
        taker.transfer.offer_peers(image.infohash, [peer(server)])
        yard.until(fetched(taker, image), "the device was served")
        assert taker.is_whole(end)
        server.end()
    content = backing.read_bytes()
    assert content[:LENGTH] == yard.contents[image.infohash]
    assert content[LENGTH:] == _BLANK * (2 * 1024 * 1024 - LENGTH), "the rest of the device was touched"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_told_apart(yard: RealYard, tmp_path: Path) -> None:
    """A node whose disk is full would give up the release instead of waiting for room."""
    image, giver, taker = yard.image(), yard.node(), yard.node()
    giver.transfer.seed(giver.put(image))
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=True)
    try:
        path = disk / "slot"
        path.touch()
        os.truncate(path, LENGTH)  # sparse: has the size, has no room
        taker.transfer.fetch(ImageJob(image.torrent, image.infohash, str(path), LENGTH), b"")
        taker.transfer.offer_peers(image.infohash, [peer(giver)])
        yard.until(lambda: bool(taker.seen), "the disk was full")
        assert taker.seen[-1] == TransferStopped(
            image.infohash, f"{path}: No space left on device", disk_full=True
        )
        assert taker.transfer.progress(image.infohash) is None
        taker.end()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert ImageFetched(image.infohash) not in taker.seen
