"""What libtorrent keeps for this node's site, and what it grants to all others. Real time passes here."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.session_settings import TransferSettings
from tests.swarm.transfer.contract import LENGTH, PATIENCE_S, YardImage, fetched, peer
from tests.swarm.transfer.loopback import RealNode, RealYard


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
