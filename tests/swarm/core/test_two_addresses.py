"""Mates with several addresses at once: two interfaces on one LAN, two LANs, IPv4 and IPv6."""

from __future__ import annotations

import random

import pytest

from swarm.address import Address
from swarm.core import SwarmSettings
from swarm.discovery.beacon import JITTER
from swarm.discovery.dht.messages import Contact, Told
from swarm.discovery.elsewhere import BURST_S
from swarm.discovery.meeting import Go, Meet
from swarm.effects import OpenStream, SendDatagram
from swarm.envelope import Envelope
from swarm.me import Hello, Me
from swarm.wire import Holders, Sync, SyncReply, decode_datagram, decode_reply, encode
from tests.swarm.core.village import KEYRING, UDP_HEADER_BYTES, Resident, Village, manifest, node_id

BEAT_S = SwarmSettings().beacon_interval_s
SETTLED_S, BEATS = 300.0, 16
FOLLOWED_S = BEAT_S * (1 + JITTER) + 2.0 + SwarmSettings().ping_timeout_s + 1.0
"""One beacon, the time to see that its copy is missing, and a ping that is given up."""


class Legs(Village):
    """Nodes that stand on several LANs. What goes to one peer leaves from the first leg on its LAN, as on a real machine."""

    def __init__(self, seed: int, loss: float = 0.0) -> None:
        super().__init__(seed, loss, (0.0005, 0.002))
        self.legs: dict[Resident, dict[Address, str]] = {}
        self.unicasts = 0
        self.mute: set[Address] = set()
        """No multicast leaves from there."""

    def stand(self, resident: Resident, address: Address, lan: str) -> None:
        self.legs.setdefault(resident, {})[address] = lan
        self.residents[address] = resident

    def pull(self, resident: Resident, address: Address) -> None:
        del self.legs[resident][address]
        if self.residents.get(address) is resident:
            del self.residents[address]

    def _send(self, sender: Resident, effect: SendDatagram) -> None:
        for source, lan in self._ways(sender, effect.destination):
            for target in self.legs:
                there = self.legs[target]
                hit = lan in there.values() if effect.destination is None else effect.destination in there
                if hit and target.alive and self.rng.random() >= self.loss:
                    self._hand_over(target, effect, source)

    def _ways(self, sender: Resident, destination: Address | None) -> list[tuple[Address, str]]:
        own = list(self.legs[sender].items())
        if destination is None:
            return [(address, lan) for address, lan in own if address not in self.mute]
        self.unicasts += 1
        target = self.residents.get(destination)
        lan = self.legs[target].get(destination) if target is not None else None
        return [each for each in own if each[1] == lan][:1]

    def _hand_over(self, target: Resident, effect: SendDatagram, source: Address) -> None:
        multicast = effect.destination is None

        def arrive() -> None:
            target.datagram_bytes += len(effect.data) + UDP_HEADER_BYTES
            effects = target.core.on_datagram(effect.data, source, self.now_s, multicast=multicast)
            self.do(target, effects)

        self.at(self.now_s + self._delay(), arrive)

    def _open(self, asker: Resident, effect: OpenStream) -> None:
        ways = self._ways(asker, effect.peer)
        self.cut = lambda _a, _b: not ways
        super()._open(asker, effect)


LANS = {"one LAN": ("a", "a"), "two LANs": ("a", "b")}


def second(resident: Resident) -> Address:
    return Address("fd00::" + resident.address.host.rpartition(".")[2], resident.address.port)


def site(place: Legs, count: int, lans: tuple[str, ...]) -> list[Resident]:
    """`count` nodes with a leg on each of `lans`; one LAN is as before."""
    nodes = [place.add(number, SwarmSettings()) for number in range(1, count + 1)]
    for node in nodes:
        for address, lan in zip((node.address, second(node)), lans, strict=False):
            place.stand(node, address, lan)
    return nodes


def addresses(nodes: list[Resident]) -> dict[Resident, list[Address]]:
    return {node: [peer.address for peer in node.core.peers()] for node in nodes}


def idle_unicasts(lans: tuple[str, ...], count: int, loss: float = 0.0) -> float:
    """Datagrams to single nodes, for each node and beat, in a site that has nothing to tell."""
    place = Legs(count, loss)
    nodes = site(place, count, lans)
    place.run_until(SETTLED_S)
    assert all(len(node.core.peers()) == count - 1 for node in nodes)
    place.unicasts = 0
    place.run_until(SETTLED_S + BEATS * BEAT_S)
    return place.unicasts / count / BEATS


@pytest.mark.parametrize("lans", LANS.values(), ids=LANS.keys())
def test_a_second_address_costs_no_questions_and_changes_nothing(lans: tuple[str, ...]) -> None:
    """Each beacon would be answered by questions of the whole site to the other address, and every mate move to and fro."""
    place = Legs(1)
    nodes = site(place, 6, lans)
    place.run_until(SETTLED_S)
    before = addresses(nodes)
    assert all(len(known) == 5 for known in before.values())
    place.unicasts = 0
    place.run_until(SETTLED_S + BEATS * BEAT_S)
    assert addresses(nodes) == before
    assert place.unicasts / 6 / BEATS <= 1.2 * idle_unicasts(("a",), 6)


def test_lost_beacons_of_two_interfaces_cost_no_more_in_a_larger_site() -> None:
    """On bad Wi-Fi, where copies of beacons are lost all the time, questions would grow with the square of the site."""
    for count in (4, 12):
        more = idle_unicasts(LANS["two LANs"], count, 0.1) - idle_unicasts(("a",), count, 0.1)
        assert more <= 0.5 * (count - 1), "a question and its answer for each mate in four beats at most"


@pytest.mark.parametrize("lans", LANS.values(), ids=LANS.keys())
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("after_s", [30.0, 300.0])
def test_a_mate_whose_one_interface_fails_is_found_at_the_other(
    lans: tuple[str, ...], which: int, after_s: float
) -> None:
    """A pulled cable would take a node out of its site, though its Wi-Fi is there."""
    place = Legs(3)
    nodes = site(place, 4, lans)
    place.run_until(after_s)
    one, *others = nodes
    gone, left = [(one.address, second(one)), (second(one), one.address)][which]
    place.pull(one, gone)
    place.run_until(place.now_s + FOLLOWED_S)
    for other in others:
        assert left in [peer.address for peer in other.core.peers()]
        assert all(peer.same_site for peer in other.core.peers())
    news = manifest(1)
    place.do(others[0], others[0].core.publish(news, place.now_s))
    place.run_until(place.now_s + 5.0)
    assert one.store.get("manifest", b"stable") is not None


def test_a_site_whose_one_lan_fails_stays_together_on_the_other() -> None:
    """A switch without power would part nodes that have another between them."""
    place = Legs(5)
    nodes = site(place, 6, LANS["two LANs"])
    place.run_until(100.0)
    for node in nodes:
        place.pull(node, node.address)
    place.run_until(place.now_s + FOLLOWED_S)
    for node in nodes:
        assert {peer.address for peer in node.core.peers()} == {second(n) for n in nodes if n is not node}
        assert all(peer.same_site for peer in node.core.peers())


def test_a_mate_that_is_heard_from_one_interface_and_answers_from_the_other_is_heard() -> None:
    """A node whose access point keeps its multicast back, while its cable lets it through, would be asked at every beacon, or be
    told everything one by one."""
    place = Legs(2)
    nodes = site(place, 5, LANS["one LAN"])
    place.mute |= {node.address for node in nodes}
    place.run_until(SETTLED_S)
    place.unicasts = 0
    place.run_until(SETTLED_S + BEATS * BEAT_S)
    assert place.unicasts / 5 / BEATS <= 1.2 * idle_unicasts(("a",), 5)
    assert not any(node.core._presence.deaf for node in nodes)


def test_two_mates_that_swap_addresses_are_told_apart() -> None:
    """After a power cut a router deals its addresses anew: nodes would look for each other where another is now."""
    place = Legs(4)
    nodes = site(place, 4, ("a",))
    place.run_until(60.0)
    one, two, *others = nodes
    here, there = one.address, two.address
    place.pull(one, here)
    place.pull(two, there)
    place.stand(one, there, "a")
    place.stand(two, here, "a")
    place.run_until(place.now_s + 2 * FOLLOWED_S)
    for other in others:
        found = {peer.name: peer.address for peer in other.core.peers()}
        assert (found["n1"], found["n2"]) == (there, here)
        assert all(peer.same_site for peer in other.core.peers())


def test_who_says_that_he_is_a_mate_does_not_take_its_place_while_it_answers() -> None:
    """Whoever has the swarm key could draw to himself what is meant for a node, again and again, by beacons in its name."""
    place = Legs(6)
    nodes = site(place, 3, ("a",))
    place.run_until(100.0)
    thief = place.add(1, SwarmSettings())
    place.residents[nodes[0].address] = nodes[0]
    stolen = Address("10.0.0.99", 47101)
    place.stand(thief, stolen, "a")  # the same number: the same node id
    for _ in range(12):
        place.do(thief, thief.core._presence._send_beacon(place.now_s))
        place.run_until(place.now_s + 10.0)
        for other in nodes[1:]:
            assert {peer.name: peer.address for peer in other.core.peers()}["n1"] == nodes[0].address


def test_a_repeated_beacon_has_nobody_flooded_with_questions() -> None:
    """A stranger who recorded a beacon and repeats it from many places would have the whole site ask, each time."""
    place = Legs(7)
    nodes = site(place, 3, ("a",))
    recorded: list[bytes] = []
    envelope = Envelope(KEYRING, nodes[0].core._rng)

    def record(effect: object) -> None:
        beacon = isinstance(effect, SendDatagram) and effect.destination is None
        if (
            beacon
            and isinstance(hello := envelope.open_datagram(effect.data), Hello)
            and hello.me.name == "n1"
        ):
            recorded.append(effect.data)

    place.watch = record
    place.run_until(100.0)
    place.unicasts = 0
    victim = nodes[1]
    for number in range(300):
        source = Address("10.9.9.9", 1024 + number)
        place.do(victim, victim.core.on_datagram(recorded[0], source, place.now_s, multicast=True))
        place.run_until(place.now_s + 0.1)
    assert place.unicasts <= 2 * 30 / BURST_S + 10, "one at a time, and each at two addresses"
    assert nodes[0].address in [peer.address for peer in victim.core.peers()]


def told_by(node: Resident, asker: Address) -> set[Address]:
    envelope = Envelope(KEYRING, random.Random(1))
    exchange_id, request = envelope.seal_request(Sync((bytes(8),) * 64, wide=True))
    reply = envelope.open_reply(exchange_id, node.core.answer(request, asker, 100.0)[0])
    assert isinstance(reply, SyncReply)
    return set(reply.peers)


def test_others_are_not_told_of_link_local_addresses() -> None:
    """A node would knock at an address that means another machine on its own link, or nothing."""
    place = Village(8)
    node = place.add(0, SwarmSettings(beacon=False))
    sources = ["fe80::1%eth0", "169.254.3.4", "10.0.0.9", "fd00::9", "198.51.100.7", "2001:4860:4860::8888"]
    envelope = Envelope(KEYRING, random.Random(2))
    for number, host in enumerate(sources, 1):
        hello = envelope.seal_datagram(Hello(Me(node_id(number), f"n{number}", "", 47101, 0), bytes(16)))
        place.do(node, node.core.on_datagram(hello, Address(host, 47101), 0.0))
    private = {
        Address(host, 47101) for host in ("10.0.0.9", "fd00::9", "198.51.100.7", "2001:4860:4860::8888")
    }
    for asker in ("10.0.0.77", "fe80::77%eth0", "fe80::77%eth1"):
        assert told_by(node, Address(asker, 50000)) == private
    assert told_by(node, Address("8.8.8.8", 50000)) == {Address("2001:4860:4860::8888", 47101)}
    meet = envelope.seal_datagram(Meet())
    assert node.core.on_datagram(meet, Address("fe80::1%eth0", 47101), 50.0) == []


@pytest.mark.parametrize(
    "message",
    [
        SyncReply((), (), (Address("fe80::1%eth0", 5),)),
        Holders((Address("fe80::1%eth0", 5),)),
        Go((Address("fe80::1%eth0", 5),)),
        Told(
            bytes(8),
            bytes(20),
            True,
            Address("fe80::1%eth0", 5),
            (Contact(bytes(20), Address("fe80::1%eth0", 5)),),
        ),
    ],
)
def test_names_of_interfaces_never_leave_the_machine(message: SyncReply | Holders | Go | Told) -> None:
    """Others would read in every answer how a machine is built, or refuse the whole answer for it."""
    data = encode(message)
    assert b"eth0" not in data
    read = decode_datagram if isinstance(message, Go | Told) else decode_reply
    assert "Address(host='fe80::1', port=5)" in repr(read(data))
