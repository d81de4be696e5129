"""libtorrent keeps the contract of transfers, on loopback and real files. Real time passes here."""

from __future__ import annotations

from functools import partial

import pytest

from bep35.bencode import decode, encode
from swarm.errors import UnavailableError
from swarm.transfer import libtorrent_transfer
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.port import ImageJob, TransferStopped
from swarm.transfer.session_settings import TransferSettings
from tests.swarm.transfer.contract import LENGTH, TransferContract, peer
from tests.swarm.transfer.loopback import RealYard


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


def test_a_taken_port_is_an_error() -> None:
    """A second daemon would listen on a port that nobody knows."""
    first = LibtorrentTransfer(TransferSettings(b"a" * 20, "127.0.0.1", 0))
    try:
        with pytest.raises(UnavailableError, match=f"transfer port {first.port} on 127.0.0.1"):
            LibtorrentTransfer(TransferSettings(b"b" * 20, "127.0.0.1", first.port))
    finally:
        first.close()


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


def test_what_a_peer_gave_before_its_connection_broke_is_counted_once(yard: RealYard) -> None:
    """Where lines break, a month's quota would be used up by one image: libtorrent counts on from the connection before."""
    image = yard.image(8 * LENGTH)
    giver, taker = yard.node(slow=True), yard.node()
    whole = giver.put(image)
    giver.transfer.seed(whole)
    taker.transfer.fetch(taker.slot(image), b"")

    def here_bytes() -> int:
        taker.transfer.offer_peers(image.infohash, [peer(giver, same_site=False)])
        progress = taker.transfer.progress(image.infohash)
        return progress.have_bytes if progress is not None else 0

    for want_bytes in (2 * LENGTH, 4 * LENGTH, 6 * LENGTH):
        yard.until(partial(lambda least: here_bytes() >= least, want_bytes), f"{want_bytes} bytes are here")
        giver.transfer.stop(image.infohash)
        yard.let_pass(0.5)
        giver.transfer.seed(whole)
    yard.until(lambda: here_bytes() == image.length_bytes, "the rest is here")
    progress = taker.transfer.progress(image.infohash)
    assert progress is not None
    given = sum(source.received_bytes for source in progress.sources)
    crossed = taker.transfer.uplink_bytes()[0]
    assert given < 1.1 * image.length_bytes
    assert 0.8 * image.length_bytes < crossed < 1.1 * image.length_bytes
