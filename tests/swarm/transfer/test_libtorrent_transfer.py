"""libtorrent keeps the contract of transfers, on loopback and real files. Real time passes here."""

from __future__ import annotations

import fcntl
import math
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve

from bep35 import merkle, metainfo
from bep35.bencode import decode, encode
from swarm.address import Address
from swarm.errors import UnavailableError, UnsupportedError
from swarm.transfer import libtorrent_transfer, manner
from swarm.transfer.libtorrent_module import check_version
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.port import BLOCK_BYTES, ImageFetched, ImageJob, TransferEvent, TransferStopped
from swarm.transfer.session_settings import TICK_BUSY_MS, TransferSettings
from swarm.transfer.torrent_job import named
from tests.swarm.transfer.contract import (
    LENGTH,
    PATIENCE_S,
    PIECE_BLOCKS,
    TransferContract,
    YardImage,
    fetched,
    peer,
    rejected,
)

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
    yard.until(lambda: taker.transfer.progress(image.infohash) is not None, "the torrent was taken in")
    handle = taker.transfer._jobs[image.infohash].handle
    assert handle.trackers() == []
    assert handle.url_seeds() == []


BIG = 64 * PIECE_BLOCKS * BLOCK_BYTES
WRONG_BLOCKS = {
    "in every block": range(BIG // BLOCK_BYTES),
    "in one block of every piece": range(1, BIG // BLOCK_BYTES, PIECE_BLOCKS),
    "in one piece of four": range(2, BIG // BLOCK_BYTES, 4 * PIECE_BLOCKS),
}


@pytest.mark.parametrize("wrong", WRONG_BLOCKS.values(), ids=WRONG_BLOCKS.keys())
def test_an_honest_node_behind_the_liars_address(yard: RealYard, wrong: range) -> None:
    """Behind one NAT address stand many nodes: one liar among them would cut all of them off, or one honest giver be blamed."""
    image, liar, honest, taker = yard.image(BIG), yard.node(), yard.node(), yard.node()
    liar.transfer.seed(liar.put(image, wrong=wrong))
    honest.transfer.seed(honest.put(image))
    job = taker.slot(image)
    taker.transfer.fetch(job, b"")

    def both_offered() -> bool:
        taker.transfer.offer_peers(image.infohash, [peer(liar), peer(honest)])
        return fetched(taker, image)()

    yard.until(both_offered, "the honest one has given what the liar could not")
    assert taker.is_whole(job)
    progress = taker.transfer.progress(image.infohash)
    assert progress is not None
    assert honest.node_id in {source.node_id for source in progress.sources}
    assert {event.source for event in rejected(taker)} != {named(honest.node_id, honest.address)}, (
        "not the liar"
    )
    another = yard.image()
    honest.transfer.seed(honest.put(another))
    next_job = taker.slot(another)
    taker.transfer.fetch(next_job, b"")
    taker.transfer.offer_peers(another.infohash, [peer(honest)])
    yard.until(fetched(taker, another), "the honest one is asked again")
    assert taker.is_whole(next_job)


def test_whoever_was_banned_is_asked_again_when_nobody_else_gives(yard: RealYard) -> None:
    """libtorrent lifts no ban, and can ban the wrong one: a node would never get the release that its only neighbour has."""
    image, giver, taker = yard.image(), yard.node(), yard.node()
    giver.transfer.seed(giver.put(image, wrong=[0, 9]))
    job = taker.slot(image)
    taker.transfer.fetch(job, b"")

    def offered(done: Callable[[], bool]) -> Callable[[], bool]:
        def offer() -> bool:
            taker.transfer.offer_peers(image.infohash, [peer(giver)])
            return done()

        return offer

    yard.until(offered(lambda: bool(rejected(taker))), "it gave a wrong piece")
    giver.transfer.stop(image.infohash)
    giver.transfer.seed(giver.put(image))
    yard.until(offered(fetched(taker, image)), "it gave the rest, now that it can")
    assert taker.is_whole(job)
    progress = taker.transfer.progress(image.infohash)
    assert progress is not None
    assert progress.have_bytes == LENGTH
    assert LENGTH <= progress.received_bytes <= 2 * LENGTH, (
        "what was right was fetched again, or is not counted"
    )


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


@pytest.mark.parametrize("near", [False, True])
def test_limits_hold_for_other_sites_and_not_within_ones_own(yard: RealYard, near: bool) -> None:
    """A thin line would be filled, or a site would spread an image no faster than its line."""
    image = yard.image((40 if near else 2) * LENGTH)
    giver, taker = yard.node(slow=True), yard.node()
    giver.transfer.seed(giver.put(image))
    if near:
        giver.transfer.keep_near(b"", [peer(taker)], near_only=False)
    taker.transfer.fetch(taker.slot(image), b"")
    began_s = time.monotonic()
    taker.transfer.offer_peers(image.infohash, [peer(giver, same_site=near)])
    yard.until(fetched(taker, image), "the image has arrived")
    took_s = time.monotonic() - began_s
    assert took_s < 40 if near else took_s > 1.0, "forty images' worth, or two, at one a second"
    assert (taker.transfer.uplink_bytes()[0] == 0) == near


def test_a_limit_within_the_site_is_one_of_its_own(tmp_path: Path) -> None:
    """Weak Wi-Fi could not be spared."""
    settings = TransferSettings(b"l" * 20, "127.0.0.1", 0, lan_upload_bytes_per_s=12_345)
    transfer = LibtorrentTransfer(settings)
    try:
        near = transfer._session.get_peer_class(transfer._session.local_peer_class_id)
        assert near["upload_limit"] == 12_345
    finally:
        transfer.close()


@contextmanager
def seats_taken(node: RealNode, image: YardImage) -> Iterator[int]:
    """Strangers who know the image's name come as long as they are let in, and ask for nothing. Gives how many there are."""
    hello = b"\x13BitTorrent protocol" + bytes(8) + image.infohash[:20]
    there: list[socket.socket] = []
    try:
        for number in range(1, 65):
            stranger = socket.create_connection(
                (node.address.host, node.address.port), PATIENCE_S, source_address=(f"127.0.9.{number}", 0)
            )
            there.append(stranger)
            try:
                stranger.sendall(hello + bytes([number]) * 20)
                if not stranger.recv(68):
                    break
            except ConnectionError:
                break
        yield len(there) - 1
    finally:
        for stranger in there:
            stranger.close()


def test_strangers_on_every_seat_keep_no_mate_away_and_no_node_from_what_it_fetches(yard: RealYard) -> None:
    """Whoever knows an image's name could hold twenty connections, and that node would get and give nothing for as long."""
    served, wanted = yard.image(), yard.image()
    node, giver, mate = yard.node(), yard.node(), yard.node()
    node.transfer.seed(node.put(served))
    giver.transfer.seed(giver.put(wanted))
    yard.let_pass(1.0)
    node.transfer.keep_near(b"", [peer(mate)], near_only=False)
    with seats_taken(node, served) as strangers:
        assert strangers == 20
        job = node.slot(wanted)
        node.transfer.fetch(job, b"")
        node.transfer.offer_peers(wanted.infohash, [peer(giver)])
        yard.until(fetched(node, wanted), "the node has fetched from others what it wants")
        mates_job = mate.slot(served)
        mate.transfer.fetch(mates_job, b"")
        mate.transfer.offer_peers(served.infohash, [peer(node)])
        yard.until(fetched(mate, served), "its mate has fetched from it")


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


_FREEZE, _THAW = 0xC0045877, 0xC0045878
"""`FIFREEZE` and `FITHAW` of linux/fs.h: whoever writes to the file system waits, for as long as it is frozen."""


@contextmanager
def _frozen(folder: Path) -> Iterator[threading.Event]:
    """A disk that answers no write; sets the event if it had to be woken because the test hung."""
    hung = threading.Event()
    descriptor = os.open(folder, os.O_RDONLY)

    def wake() -> None:
        hung.set()
        fcntl.ioctl(descriptor, _THAW, 0)

    fcntl.ioctl(descriptor, _FREEZE, 0)
    alarm = threading.Timer(PATIENCE_S, wake)
    alarm.start()
    try:
        yield hung
    finally:
        alarm.cancel()
        alarm.join()
        if not hung.is_set():
            fcntl.ioctl(descriptor, _THAW, 0)
        os.close(descriptor)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_does_not_answer_holds_up_nobody(yard: RealYard, tmp_path: Path) -> None:
    """While a slow card is at work the whole daemon would stand still, until the service manager kills it."""
    image, giver, taker = yard.image(), yard.node(), yard.node()
    giver.transfer.seed(giver.put(image))
    backing, disk = tmp_path / "backing", tmp_path / "disk"
    backing.touch()
    os.truncate(backing, 16 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(backing)], check=True)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", str(backing), str(disk)], check=True)
    try:
        path = disk / "slot"
        path.write_bytes(bytes(LENGTH))
        job = ImageJob(image.torrent, image.infohash, str(path), LENGTH)
        with _frozen(disk) as hung:
            taker.transfer.fetch(job, b"")
            taker.transfer.offer_peers(image.infohash, [peer(giver)])
            yard.until(lambda: _asks_in_vain(taker, image), "libtorrent waits for the disk")
            other = yard.image()
            taker.transfer.offer_peers(image.infohash, [peer(giver)])
            taker.transfer.seed(taker.put(other))
            taker.transfer.stop(image.infohash)
            taker.transfer.fetch(job, b"")
            taker.transfer.offer_peers(image.infohash, [peer(giver)])
            assert taker.transfer.progress(image.infohash) is None
            assert taker.transfer.events() == []
            with pytest.raises(trio.TooSlowError):
                trio.run(_settled, taker)
        assert not hung.is_set(), "something waited for libtorrent, and libtorrent for the disk"
        yard.until(fetched(taker, image), "the disk answers again")
        assert path.read_bytes() == yard.contents[image.infohash]
    finally:
        taker.end()
        subprocess.run(["umount", str(disk)], check=True)


def _asks_in_vain(node: RealNode, image: YardImage) -> bool:
    known = node.transfer._jobs[image.infohash]
    return known.asked and known.again


async def _settled(node: RealNode) -> None:
    with trio.fail_after(0.1):
        await node.transfer.settled()


def test_what_was_stopped_is_left_alone_in_the_end(yard: RealYard) -> None:
    """The next image would be put into a slot that the last one is still written to."""
    image, giver, taker = yard.image(8 * LENGTH), yard.node(slow=True), yard.node()
    giver.transfer.seed(giver.put(image))
    job = taker.slot(image)
    taker.transfer.fetch(job, b"")
    taker.transfer.offer_peers(image.infohash, [peer(giver)])
    yard.until(lambda: not taker.is_blank(job), "the first bytes are written")

    async def stop() -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(yard._listen, taker)
            taker.transfer.stop(image.infohash)
            with trio.fail_after(PATIENCE_S):
                await taker.transfer.settled()
            nursery.cancel_scope.cancel()
        return Path(job.path).read_bytes()

    left = trio.run(stop)
    yard.let_pass(0.3)
    assert Path(job.path).read_bytes() == left


UTP = 1 << 17
"""`peer_info::utp_socket`, which the bindings do not name."""


def test_what_was_served_is_told_however_often_the_bell_rings(
    yard: RealYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that many others come and go at would say for hours that it has given nothing."""
    monkeypatch.setattr(libtorrent_transfer, "SERVED_S", 0.5)
    image, holder, taker = yard.image(), yard.node(), yard.node()
    holder.transfer.seed(holder.put(image))
    taker.transfer.fetch(taker.slot(image), b"")

    def all_given() -> bool:
        taker.transfer.offer_peers(image.infohash, [peer(holder)])
        holder.transfer._ring()
        progress = holder.transfer.progress(image.infohash)
        return progress is not None and progress.sent_bytes == LENGTH

    yard.until(all_given, "what was given is told")


def test_one_that_is_shut_is_dialled_only_when_it_is_knocked_at(yard: RealYard) -> None:
    """A plain dial into the void takes five seconds, in which the dial that would get through has to wait."""
    image, holder, taker = yard.image(), yard.node(slow=True), yard.node()
    holder.transfer.seed(holder.put(image))
    taker.transfer.fetch(taker.slot(image), b"")
    yard.until(lambda: taker.transfer.progress(image.infohash) is not None, "the image is begun")
    shut = evolve(peer(holder, same_site=False), shut=True)
    offered_s = time.monotonic()

    def a_while() -> bool:
        taker.transfer.offer_peers(image.infohash, [shut])
        return time.monotonic() - offered_s > 5 * TICK_BUSY_MS / 1000

    yard.until(a_while, "it would have been dialled by now")
    progress = taker.transfer.progress(image.infohash)
    assert progress is not None
    assert (progress.peers, progress.connected) == (0, frozenset())
    met: set[bytes] = set()

    def knocks() -> bool:
        taker.transfer.knock(image.infohash, [shut])
        now = taker.transfer.progress(image.infohash)
        met.update(now.connected if now is not None else ())
        return fetched(taker, image)()

    yard.until(knocks, "the image has come")
    assert met == {holder.node_id}


def test_nobody_knocks_for_an_image_that_stays_in_the_site(yard: RealYard) -> None:
    """Each mate of a gateway would go over to uTP whenever another site's gateway asks it to."""
    image, near = yard.image(), yard.node()
    near.transfer.fetch(near.slot(image), b"")
    near.transfer.keep_near(image.infohash, [], near_only=True)
    yard.until(lambda: near.transfer.progress(image.infohash) is not None, "the image is begun")
    near.transfer.knock(image.infohash, [peer(yard.node(), same_site=False)])
    assert near.transfer._manner.quiet
    near.transfer.keep_near(image.infohash, [], near_only=False)
    near.transfer.knock(image.infohash, [peer(yard.node(), same_site=False)])
    assert not near.transfer._manner.quiet


@pytest.mark.parametrize("over_utp", [True, False])
def test_a_seed_that_knocks_dials_over_utp_or_not_and_goes_back_to_waiting(
    yard: RealYard, monkeypatch: pytest.MonkeyPatch, *, over_utp: bool
) -> None:
    """Between two translators only dials from both sides get through, and only over uTP; where no datagram gets out, uTP gets
    nowhere; and on a LAN it would be several times slower."""
    # Slow, so that there is time to look at their connection.
    image, holder, taker = yard.image(), yard.node(slow=True), yard.node()
    holder.transfer.seed(holder.put(image))
    job = taker.slot(image)
    taker.transfer.fetch(job, b"")
    kinds: set[bool] = set()
    both = (holder, taker)
    yard.until(
        lambda: all(node.transfer.progress(image.infohash) is not None for node in both), "both have it"
    )

    def both_knock() -> bool:
        taker.transfer.offer_peers(image.infohash, [])
        taker.transfer.knock(image.infohash, [])
        holder.transfer.knock(image.infohash, [peer(taker, same_site=False)], over_utp=over_utp)
        known = holder.transfer._jobs.get(image.infohash)
        if known is not None and known.handle is not None:
            kinds.update(bool(other.flags & UTP) for other in known.handle.get_peer_info())
        return fetched(taker, image)()

    yard.until(both_knock, "the seed has dialled, and given")
    assert taker.is_whole(job)
    assert kinds == {over_utp}
    holder.transfer.rest()
    assert not holder.transfer._manner.quiet  # too soon
    monkeypatch.setattr(manner, "KNOCKING_S", 0.0)
    holder.transfer.rest()
    assert holder.transfer._manner.quiet
    # The next one that is dialled plainly is dialled over TCP again.
    other, third = yard.image(), yard.node(slow=True)
    third.transfer.seed(third.put(other))
    holder.transfer.fetch(holder.slot(other), b"")
    plain: set[bool] = set()

    def offered() -> bool:
        holder.transfer.offer_peers(other.infohash, [peer(third)])
        known = third.transfer._jobs.get(other.infohash)
        if known is not None and known.handle is not None:
            plain.update(bool(each.flags & UTP) for each in known.handle.get_peer_info())
        return fetched(holder, other)()

    yard.until(offered, "the other image has come")
    assert plain == {False}


def test_a_torrent_starts_with_the_first_dial_or_without_one(
    yard: RealYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libtorrent dials at once only at a start: everybody else waits for its next second. And a node that can dial nobody would
    never let in those that dial it."""
    monkeypatch.setattr(libtorrent_transfer, "WAIT_LOOKS", math.inf)
    image, other, holder, taker = yard.image(), yard.image(), yard.node(), yard.node()
    holder.transfer.seed(holder.put(image))
    taker.transfer.fetch(taker.slot(image), b"")
    taker.transfer.fetch(taker.slot(other), b"")
    given, alone = (taker.transfer._jobs[name.infohash] for name in (image, other))
    taker.transfer.offer_peers(image.infohash, [evolve(peer(holder), shut=True)])
    yard.until(lambda: given.status is not None and alone.status is not None, "both are begun")
    assert given.waits
    assert alone.waits
    taker.transfer.offer_peers(image.infohash, [peer(holder)])
    assert not given.waits
    yard.until(fetched(taker, image), "the image has come")
    assert alone.waits
    monkeypatch.setattr(libtorrent_transfer, "WAIT_LOOKS", 1)
    yard.until(lambda: not alone.waits, "the other one starts without anybody")
