"""Whom libtorrent dials, over what, and when. Real time passes here."""

from __future__ import annotations

import math
import time

import pytest
from attrs import evolve

from swarm.transfer import libtorrent_transfer, manner
from swarm.transfer.session_settings import TICK_BUSY_MS
from tests.swarm.transfer.contract import fetched, peer
from tests.swarm.transfer.loopback import RealYard

UTP = 1 << 17
"""`peer_info::utp_socket`, which the bindings do not name."""


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
