"""If the virtual network were kinder than real ones, nodes that pass here would fail behind the first router."""

from __future__ import annotations

import itertools

import pytest
from attrs import define, field

from simulations.world.heap import Dice, Heap
from simulations.world.network import MAPPING_S, SLICES_AFTER_S, Network, Weather
from simulations.world.trace import Trace
from swarm.address import Address

PORT = 47101


@define
class FakeStation:
    """Remembers what came; answers every request with its reverse."""

    on: bool = True
    daemon: bool = True
    came: list[tuple[bytes, Address, bool]] = field(factory=list)

    def listening(self) -> bool:
        return self.on and self.daemon

    def powered(self) -> bool:
        return self.on

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        self.came.append((data, source, multicast))

    def answer(self, request: bytes, source: Address) -> bytes | None:
        return request[::-1] if request != b"die" else None


class Lab:
    """Two open sites (0: nodes 0 and 1; 1: node 2) and two translated ones (2: nodes 3 and 4; 3: node 5)."""

    def __init__(self, weather: Weather | None = None, seed: int = 1, *, symmetric: bool = False) -> None:
        self.heap = Heap()
        self.network = Network(self.heap, Dice(seed), Trace(), weather or Weather())
        sites = [
            self.network.add_site(translated=translated, symmetric=translated and symmetric)
            for translated in (False, False, True, True)
        ]
        self.stations = [FakeStation() for _ in range(6)]
        places = (0, 0, 1, 2, 2, 3)
        self.addresses = [
            self.network.attach(n, sites[place], PORT, self.stations[n]) for n, place in enumerate(places)
        ]

    def send(self, node: int, to: Address | None, data: bytes = b"x") -> None:
        self.network.send(node, to, data)
        self.heap.run_until(self.heap.now_s + 1)

    def ask(
        self, node: int, to: Address, request: bytes = b"abc", known: Address | None = None
    ) -> list[tuple[float, bytes | None, str]]:
        began_s = self.heap.now_s
        answers: list[tuple[float, bytes | None, str]] = []

        def done(reply: bytes | None, why: str) -> None:
            answers.append((self.heap.now_s - began_s, reply, why))

        self.network.open_stream(node, to, request, 5.0, done, known)
        self.heap.run_until(began_s + 20)
        return answers


def test_multicast_stays_in_the_site() -> None:
    """Nodes would find each other in the world and never in real sites."""
    lab = Lab()
    lab.send(0, None)
    assert [len(s.came) for s in lab.stations] == [0, 1, 0, 0, 0, 0]
    assert lab.stations[1].came == [(b"x", lab.addresses[0], True)]


def test_open_sites_reach_each_other() -> None:
    """No manifest would ever leave its site."""
    lab = Lab()
    lab.send(0, lab.addresses[2])
    assert lab.stations[2].came == [(b"x", lab.addresses[0], False)]
    assert lab.network.uplink_bytes[0] == lab.network.uplink_bytes[1] == 29


def test_nobody_reaches_a_translated_node_that_has_not_spoken() -> None:
    """Protocols that need unsolicited packets would pass."""
    lab = Lab()
    lab.send(3, lab.addresses[0])
    _, outside, _ = lab.stations[0].came[0]
    assert outside.host != lab.addresses[3].host
    lab.send(2, outside)  # node 3 never spoke to node 2
    assert lab.stations[3].came == []
    lab.send(0, outside)
    assert lab.stations[3].came == [(b"x", lab.addresses[0], False)]


def test_a_mapping_is_forgotten_and_comes_back_elsewhere() -> None:
    """A node that keeps quiet too long behind a router would seem reachable for ever."""
    lab = Lab()
    lab.send(3, lab.addresses[0])
    first = lab.stations[0].came[-1][1]
    lab.heap.run_until(lab.heap.now_s + MAPPING_S + 1)
    lab.send(0, first)
    assert lab.stations[3].came == []
    lab.send(3, lab.addresses[0])
    assert lab.stations[0].came[-1][1] != first


def test_private_addresses_mean_the_neighbour_at_home() -> None:
    """Nodes that pass private addresses around would look as if that worked."""
    lab = Lab()
    assert lab.addresses[3] == lab.addresses[5]
    lab.send(4, lab.addresses[5])
    assert len(lab.stations[3].came) == 1
    assert lab.stations[5].came == []
    lab.send(0, lab.addresses[3])
    assert len(lab.stations[3].came) == 1


def test_streams_reach_open_sites_and_neighbours_only() -> None:
    """Blobs would be fetched through routers that let nobody in."""
    lab = Lab()
    assert [reply for _, reply, _ in lab.ask(0, lab.addresses[2])] == [b"cba"]
    assert [reply for _, reply, _ in lab.ask(3, lab.addresses[0])] == [b"cba"]
    assert [reply for _, reply, _ in lab.ask(3, lab.addresses[4])] == [b"cba"]
    lab.send(3, lab.addresses[0])
    outside = lab.stations[0].came[-1][1]
    assert lab.ask(0, outside) == [(5.0, None, "no answer")]
    assert lab.network.can_dial(3, 0)
    assert not lab.network.can_dial(0, 3)


def seen_by(lab: Lab, node: int, other: int) -> Address:
    """How `other`, which is open, sees a translated node that speaks to it."""
    lab.send(node, lab.addresses[other])
    return lab.stations[other].came[-1][1]


def test_a_symmetric_translator_shows_each_peer_another_port_and_lets_in_that_peer_alone() -> None:
    """Two sites that cannot meet in the world would seem to."""
    lab = Lab(symmetric=True)
    one, other = seen_by(lab, 3, 0), seen_by(lab, 5, 0)
    assert seen_by(lab, 3, 2).port != one.port
    assert seen_by(lab, 3, 0) == one
    for _ in range(2):
        lab.send(3, other)
        lab.send(5, one)
    lab.send(1, one)
    assert lab.stations[3].came == lab.stations[5].came == []
    lab.send(0, one)
    assert len(lab.stations[3].came) == 1


@pytest.mark.parametrize("symmetric", [False, True])
def test_what_no_stream_reaches_is_asked_by_datagrams_where_they_get_through(symmetric: bool) -> None:
    """Open nodes would fetch nothing from nodes behind translators, as they do in the world."""
    lab = Lab(symmetric=symmetric)
    known = seen_by(lab, 3, 0)
    nowhere = Address(known.host, PORT)
    ((after_s, reply, _),) = lab.ask(0, nowhere, known=known)
    assert reply == b"cba"
    assert after_s > SLICES_AFTER_S
    assert lab.ask(2, nowhere, known=known) == [(5.0, None, "no answer")], "node 3 never spoke to node 2"
    lab.send(3, lab.addresses[2])
    assert [r for _, r, _ in lab.ask(2, nowhere, known=known)] == [None if symmetric else b"cba"]


@pytest.mark.parametrize(
    ("on", "daemon", "least_s", "most_s"), [(True, False, 0.0, 1.0), (False, False, 5.0, 5.0)]
)
def test_a_stream_that_finds_nobody_says_so_once(
    on: bool, daemon: bool, least_s: float, most_s: float
) -> None:
    """A node would wait for ever for a peer that was switched off, or hear of its failure twice."""
    lab = Lab()
    lab.stations[2].on, lab.stations[2].daemon = on, daemon
    ((after_s, reply, why),) = lab.ask(0, lab.addresses[2])
    assert reply is None
    assert why
    assert least_s <= after_s <= most_s


def test_a_cut_stops_everything_both_ways_and_heals() -> None:
    """Nodes would be tried against partitions that let something through."""
    lab = Lab()
    lab.network.set_sides({0: (1,)})
    lab.send(0, lab.addresses[2])
    lab.send(2, lab.addresses[0])
    lab.send(1, None)
    assert lab.ask(0, lab.addresses[2]) == [(5.0, None, "no answer")]
    assert lab.stations[0].came == []
    assert lab.stations[2].came == []
    lab.network.set_sides({})
    lab.send(0, lab.addresses[2])
    assert len(lab.stations[2].came) == 1


def test_a_stream_cut_half_way_fails_in_time() -> None:
    """A partition in the middle of an exchange would leave a node hanging."""
    lab = Lab()
    answers: list[bytes | None] = []
    lab.network.open_stream(0, lab.addresses[2], b"abc", 5.0, lambda reply, why: answers.append(reply))
    lab.network.set_sides({0: (1,)})
    lab.heap.run_until(5.0)
    assert answers == [None]


def test_loss_duplicates_and_reordering_happen_about_as_often_as_asked() -> None:
    """A run at 20 % loss would be a run at none."""
    lab = Lab(Weather(loss=0.2, duplicate=0.1, reorder=0.1))
    for n in range(2000):
        lab.network.send(0, lab.addresses[2], n.to_bytes(2, "big"))
        lab.heap.run_until(lab.heap.now_s + 0.01)
    lab.heap.run_until(lab.heap.now_s + 5)
    numbers = [int.from_bytes(data, "big") for data, _, _ in lab.stations[2].came]
    assert 1500 <= len(set(numbers)) <= 1700
    assert 120 <= len(numbers) - len(set(numbers)) <= 210
    assert sum(a > b for a, b in itertools.pairwise(numbers)) > 50


def test_traffic_is_counted_with_headers() -> None:
    """The budget of bytes a node may send when idle would be judged by wrong figures."""
    lab = Lab()
    lab.send(0, lab.addresses[1], b"12345")
    assert lab.network.traffic[0].sent_bytes == 33
    assert lab.network.traffic[1].received_bytes == 33
