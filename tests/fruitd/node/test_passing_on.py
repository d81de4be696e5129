"""A node that is asked for what others hold: what it fetches for the asker, and all that it does not. Between sites:
`tests/simulations/test_passing_on.py`."""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs
import pytest

from bep35 import metainfo
from fruitd.node.core import NodeCore
from fruitd.node.effects import FillSlot, NodeEffect
from fruitd.node.library import Library
from fruitd.node.passed_shelf import PASSED_BLOB_BYTES_MAX, PASSED_BYTES_MAX, PASSED_KEPT_S, PassedShelf
from fruitd.node.passing_on import AGAIN_S, GUESS_S, PATIENCE_EACH_S, PATIENCE_S, PassingOn
from fruitd.updater.journal import State
from swarm.address import Address
from swarm.blobs import FOR_OTHERS_S, LIARS_FOR_OTHERS_MAX
from swarm.effects import BlobWanted, OpenStream
from swarm.envelope import Envelope
from swarm.me import HOLDING_BYTES, Hello, Me
from swarm.obtaining import HOLDER_HEARD_S
from swarm.wire import Chunk, Get, No, Reply
from tests.fruitd.node.fleet import (
    KEYRING,
    NOW_S,
    Signed,
    make_core,
    make_manifest,
    make_release,
    only,
    state_of,
)

ENVELOPE = Envelope(KEYRING, random.Random(11))
ASKER = Address("198.51.100.1", 40_001)
HOLDER = Address("203.0.113.9", 40_009)
BYSTANDER = Address("203.0.113.33", 40_033)
PATIENT_S = PATIENCE_S + 3 * PATIENCE_EACH_S
"""Longer than any patience with three peers."""


class Helper:
    """A node under test, the peers it knows, and what they hold."""

    def __init__(
        self,
        *releases: Signed,
        slots: bool = False,
        relay_images: bool = False,
        library: Library | None = None,
    ) -> None:
        self.now_s = NOW_S
        self.core = make_core(hardware=("zero",), slots=slots, relay_images=relay_images, library=library)
        self.core.offer(make_manifest(1, *releases), self.now_s)
        self.blobs: dict[tuple[str, bytes], bytes] = {}
        for release in releases:
            self.blobs["torrent", release.release.torrent_sha256] = release.torrent
            self.blobs["leaves", root_of(release)] = release.leaves
        self.said: dict[Address, Hello] = {}
        self.asked_at: list[Address] = []
        self.left_open: list[OpenStream] = []
        self.greets(ASKER)
        self.greets(BYSTANDER)
        self.greets(HOLDER, *releases)

    def greets(
        self, peer: Address, *holds: Signed, near: bool = False, fetching: Signed | None = None
    ) -> None:
        """This peer says hello, and what it holds, whole but for what it is `fetching`."""
        holdings = tuple(signed.release.infohash[:HOLDING_BYTES] for signed in holds)
        me = Me(f"{peer!s:<20.20}".encode(), peer.host, "", 47101, 47102)
        lacks = fetching.release.infohash[:HOLDING_BYTES] if fetching is not None else b""
        hello = Hello(me, bytes(16), holdings, near, fetching=lacks)
        self.said[peer] = hello
        self.says_again(peer)

    def says_again(self, peer: Address) -> None:
        """Peers go on saying hello."""
        self.core.on_datagram(ENVELOPE.seal_datagram(self.said[peer]), peer, self.now_s)

    def asks(self, kind: str, blob_id: bytes, host: str = ASKER.host, *, answered: bool = True) -> Reply:
        """The peer at this host asks for a range; whatever this node asks others then is `answered`, or left open."""
        for peer in self.said:
            self.says_again(peer)
        exchange_id, frame = ENVELOPE.seal_request(Get(kind, blob_id, 0, 60_000))
        reply, effects = self.core.answer(frame, Address(host, 51_234), self.now_s)
        if answered:
            self.carry_out(effects)
        else:
            self.left_open += [effect for effect in effects if isinstance(effect, OpenStream)]
        return ENVELOPE.open_reply(exchange_id, reply)

    def asks_patiently(self, kind: str, blob_id: bytes, host: str = ASKER.host) -> Reply:
        """The same now, and again when it has been in want for long."""
        self.asks(kind, blob_id, host)
        self.now_s += PATIENT_S
        self.asks(kind, blob_id, host)
        return self.asks(kind, blob_id, host)

    def carry_out(self, effects: Iterable[NodeEffect]) -> None:
        """Peers answer what this node asks them for, from what they hold."""
        for effect in effects:
            if isinstance(effect, OpenStream):
                self.asked_at.append(effect.peer)
                exchange_id, get = ENVELOPE.open_request(effect.request)
                assert isinstance(get, Get)
                blob = self.blobs.get((get.kind, get.blob_id)) if effect.peer.host == HOLDER.host else None
                reply = (
                    No("") if blob is None else Chunk(len(blob), blob[get.offset : get.offset + get.length])
                )
                sealed = ENVELOPE.seal_reply(exchange_id, reply)
                self.carry_out(self.core.on_stream_reply(effect.token, sealed, self.now_s))


def root_of(signed: Signed) -> bytes:
    return metainfo.parse(signed.torrent).pieces_root


def sha256_of(signed: Signed) -> bytes:
    return signed.release.torrent_sha256


def test_torrent_and_leaves_are_fetched_for_a_peer_that_cannot_get_them() -> None:
    """Two sites that no datagram passes between would never have a release of each other."""
    one = make_release(1)
    helper = Helper(one)
    assert helper.asks_patiently("torrent", sha256_of(one)) == Chunk(len(one.torrent), one.torrent)
    assert helper.asks_patiently("leaves", root_of(one)) == Chunk(len(one.leaves), one.leaves)
    assert {address.host for address in helper.asked_at} == {HOLDER.host}, (
        "somebody who does not hold it was asked"
    )
    assert helper.core.passing_on.given_bytes == len(one.torrent) + len(one.leaves)
    assert helper.core.library.holdings(None) == [], "it says that it holds the image"


def test_nothing_is_fetched_before_the_asker_has_waited() -> None:
    """Everybody who is asked while a holder makes its leaves would fetch them too, through its thin line."""
    one = make_release(1)
    helper = Helper(one)
    for _ in range(9):
        helper.asks("torrent", sha256_of(one))
        helper.now_s += PATIENCE_S / 10
    assert helper.asked_at == []


def test_many_who_are_asked_do_not_begin_at_once() -> None:
    """A question of one node would have all that it knows fetch from the one holder at the same moment."""
    one = make_release(1)
    began_s: list[float] = []
    for seed in range(20):
        helper = Helper(one)
        helper.core.passing_on = PassingOn(
            helper.core.swarm, helper.core.store, helper.core.library, random.Random(seed)
        )
        while not helper.asked_at:
            helper.asks("torrent", sha256_of(one))
            helper.now_s += 0.5
        began_s.append(helper.now_s - NOW_S)
    assert max(began_s) - min(began_s) > 2 * PATIENCE_EACH_S


def test_only_what_manifests_name_is_fetched() -> None:
    """Whoever has the swarm key would have nodes fetch for him whatever he likes."""
    one, two = make_release(1), make_release(2)
    helper = Helper(one)
    helper.greets(HOLDER, one, two)
    helper.blobs["torrent", sha256_of(two)] = two.torrent
    for kind, blob_id in (("torrent", sha256_of(two)), ("torrent", root_of(one)), ("song", sha256_of(one))):
        assert isinstance(helper.asks_patiently(kind, blob_id), No)
    assert helper.asked_at == []


@pytest.mark.parametrize("host", ["192.0.2.77", BYSTANDER.host])
def test_strangers_and_mates_get_nothing_fetched(host: str) -> None:
    """Anybody behind any address could use this node's line; a site would fetch once more for each of its mates."""
    one = make_release(1)
    helper = Helper(one)
    helper.greets(BYSTANDER, near=True)
    assert isinstance(helper.asks_patiently("torrent", sha256_of(one), host), No)
    assert helper.asked_at == []


def test_nothing_is_fetched_where_nobody_says_that_he_holds_it() -> None:
    """A node that asks because it was asked would set off others, and those others again: a wave through the swarm."""
    one = make_release(1)
    helper = Helper(one)
    helper.greets(HOLDER)
    helper.greets(ASKER, one, fetching=one)
    assert isinstance(helper.asks_patiently("torrent", sha256_of(one)), No)
    assert helper.asked_at == [], "the asker alone says that it holds it"


def test_a_holder_that_is_not_heard_any_more_is_not_asked() -> None:
    """Helpers that its translator does not let in any more would try, and fetch at last when nobody wants it."""
    one = make_release(1)
    helper = Helper(one)
    helper.asks("torrent", sha256_of(one))
    del helper.said[HOLDER]
    helper.now_s += HOLDER_HEARD_S
    assert isinstance(helper.asks("torrent", sha256_of(one)), No)
    assert helper.asked_at == []
    helper.greets(HOLDER, one)
    helper.asks("torrent", sha256_of(one))
    assert helper.asked_at == [Address(HOLDER.host, 47101)]


def test_a_node_that_says_it_holds_the_image_passes_nothing_of_it_on() -> None:
    """Two that believe of each other that they hold it would ask each other for ever."""
    one = make_release(1)
    helper = Helper(one)
    helper.core.publish(make_manifest(2, one), one.torrent, "/srv/image", helper.now_s)
    for _ in range(2 * int(PATIENT_S)):
        assert isinstance(helper.asks("leaves", root_of(one)), No)
        helper.now_s += 1.0
    assert helper.asked_at == []


def test_a_node_that_may_not_use_its_uplink_passes_nothing_on() -> None:
    """A metered line would be paid for others; what was fetched before would go on being given over it."""
    one = make_release(1)
    helper = Helper(one)
    assert isinstance(helper.asks_patiently("torrent", sha256_of(one)), Chunk)
    helper.core.set_able("the uplink is metered", helper.now_s)
    helper.now_s += AGAIN_S
    helper.asked_at.clear()
    assert isinstance(helper.asks_patiently("torrent", sha256_of(one)), No)
    assert helper.asked_at == []


def test_what_is_on_its_way_for_others_is_stopped_when_the_uplink_may_not_be_used() -> None:
    """A node would go on to pay for what comes, and give it."""
    one = make_release(1)
    helper = Helper(one)
    helper.asks("torrent", sha256_of(one))
    helper.now_s += PATIENT_S
    helper.asks("torrent", sha256_of(one), answered=False)
    assert helper.left_open
    helper.core.set_able("the uplink is metered", helper.now_s)
    helper.carry_out(helper.left_open)
    assert isinstance(helper.asks("torrent", sha256_of(one)), No)


def test_one_blob_at_a_time() -> None:
    """The memory that a node spends on others would grow with what they ask for."""
    one, two = make_release(1), make_release(2)
    helper = Helper(one, two)
    for signed in (one, two, one, two):
        helper.asks("torrent", sha256_of(signed), answered=False)
        helper.now_s += PATIENT_S / 2
    helper.now_s += PATIENT_S
    for signed in (one, two, two):
        helper.asks("torrent", sha256_of(signed), answered=False)
    (one_stream,) = helper.left_open
    helper.now_s += FOR_OTHERS_S
    helper.carry_out(helper.core.on_stream_failed(one_stream.token, "nothing came", helper.now_s))
    assert isinstance(helper.asks_patiently("torrent", sha256_of(two)), Chunk), (
        "one that never ends is in the way"
    )


def test_a_blob_is_fetched_once_in_a_while() -> None:
    """Who asks without end would have this node's line, and the holder's, busy without end."""
    one = make_release(1)
    helper = Helper(one)
    helper.asks_patiently("torrent", sha256_of(one))
    began_s, times = helper.now_s, len(helper.asked_at)
    while helper.now_s < began_s + AGAIN_S - 20:
        helper.core.library.passed.clear()
        helper.asks("torrent", sha256_of(one))
        helper.now_s += 20
    assert len(helper.asked_at) == times
    helper.now_s += 20
    helper.asks("torrent", sha256_of(one))
    assert len(helper.asked_at) == 2 * times, "and never again"


def test_holders_that_lie_are_given_up() -> None:
    """Each address that claims to hold an image could cost this node's line a blob's whole length."""
    one = make_release(1)
    helper = Helper(one)
    liars = [Address(HOLDER.host, 42_000 + number) for number in range(3 * LIARS_FOR_OTHERS_MAX)]
    for liar in liars:
        helper.greets(liar, one)
    helper.blobs["torrent", sha256_of(one)] = bytes(len(one.torrent))
    helper.asks("torrent", sha256_of(one))
    helper.now_s += PATIENT_S + len(liars) * PATIENCE_EACH_S
    assert isinstance(helper.asks("torrent", sha256_of(one)), No)
    assert len(helper.asked_at) == LIARS_FOR_OTHERS_MAX


def test_what_is_too_large_for_memory_is_not_passed_on() -> None:
    """The block index of a 16 GiB image is 32 MiB, held twice while it comes: a Pi promises 96 MiB in all."""
    passing, wanted = _of_length(PASSED_BLOB_BYTES_MAX // 32 * 16_384 + 1)
    assert all(passing.asked(wanted, (), NOW_S + s) == [] for s in (0.0, PATIENT_S))
    passing, wanted = _of_length(PASSED_BLOB_BYTES_MAX // 32 * 16_384)
    assert [len(passing.asked(wanted, (), NOW_S + s)) > 0 for s in (0.0, PATIENT_S)] == [False, True]


def _of_length(length_bytes: int) -> tuple[PassingOn, BlobWanted]:
    """A node that is asked for the leaves of an image of this length, which its torrent does not show."""
    small = make_release(1)
    large = attrs.evolve(small, release=attrs.evolve(small.release, length_bytes=length_bytes))
    helper = Helper(large)
    helper.core.library.shelve(small.torrent)
    return helper.core.passing_on, BlobWanted("leaves", root_of(small), ASKER)


def test_leaves_of_an_image_whose_torrent_is_not_here_bring_the_torrent_first() -> None:
    """A helper that was started again would not know what it is asked for, and whoever has the torrent asks for leaves only."""
    one = make_release(1)
    helper = Helper(one)
    assert isinstance(helper.asks_patiently("leaves", root_of(one)), No)
    assert helper.asked_at == [], "and not as soon as one that has the torrent would get the leaves"
    helper.now_s += GUESS_S
    assert isinstance(helper.asks("leaves", root_of(one)), No)
    assert helper.core.library.blob("torrent", sha256_of(one)) == one.torrent
    assert isinstance(helper.asks_patiently("leaves", root_of(one)), Chunk)


def test_a_node_at_work_on_its_own_update_passes_nothing_on() -> None:
    """Memory for others would come on top of what an update needs, or push out the leaves it is checked by."""
    one, other = make_release(1, hardware=("zero",)), make_release(2)
    helper = Helper(other, slots=True)
    helper.core.library.passed.put("torrent", sha256_of(other), other.torrent, helper.now_s)
    helper.core.library.leaves.put(root_of(one), one.leaves, helper.now_s)
    helper.core.publish(make_manifest(2, one, other), one.torrent, None, helper.now_s)
    assert state_of(helper.core) is State.REUSING
    helper.core.library.passed.clear()
    assert isinstance(helper.asks_patiently("torrent", sha256_of(other)), No)
    assert helper.asked_at == []
    helper.core.library.passed.put("torrent", sha256_of(other), other.torrent, helper.now_s)
    helper.core.leaves_made(root_of(one), one.leaves, helper.now_s)
    assert helper.core.library.passed.get("torrent", sha256_of(other)) is None, (
        "leaves of its own need the room"
    )


def test_what_was_fetched_for_others_is_not_fetched_again_for_itself() -> None:
    """A node would fetch twice what lies in its memory."""
    one = make_release(1, hardware=("zero",))
    core: NodeCore = make_core(hardware=("zero",))
    core.library.passed.put("torrent", sha256_of(one), one.torrent, NOW_S)
    core.library.passed.put("leaves", root_of(one), one.leaves, NOW_S)
    _, effects = core.offer(make_manifest(1, one), NOW_S)
    assert only(effects, FillSlot).leaves == one.leaves
    assert not [effect for effect in effects if isinstance(effect, OpenStream)]


def test_what_is_kept_for_others_is_bounded_in_bytes_and_time() -> None:
    """Memory would fill with what others once wanted."""
    shelf, part = PassedShelf(), PASSED_BYTES_MAX // 4
    for number in range(5):
        shelf.put("leaves", bytes([number]), bytes(part), float(number))
        shelf.given("leaves", b"\0", float(number))
    kept = [number for number in range(5) if shelf.get("leaves", bytes([number])) is not None]
    assert kept == [0, 2, 3, 4], "the least recently given goes first"
    shelf.forget_unused(PASSED_KEPT_S + 3.5)
    assert [n for n in range(5) if shelf.get("leaves", bytes([n])) is not None] == [0, 4]
