"""The peer table believes no more than it must, and never grows beyond its bounds."""

from __future__ import annotations

import random

import pytest

from swarm.address import Address
from swarm.discovery.peers import FORGET_AFTER_S, PLACES_MAX, Heard, PeerTable, sample
from swarm.me import Hello, Me


def hello(number: int, *, site: str = "", port: int = 47101, holdings: tuple[bytes, ...] = ()) -> Hello:
    me = Me(number.to_bytes(20, "big"), f"n{number}", site, port, 47102)
    return Hello(me, bytes(16), holdings)


def host(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 255}"


def hear(
    table: PeerTable,
    number: int,
    *,
    at_s: float = 0.0,
    source: Address | None = None,
    multicast: bool = False,
    proven: bool = False,
    site: str = "",
    holdings: tuple[bytes, ...] = (),
) -> Heard:
    return table.hear(
        hello(number, site=site, holdings=holdings),
        source or Address(host(number), 47101),
        at_s,
        multicast=multicast,
        proven=proven,
    )


def make_table(site: str = "hut", peers_max: int = 512, per_host_max: int = 64) -> PeerTable:
    return PeerTable(site, peers_max=peers_max, per_host_max=per_host_max)


def test_datagrams_go_to_where_they_come_from_and_streams_to_the_told_port() -> None:
    """A translator lets answers in at the port that it gave, and forwards the port that its owner named; nothing else leads
    back."""
    table = make_table()
    outside = Address("10.9.9.9", 60000)
    assert hear(table, 1, source=outside) is Heard.NEW
    assert table.all()[0].info.address == outside
    assert table.at(outside) is table.all()[0]
    assert table.stream_address(outside) == Address("10.9.9.9", 47101)
    assert table.stream_address(Address("10.9.9.8", 5)) == Address("10.9.9.8", 5)


def test_a_known_peer_is_not_moved_by_a_replayed_hello() -> None:
    """A stranger could record a beacon, send it from elsewhere, and cut a node off from its peer."""
    table = make_table()
    hear(table, 1, holdings=(b"h" * 8,))
    before = table.all()[0].info
    stranger = Address("203.0.113.9", 47101)
    assert hear(table, 1, at_s=5.0, source=stranger) is Heard.DOUBTED
    assert table.all()[0].info == before
    assert hear(table, 1, at_s=6.0, source=stranger, proven=True) is Heard.CHANGED
    assert table.all()[0].info.address == stranger
    assert table.at(before.address) is None


def test_same_site_is_heard_by_multicast_or_named_alike() -> None:
    """Images would be fetched across the uplink while the neighbour has them."""
    table = make_table("hut")
    hear(table, 1, site="")
    hear(table, 2, site="hut")
    hear(table, 3, site="barn")
    hear(table, 4, multicast=True)
    assert [peer.info.same_site for peer in table.all()] == [False, True, False, True]
    unnamed = make_table("")
    hear(unnamed, 1, site="")
    assert not unnamed.all()[0].info.same_site


def test_holders_same_site_first() -> None:
    """A node would ask a far peer first, and its site would pay for it."""
    table = make_table("hut")
    wanted = b"image123"
    hear(table, 1, at_s=9.0, site="barn", holdings=(wanted,))
    hear(table, 2, at_s=1.0, site="hut", holdings=(wanted,))
    hear(table, 3, at_s=9.5, site="hut", holdings=(b"another!",))
    assert [p.info.name for p in table.holders(wanted)] == ["n2", "n1"]


def test_bounds_hold_against_a_flood_and_the_living_stay() -> None:
    """A member gone mad could push every real peer out by inventing nodes."""
    table = make_table(peers_max=10, per_host_max=4)
    for number in range(8):
        hear(table, number, at_s=1000.0)
    flood = [hear(table, 100 + n, at_s=1000.0, source=Address("10.66.0.1", 1 + n)) for n in range(50)]
    assert flood.count(Heard.NEW) == 2
    assert {p.info.name for p in table.all()} >= {f"n{n}" for n in range(8)}
    assert len(table) == 10
    late_s = 1000.0 + FORGET_AFTER_S + 1
    assert hear(table, 3, at_s=late_s) is Heard.SAME
    assert hear(table, 900, at_s=late_s) is Heard.NEW
    assert len(table) == 10
    assert table.get((3).to_bytes(20, "big")) is not None


def test_one_host_cannot_be_everybody() -> None:
    """One machine could fill the table."""
    table = make_table(per_host_max=4)
    for number in range(20):
        hear(table, number, source=Address("10.0.0.1", 1000 + number))
    assert len(table) == 4


def test_strikes_count_in_a_row_only() -> None:
    """One lost datagram would cost a peer; or the dead would stay for ever."""
    table = make_table()
    hear(table, 1)
    peer_id = (1).to_bytes(20, "big")
    assert table.strike(peer_id, 3) is None
    assert table.strike(peer_id, 3) is None
    hear(table, 1, at_s=1.0)
    assert table.strike(peer_id, 3) is None
    assert table.strike(peer_id, 3) is None
    dropped = table.strike(peer_id, 3)
    assert dropped is not None
    assert len(table) == 0
    assert table.at(Address(host(1), 47101)) is None
    assert table.strike(peer_id, 3) is None


def test_neighbours_fall_silent() -> None:
    """A neighbour that lost its multicast would get no more news, because everybody counts on the multicast."""
    table = make_table()
    hear(table, 1, at_s=0.0, multicast=True)
    hear(table, 2, at_s=0.0)
    assert [p.info.name for p in table.neighbours(10.0, 120.0)] == ["n1"]
    assert [p.info.name for p in table.far(10.0, 120.0)] == ["n2"]
    hear(table, 1, at_s=119.0)
    assert table.neighbours(120.0, 120.0) == []


@pytest.mark.parametrize("seed", range(10))
def test_samples_cross_sites_and_prefer_the_living(seed: int) -> None:
    """News would circle inside one large site and reach the others late."""
    table = make_table()
    for number in range(40):
        hear(table, number, site="large")
    for number in range(40, 44):
        hear(table, number, site=f"small{number}")
    for number in range(44, 50):
        hear(table, number, site="gone")
        table.strike(number.to_bytes(20, "big"), 3)
    chosen = sample(table.all(), 6, random.Random(seed))
    assert len({p.info.node_id for p in chosen}) == 6
    assert sum(p.info.site == "large" for p in chosen) == 3
    assert sum(p.info.site == "gone" for p in chosen) == 0
    only = sample(table.all()[:40], 6, random.Random(seed))
    assert len(only) == 6
    assert len(sample(table.all()[:2], 6, random.Random(seed))) == 2
    assert sample(table.all(), 6, random.Random(seed), lambda _: True) == []


def mate(table: PeerTable, *others: str) -> Address:
    """Node 1 is heard by multicast, and has answered at `others` since, in this order; returns the address in use."""
    hear(table, 1, multicast=True)
    for at_s, other in enumerate(others, 1):
        hear(table, 1, at_s=float(at_s), source=Address(other, 47101), proven=True)
    return Address(host(1), 47101)


def test_a_mate_stays_where_it_is_in_use_and_is_known_at_a_few_others() -> None:
    """It would move to and fro between its interfaces; or fill the table with addresses."""
    table = make_table()
    here = mate(table, "fd00::1", "10.9.0.1", "10.9.0.2", "10.9.0.3")
    peer = table.all()[0]
    assert peer.info.address == here
    assert [each.host for each in peer.info.also] == ["10.9.0.1", "10.9.0.2", "10.9.0.3"]
    assert len(peer.places) == PLACES_MAX
    assert table.at(Address("fd00::1", 47101)) is None
    assert table.at(Address("10.9.0.2", 47101)) is peer
    assert hear(table, 1, at_s=9.0, source=Address("10.9.0.2", 47101), holdings=(b"h" * 8,)) is Heard.CHANGED
    assert peer.info.address == here
    table.drop(peer.info.node_id)
    assert table.at(here) is None
    assert table.at(Address("10.9.0.2", 47101)) is None


def test_the_other_address_is_turned_to_while_it_is_fresh() -> None:
    """A mate would be looked for where it was yesterday; or leave its site although it is heard."""
    table = make_table("")
    here = mate(table, "fd00::1", "10.9.0.1")
    peer = table.all()[0]
    assert not table.turn(peer, 200.0, 120.0)
    hear(table, 1, at_s=190.0, source=Address("fd00::1", 47101), multicast=True)
    assert table.turn(peer, 200.0, 120.0)
    assert peer.info.address == Address("fd00::1", 47101)
    assert here in peer.info.also
    assert peer.info.same_site
    assert table.multicasters == 1
    hear(table, 1, at_s=300.0, source=Address("10.9.0.1", 47101))
    assert table.turn(peer, 300.0, 120.0)
    assert table.multicasters == 0, "nobody hears its multicast from there"


def test_an_echo_that_went_elsewhere_proves_elsewhere() -> None:
    """A machine with two interfaces on one LAN answers by one of them: the other would be doubted for ever."""
    table = make_table()
    here = mate(table)
    peer = table.all()[0]
    hear(table, 2, multicast=True)
    assert table.reached(peer.info.node_id, Address("10.9.0.1", 47101), 1.0)
    assert [each.host for each in peer.info.also] == ["10.9.0.1"]
    assert not table.reached(peer.info.node_id, Address(host(2), 47101), 1.0), "somebody else's"
    assert peer.info.address == here


def test_whoever_proves_an_address_has_it_from_now_on() -> None:
    """Two nodes that swapped addresses would hold each other's."""
    table = make_table()
    hear(table, 1, multicast=True)
    hear(table, 2, multicast=True)
    one, two = table.all()
    first, second = one.info.address, two.info.address
    hear(table, 2, at_s=1.0, source=first, proven=True)
    assert table.at(first) is two
    hear(table, 1, at_s=2.0, source=second, proven=True)
    assert (one.info.address, two.info.address) == (second, first)
    assert (table.at(first), table.at(second)) == (two, one)


def test_multicast_shows_the_better_address() -> None:
    """A mate known by its outside address, from the contacts, would be reached across the uplink although it is in earshot."""
    table = make_table("")
    outside, inside = Address("198.51.100.7", 47101), Address("10.0.0.1", 47101)
    hear(table, 1, source=outside)
    assert hear(table, 1, at_s=1.0, source=inside, multicast=True) is Heard.DOUBTED
    hear(table, 1, at_s=1.5, source=inside, proven=True)
    peer = table.all()[0]
    assert (peer.info.address, peer.info.also) == (inside, ())
    hear(table, 1, at_s=2.0, source=outside, proven=True)
    assert peer.info.address == inside
