"""libtorrent on files, block devices and disks that are full, or do not answer. Real time passes here."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from swarm.transfer.port import ImageFetched, ImageJob, TransferStopped
from tests.swarm.transfer.contract import LENGTH, PATIENCE_S, YardImage, fetched, peer
from tests.swarm.transfer.loopback import _BLANK, RealNode, RealYard


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
