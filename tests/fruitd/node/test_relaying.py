"""A node whose owner lets it relay images: which it fetches for others, and all that it does not. Between sites:
`tests/simulations/test_relaying.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest

from fruitd.node.effects import DropParcel, FillSlot, KeepShare, NodeEffect, OfferPeers, RelayImage, StopSeed
from fruitd.node.library import Library
from fruitd.node.parcel_cache import ParcelCache
from fruitd.node.relaying import AGAIN_S, FORGET_S, PATIENCE_S, WHOLE_S
from fruitd.updater.effects import Note
from fruitd.updater.journal import State
from swarm.address import Address
from swarm.me import HOLDING_BYTES
from swarm.wire import Holders, Who
from tests.fruitd.node.fleet import Signed, make_manifest, make_release, only, state_of
from tests.fruitd.node.test_passing_on import ASKER, ENVELOPE, HOLDER, Helper, root_of

MIB = 1024 * 1024
T = TypeVar("T")


class Relay(Helper):
    """A node under test that may relay images, with so much room for them."""

    def __init__(
        self, *releases: Signed, allowed: bool = True, room_bytes: int = 64 * MIB, slots: bool = False
    ) -> None:
        library = Library([], [], ParcelCache("cache", room_bytes))
        super().__init__(*releases, slots=slots, relay_images=allowed, library=library)
        self.done: list[NodeEffect] = []

    def sought(self, signed: Signed, host: str = ASKER.host) -> list[RelayImage]:
        """The peer at this host asks who holds the image; what this node begins to fetch for it."""
        for peer in self.said:
            self.says_again(peer)
        exchange_id, frame = ENVELOPE.seal_request(Who(signed.release.infohash[:HOLDING_BYTES]))
        reply, effects = self.core.answer(frame, Address(host, 51_234), self.now_s)
        assert isinstance(ENVELOPE.open_reply(exchange_id, reply), Holders)
        self.done += effects
        self.carry_out(effects)
        return found(effects, RelayImage)

    def sought_patiently(self, signed: Signed, host: str = ASKER.host) -> list[RelayImage]:
        """The same now, and again and again for as long as it takes."""
        begun = self.sought(signed, host)
        for _ in range(3):
            self.now_s += PATIENCE_S / 2
            begun += self.sought(signed, host)
        return begun

    def wakes_up(self) -> list[NodeEffect]:
        """Some seconds pass."""
        self.now_s += 6.0
        effects = self.core.on_wakeup(self.now_s)
        self.done += effects
        return effects

    def words(self) -> list[str]:
        return [note.what for note in found(self.done, Note)]


def found(effects: Sequence[object], kind: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_an_image_that_is_sought_in_vain_is_fetched_and_given() -> None:
    """Two sites that nobody can reach from outside would never have an image of each other."""
    one = make_release(1)
    relay = Relay(one)
    (begun,) = relay.sought_patiently(one)
    assert (begun.infohash, begun.torrent) == (one.release.infohash.hex(), one.torrent)
    assert begun.length_bytes == one.release.length_bytes
    assert relay.core.library.holdings(None, one.release.infohash) == [one.release.infohash]
    (offered,) = found(relay.wakes_up(), OfferPeers)
    assert [peer.address.host for peer in offered.peers] == [HOLDER.host]
    effects = relay.core.image_relayed(begun.infohash, relay.now_s)
    (kept,) = found(effects, KeepShare)
    assert (kept.infohash, kept.path, kept.parcel) == (begun.infohash, begun.path, False)
    assert relay.core.library.holdings(None) == [one.release.infohash]
    assert not found(relay.wakes_up(), OfferPeers)
    assert relay.sought_patiently(one) == []


def test_nothing_is_relayed_without_leave() -> None:
    """Somebody's line would carry images that he has no use for, and never agreed to."""
    one = make_release(1)
    relay = Relay(one, allowed=False)
    assert relay.sought_patiently(one) == []
    assert relay.asked_at == []


def test_who_is_brought_together_with_a_holder_in_time_gets_it_from_there() -> None:
    """An image would cross a line in the middle that it need not."""
    one = make_release(1)
    relay = Relay(one)
    for _ in range(5):
        assert relay.sought(one) == []
        relay.now_s += PATIENCE_S / 6
    assert relay.asked_at == []


def test_only_what_manifests_name_is_fetched() -> None:
    """Anybody could have a node fill its card with whatever he likes."""
    one, unknown = make_release(1), make_release(2)
    relay = Relay(one)
    relay.greets(HOLDER, unknown)
    assert relay.sought_patiently(unknown) == []


@pytest.mark.parametrize("host", ["198.51.100.77", HOLDER.host], ids=["stranger", "holder"])
def test_strangers_and_the_only_holder_get_nothing_fetched(host: str) -> None:
    """Whoever holds it needs no relay; whom nobody knows may want to wear out a card."""
    one = make_release(1)
    relay = Relay(one)
    relay.greets(HOLDER, one, fetching=one)
    assert relay.sought_patiently(one, host) == []


def test_mates_get_nothing_fetched() -> None:
    """Within a site they give each other what one of them fetches."""
    one = make_release(1)
    relay = Relay(one)
    relay.greets(ASKER, near=True)
    assert relay.sought_patiently(one) == []


def test_an_image_without_room_is_told_once() -> None:
    """The owner would wonder why nothing comes, or drown in complaints."""
    one = make_release(1)
    relay = Relay(one, room_bytes=one.release.length_bytes - 1)
    for _ in range(3):
        assert relay.sought_patiently(one) == []
    assert relay.words() == ["not relayed"]
    (note,) = found(relay.done, Note)
    assert "parcel_cache_bytes" in note.why


def test_an_image_that_cannot_be_fetched_is_dropped() -> None:
    """What is left of it would take the room of parcels."""
    one = make_release(1)
    relay = Relay(one)
    (begun,) = relay.sought_patiently(one)
    effects = relay.core.relay_failed(begun.infohash, "the disk is full", relay.now_s)
    assert [drop.path for drop in found(effects, DropParcel)] == [begun.path]
    assert relay.core.library.holdings(None) == []
    assert not found(relay.wakes_up(), OfferPeers)
    assert relay.core.image_relayed(begun.infohash, relay.now_s) == []


def test_an_image_that_nobody_seeks_any_more_is_not_waited_for() -> None:
    """Its holder may be gone for good, and no other image would be relayed any more."""
    one = make_release(1)
    relay = Relay(one)
    (begun,) = relay.sought_patiently(one)
    for _ in range(3):
        relay.now_s += FORGET_S * 0.9
        relay.sought(one)
        assert not found(relay.wakes_up(), StopSeed)
    relay.now_s += FORGET_S
    effects = relay.wakes_up()
    assert [stopped.infohash for stopped in found(effects, StopSeed)] == [begun.infohash]
    assert relay.core.library.holdings(None) == []


def test_an_image_that_does_not_come_makes_way() -> None:
    """A liar who says he holds it, and a friend who goes on asking, would end all relaying here."""
    one = make_release(1)
    relay = Relay(one)
    relay.sought_patiently(one)
    begun_s = relay.now_s
    while relay.now_s - begun_s < WHOLE_S - FORGET_S:
        relay.now_s += FORGET_S / 2
        relay.sought(one)
        assert not found(relay.wakes_up(), StopSeed)
    relay.now_s = begun_s + WHOLE_S
    relay.sought(one)
    assert found(relay.wakes_up(), StopSeed)


def test_one_image_at_a_time_and_each_once_in_a_while() -> None:
    """Where there is room for one, two that are sought in turn would cross the line again and again."""
    one, two = make_release(1), make_release(2)
    room_bytes = max(one.release.length_bytes, two.release.length_bytes)
    relay = Relay(one, two, room_bytes=room_bytes)
    (first,) = relay.sought_patiently(one)
    assert relay.sought_patiently(two) == []
    relay.core.image_relayed(first.infohash, relay.now_s)
    (second,) = relay.sought_patiently(two)
    assert [drop.path for drop in found(relay.done, DropParcel)] == [first.path]
    relay.core.image_relayed(second.infohash, relay.now_s)
    assert relay.sought_patiently(one) == []
    relay.now_s += AGAIN_S
    assert len(relay.sought_patiently(one)) == 1


def test_nothing_is_relayed_over_a_line_that_images_may_not_use() -> None:
    """A quota would be passed, or a metered line be used, for somebody else."""
    one = make_release(1)
    relay = Relay(one)
    relay.core.set_able("over quota", relay.now_s)
    assert relay.sought_patiently(one) == []
    relay.core.set_able(None, relay.now_s)
    (begun,) = relay.sought_patiently(one)
    relay.core.set_able("over quota", relay.now_s)
    assert begun.infohash in [stopped.infohash for stopped in found(relay.wakes_up(), StopSeed)]
    assert not found(relay.wakes_up(), OfferPeers)
    relay.core.set_able(None, relay.now_s)
    assert relay.sought_patiently(one) == [begun]


def test_an_update_of_its_own_goes_first() -> None:
    """A node would be late, or lack memory, because of somebody else's image."""
    other, own = make_release(1), make_release(2, hardware=("zero",))
    relay = Relay(other, slots=True)
    (begun,) = relay.sought_patiently(other)
    relay.core.library.leaves.put(root_of(own), own.leaves, relay.now_s)
    effects = relay.core.publish(make_manifest(2, other, own), own.torrent, None, relay.now_s)
    assert state_of(relay.core) is State.REUSING
    stopped, filled = only(effects, StopSeed), only(effects, FillSlot)
    assert stopped.infohash == begun.infohash
    assert effects.index(stopped) < effects.index(filled)
    assert not found(relay.wakes_up(), OfferPeers)
    relay.now_s += AGAIN_S
    assert relay.sought_patiently(other) == []
