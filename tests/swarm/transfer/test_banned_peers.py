"""Whom libtorrent bans for wrong pieces, and who is asked again (docs/adr/0016-banned-peers.md). Real time passes here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swarm.transfer.port import BLOCK_BYTES
from swarm.transfer.torrent_job import named
from tests.swarm.transfer.contract import LENGTH, PIECE_BLOCKS, fetched, peer, rejected
from tests.swarm.transfer.loopback import RealYard

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
