"""Nodes whose firewall lets no datagrams out take part through streams that they open."""

from __future__ import annotations

import pytest

from swarm.address import Address
from swarm.discovery.shut_in import GUESTS_MAX, PLAIN_LIVES_S, TUNNELS_MAX, TUNNELS_WANTED, ShutIn
from swarm.envelope import Envelope
from swarm.wire import Sync, SyncReply, Tunnel, Who
from tests.swarm.core.sites import Dweller, Town
from tests.swarm.core.village import KEYRING, manifest


def holds(node: Dweller, sequence: int) -> bool:
    entry = node.store.get("manifest", b"stable")
    return entry is not None and entry.sequence == sequence


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_node_that_is_shut_in_hears_news_and_tells_its_own(loss: float) -> None:
    """A whole university would be cut off, though its machines can open any web page."""
    for seed in range(3):
        town = Town(seed, 3, loss, shut_in=2)
        town.run_until(60.0)
        assert all(node.knows(town.helper) for node in town.nodes)
        town.helper.do(town.helper.core.publish(manifest(1), town.heap.now_s))
        town.run_until(100.0)
        assert all(holds(node, 1) for node in town.nodes)
        inside = town.nodes[-1]
        inside.do(inside.core.publish(manifest(2), town.heap.now_s))
        town.run_until(140.0)
        assert holds(town.helper, 2)
        assert all(holds(node, 2) for node in town.nodes)
        town.run_until(600.0)
        assert [node.core.shut_in(town.heap.now_s) for node in town.nodes] == [False, True, True]


def test_it_takes_a_few_seconds() -> None:
    """Each start of a node would cost minutes."""
    town = Town(1, 1, shut_in=1)
    town.run_until(8.0)
    assert town.nodes[0].knows(town.helper)


def test_the_tunnel_is_opened_again_when_the_helper_was_away() -> None:
    """One restart of an open node would cut the shut-in nodes off for good."""
    town = Town(1, 1, shut_in=1)
    town.run_until(60.0)
    town.network.hang_up(town.helper.number)
    town.helper.do(town.helper.core.publish(manifest(1), town.heap.now_s))
    town.run_until(240.0)
    assert holds(town.nodes[0], 1)
    assert town.nodes[0].tunnels_opened >= 2


def test_who_is_not_shut_in_opens_none() -> None:
    """Open nodes would hold streams for everybody."""
    town = Town(1, 4)
    town.run_until(120.0)
    assert [node.tunnels_opened for node in town.nodes] == [0, 0, 0, 0]
    # A contact that is gone for good is knocked at without end: by datagrams, as long as those bring others.
    town.nodes[0].core.set_contacts((Address("203.0.113.7", 47101),), town.heap.now_s)
    town.run_until(600.0)
    assert town.nodes[0].tunnels_opened == 0


def test_who_took_a_bad_line_for_a_firewall_finds_out() -> None:
    """Image bytes between two translators need datagrams: it would never get any."""
    town = Town(1, 1, shut_in=1)
    node = town.nodes[0]
    town.run_until(60.0)
    assert node.core.shut_in(town.heap.now_s)
    town.network.let_out(1)
    town.run_until(600.0)
    assert not node.core.shut_in(town.heap.now_s)
    opened, sent_plainly = node.tunnels_opened, town.network.traffic[node.number].datagrams
    town.helper.do(town.helper.core.publish(manifest(1), town.heap.now_s))
    town.run_until(700.0)
    assert holds(node, 1)
    assert node.tunnels_opened == opened
    assert not town.network.tunnels_of(node.number)
    assert town.network.traffic[node.number].datagrams > sent_plainly


def test_others_are_not_told_of_the_end_of_a_tunnel() -> None:
    """Everybody would knock where nobody listens, and the dead be counted among the holders."""
    town = Town(1, 2, shut_in=1)
    town.run_until(60.0)
    behind, inside = town.nodes
    helper, now_s = town.helper.core, town.heap.now_s
    guest = next(peer.address for peer in helper.peers() if peer.node_id == inside.core.me.node_id)
    envelope = Envelope(KEYRING, town.dice.named("test"))
    asker = Address("64.9.9.9", 5)
    exchange, request = envelope.seal_request(Sync((bytes(8),) * 64, wide=True))
    reply = envelope.open_reply(exchange, helper.answer(request, asker, now_s)[0])
    assert isinstance(reply, SyncReply)
    assert guest not in reply.peers
    assert len(reply.peers) == 1
    inside.do(inside.core.set_holdings([bytes(range(32))], now_s))
    town.run_until(70.0)
    exchange, request = envelope.seal_request(Who(bytes(range(8))))
    found = envelope.open_reply(exchange, helper.answer(request, asker, town.heap.now_s)[0])
    assert found.peers == ()  # type: ignore[union-attr]
    assert not behind.knows(inside)


def test_what_bounds_it() -> None:
    """A liar that tells of hundreds of addresses would have this node open as many streams."""
    shut_in = ShutIn()

    def wants(
        tries: int, tunnels: int, now_s: float = 10.0, *, contact: bool = False, wanted: bool = False
    ) -> bool:
        return shut_in.wants_tunnel(tries, tunnels, now_s, contact=contact, wanted=wanted)

    assert not wants(1, 0)
    assert not wants(2, 0, contact=True)
    assert wants(2, TUNNELS_WANTED - 1)
    assert not wants(2, TUNNELS_WANTED)
    assert wants(2, TUNNELS_WANTED, wanted=True)
    assert not wants(2, TUNNELS_MAX, wanted=True)
    shut_in.heard(10.0, tunnelled=False)
    assert not wants(9, 0, 11.0, contact=True)
    assert wants(9, 0, 10.0 + PLAIN_LIVES_S, contact=True)
    for number in range(GUESTS_MAX + 1):
        shut_in.let_in(Address("192.0.2.1", number + 1))
    assert not shut_in.is_guest(Address("192.0.2.1", 1))
    assert shut_in.is_guest(Address("192.0.2.1", 2))


def test_a_tunnel_is_not_asked_for_in_slices_nor_answered_as_anything_else() -> None:
    """A reply to it would be one more thing that strangers can have sent to a victim."""
    town = Town(1, 1)
    _, request = Envelope(KEYRING, town.dice.named("test")).seal_request(Tunnel())
    reply, effects = town.helper.core.answer(request, Address("192.0.2.9", 9), 1.0)
    assert reply == b""
    assert [type(effect).__name__ for effect in effects] == ["CarryTunnel"]
