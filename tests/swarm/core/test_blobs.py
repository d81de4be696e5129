"""Blobs come whole and true, or not at all; whoever lies, stalls or vanishes costs time, never the blob."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

from bep35.merkle import HASH_BYTES, root_of
from swarm.address import Address
from swarm.blob_checks import LeavesCheck
from swarm.blobs import BLAMED_MAX, BLOB_BYTES_MAX, BLOBS_MAX, BlobFetches
from swarm.core import PeerInfo, SwarmSettings
from swarm.effects import BlobFetched, BlobUnavailable, BlobWanted, Refused
from swarm.wire import CHUNK_BYTES
from tests.swarm.core.village import Resident, Village

INFOHASH = hashlib.sha256(b"image").digest()
BLOB = random.Random(5).randbytes(3 * CHUNK_BYTES + 777)
BLOB_ID = hashlib.sha256(BLOB).digest()
SETTINGS = SwarmSettings(blob_give_up_s=60.0)


def village(peers: int, seed: int = 1) -> tuple[Village, Resident, list[Resident]]:
    """One who wants, and others on its LAN; all know each other."""
    place = Village(seed, delay_s=(0.001, 0.003))
    asker = place.add(0, SETTINGS, lan="l")
    others = [place.add(1 + n, SETTINGS, lan="l") for n in range(peers)]
    place.run_until(3.0)
    assert len(asker.core.peers()) == peers
    return place, asker, others


def give(place: Village, resident: Resident, blob: bytes = BLOB, *, tell: bool = True) -> None:
    resident.blobs["torrent", BLOB_ID] = blob
    if tell:
        place.do(resident, resident.core.set_holdings([INFOHASH], place.now_s))


def fetch(place: Village, asker: Resident, for_s: float = 100.0) -> list[BlobFetched | BlobUnavailable]:
    place.do(asker, asker.core.fetch_blob("torrent", BLOB_ID, len(BLOB), INFOHASH, place.now_s))

    def ended() -> bool:
        return bool(asker.said(BlobFetched) + asker.said(BlobUnavailable))

    place.run_until(place.now_s + for_s, ended)
    return [*asker.said(BlobFetched), *asker.said(BlobUnavailable)]


FETCHED = [BlobFetched("torrent", BLOB_ID, BLOB)]


def test_a_holder_gives_it() -> None:
    """A node could not get the torrent of a release it knows of."""
    place, asker, others = village(3)
    give(place, others[2])
    place.run_until(5.0)
    began_s = place.now_s
    assert fetch(place, asker) == FETCHED
    assert place.now_s - began_s < 0.2


def test_whoever_has_it_gives_it_though_nobody_said_so() -> None:
    """A release would wait for the next beacon of its publisher."""
    place, asker, others = village(4)
    give(place, others[1], tell=False)
    assert fetch(place, asker) == FETCHED


LIES: dict[str, Callable[[bytes], bytes]] = {
    "other bytes": lambda blob: bytes([blob[0] ^ 1]) + blob[1:],
    "last byte wrong": lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]),
    "too short": lambda blob: blob[:-1],
    "too long": lambda blob: blob + b"x",
    "empty": lambda _: b"",
    "nothing but the first chunk": lambda blob: blob[:CHUNK_BYTES],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("seed", range(3))
def test_liars_cost_time_only(lie: Callable[[bytes], bytes], seed: int) -> None:
    """One member with false bytes could keep a release from everybody, or have false bytes used."""
    place, asker, others = village(4, seed)
    for liar in others[:3]:
        give(place, liar, lie(BLOB))
    give(place, others[3])
    place.run_until(5.0)
    assert fetch(place, asker) == FETCHED


def test_only_liars_means_unavailable_and_says_why() -> None:
    """A node would wait for ever without a word."""
    place, asker, others = village(2)
    for liar in others:
        give(place, liar, LIES["other bytes"](BLOB))
    place.run_until(5.0)
    began_s = place.now_s
    (end,) = fetch(place, asker)
    assert isinstance(end, BlobUnavailable)
    assert "do not match" in end.why
    assert place.now_s - began_s < SETTINGS.blob_give_up_s + 5
    assert {r.source for r in asker.said(Refused) if r.what == "blob"} == {str(o.address) for o in others}


@pytest.mark.parametrize("reply", [b"", b"garbage", bytes(200_000)], ids=["nothing", "garbage", "zeros"])
def test_silent_and_garbage_peers_cost_time_only(reply: bytes) -> None:
    """One peer that answers nothing, or nonsense, could hold up an update."""
    place, asker, others = village(3)
    for resident in others:
        give(place, resident)
    place.run_until(5.0)
    place.reply_filter = lambda peer, real: real if peer is others[2] else reply
    assert fetch(place, asker) == FETCHED


def test_who_answers_under_a_nodes_id_has_nobody_but_himself_blamed() -> None:
    """Whoever has the swarm key could keep a node from the only holder of a release, by lying under that one's id."""

    def known(name: bytes, port: int) -> list[PeerInfo]:
        address = Address("10.0.0.9", port)
        return [PeerInfo(name * 20, "n", "", address, 1, same_site=True, heard_s=0.0, holdings=frozenset())]

    fetches = BlobFetches(random.Random(1), window=1, give_up_s=60.0)
    fetches.start("torrent", BLOB_ID, 10, INFOHASH, 0.0)
    for port in range(1, 3 * BLAMED_MAX):
        ((order,), _) = fetches.orders(0.0, lambda *_, port=port: known(b"h", port))
        fetches.lied(order, "not the bytes that were signed", 0.0)
        assert fetches.orders(0.0, lambda *_, port=port: known(b"h", port)) == ([], []), "asked there again"
    (fetch,) = fetches._fetches.values()
    assert len(fetch.liars) == BLAMED_MAX, "whoever has many addresses fills the memory"
    both = [*known(b"h", 1), *known(b"x", 2)]
    ((order,), _) = fetches.orders(0.0, lambda *_: both)
    assert order.node_id == b"x" * 20, "an id under which somebody lied comes last"
    fetches.refused(order, "does not have it", 0.0)
    ((order,), _) = fetches.orders(0.0, lambda *_: both)
    assert order.node_id == b"h" * 20, "and it comes"


def test_a_silent_peer_is_asked_again_only_behind_all_others() -> None:
    """A mute peer that says it holds the image would take its ten seconds again and again, while others have it."""
    place, asker, others = village(3)
    mute, holder = others[0], others[2]
    give(place, mute)
    place.run_until(5.0)
    asked = 0

    def reply_of(peer: Resident, real: bytes) -> bytes | None:
        nonlocal asked
        asked += peer is mute
        if asked:
            holder.blobs["torrent", BLOB_ID] = BLOB  # it has it by now, and has not said so
        return None if peer is mute else real

    place.reply_filter = reply_of
    began_s = place.now_s
    assert fetch(place, asker) == FETCHED
    assert asked == SETTINGS.blob_window, "asked once, for as many ranges as at one time"
    assert place.now_s - began_s < SETTINGS.stream_timeout_s + 3.0
    asker.effects.clear()
    began_s = place.now_s
    assert fetch(place, asker) == FETCHED
    assert place.now_s - began_s < 3.0, "what it cost is forgotten with the next blob"


def test_a_source_that_vanishes_is_replaced() -> None:
    """The publisher's death in the middle of a fetch would end the update."""
    place, asker, others = village(2)
    for resident in others:
        give(place, resident)
    place.run_until(5.0)
    served: list[Resident] = []

    def die_after_one(peer: Resident, reply: bytes) -> bytes:
        served.append(peer)
        peer.alive = len(served) > 1
        return reply

    place.reply_filter = die_after_one
    assert fetch(place, asker) == FETCHED
    assert {id(peer) for peer in served} == {id(peer) for peer in others}


def test_a_blob_not_ready_is_asked_for_again() -> None:
    """A node would give up on a block index that its peer is just computing."""
    place, asker, others = village(1)
    place.do(others[0], others[0].core.set_holdings([INFOHASH], place.now_s))
    place.run_until(5.0)
    place.do(asker, asker.core.fetch_blob("torrent", BLOB_ID, len(BLOB), INFOHASH, place.now_s))
    place.run_until(20.0)
    wanted = others[0].said(BlobWanted)
    assert {(w.kind, w.blob_id, w.asker.host) for w in wanted} == {("torrent", BLOB_ID, asker.address.host)}
    give(place, others[0])
    place.run_until(45.0)
    assert asker.said(BlobFetched) == FETCHED


def test_unknown_sizes_kinds_and_crowds_are_refused_at_once() -> None:
    """A mistake in a manifest could eat a small Pi's memory."""
    place, asker, _ = village(1)
    core, now_s = asker.core, place.now_s
    for kind, size in (("torrent", BLOB_BYTES_MAX + 1), ("torrent", 0), ("song", 10)):
        assert isinstance(core.fetch_blob(kind, BLOB_ID, size, INFOHASH, now_s)[0], BlobUnavailable)
    for number in range(BLOBS_MAX):
        core.fetch_blob("torrent", bytes([number]) * 32, 10, INFOHASH, now_s)
    assert isinstance(core.fetch_blob("torrent", BLOB_ID, 10, INFOHASH, now_s)[0], BlobUnavailable)
    core.cancel_blob("torrent", bytes(32))
    assert not any(
        isinstance(effect, BlobUnavailable)
        for effect in core.fetch_blob("torrent", BLOB_ID, 10, INFOHASH, now_s)
    )


def test_a_cancelled_fetch_says_nothing_more() -> None:
    """A superseded release would come back from the dead when its torrent arrives."""
    place, asker, others = village(1)
    give(place, others[0])
    place.run_until(5.0)
    place.do(asker, asker.core.fetch_blob("torrent", BLOB_ID, len(BLOB), INFOHASH, place.now_s))
    asker.core.cancel_blob("torrent", BLOB_ID)
    place.run_until(100.0)
    assert asker.said(BlobFetched) == []
    assert asker.said(BlobUnavailable) == []


@pytest.mark.parametrize("count", [1, 2, 3, 2047, 2048, 2049, 4096, 5000, 6145])
def test_leaves_checked_by_chunk_have_the_root_of_the_whole(count: int) -> None:
    """Block indexes of some sizes could never be fetched: the check by chunks would disagree with BEP-52."""
    leaves = random.Random(count).randbytes(count * HASH_BYTES)
    check = LeavesCheck()
    for offset in range(0, len(leaves), CHUNK_BYTES):
        check.add(leaves[offset : offset + CHUNK_BYTES])
    assert check.blob_id() == root_of(leaves)


def test_leaves_that_are_not_whole_have_no_id() -> None:
    """Bytes that are no leaves could stop the node that checks them."""
    check = LeavesCheck()
    check.add(bytes(33))
    assert check.blob_id() == b""
    assert LeavesCheck().blob_id() == b""


def test_leaves_are_fetched() -> None:
    """Reuse would never find what the old slot holds."""
    place, asker, others = village(2)
    leaves = random.Random(7).randbytes(5000 * HASH_BYTES)
    root = root_of(leaves)
    others[0].blobs["leaves", root] = leaves
    wrong = bytearray(leaves)
    wrong[100_000] ^= 1
    others[1].blobs["leaves", root] = bytes(wrong)
    for resident in others:
        place.do(resident, resident.core.set_holdings([INFOHASH], place.now_s))
    place.run_until(5.0)
    place.do(asker, asker.core.fetch_blob("leaves", root, len(leaves), INFOHASH, place.now_s))
    place.run_until(20.0)
    assert asker.said(BlobFetched) == [BlobFetched("leaves", root, leaves)]
