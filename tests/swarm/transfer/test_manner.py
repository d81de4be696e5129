"""What of a libtorrent session changes as it runs. Real time passes here."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from swarm.transfer.manner import Manner
from swarm.transfer.session_settings import RUNS_LAN_S
from tests.swarm.transfer.contract import LENGTH, peer
from tests.swarm.transfer.loopback import RealYard


def test_whoever_fetches_over_its_uplink_chooses_every_piece_for_itself(yard: RealYard) -> None:
    """Pieces in a row, rare or not: sites that fetch from each other would hold the same, and wait for the publisher."""
    image = yard.image(16 * LENGTH)
    giver, taker = yard.node(slow=True), yard.node()
    giver.transfer.seed(giver.put(image))
    taker.transfer.fetch(taker.slot(image), b"")
    taker.transfer.offer_peers(image.infohash, [peer(giver)])

    def pieces() -> list[bool]:
        handle = taker.transfer._jobs[image.infohash].handle
        return list(handle.status(handle.query_pieces).pieces) if handle is not None else []

    yard.until(lambda: sum(pieces()) > len(pieces()) // 3 > 0, "a third is here")
    held = pieces()
    follow = sum(here and after for here, after in pairwise(held)) / sum(held)
    assert follow < 0.6, (
        f"{follow:.2f} of the pieces are followed by another; 0.36 if each is chosen by chance"
    )


def test_libtorrent_is_told_of_a_change_once() -> None:
    """Each change of settings wakes its thread."""
    told: list[Mapping[str, int | bool]] = []
    manner = Manner(told.append)
    manner.busy(True)
    for _ in range(3):
        manner.scatter(True)
    manner.busy(False)
    assert [each["whole_pieces_threshold"] for each in told if "whole_pieces_threshold" in each] == [
        0,
        RUNS_LAN_S,
    ]
