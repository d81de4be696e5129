"""A site that multicast does not reach, or not as a whole, although every node of it sends beacons: a switch keeps them back."""

from __future__ import annotations

import pytest

from swarm.address import Address
from swarm.core import SwarmSettings
from swarm.effects import SendDatagram
from tests.swarm.core.village import UDP_HEADER_BYTES, Resident, Village, manifest

NOWHERE = Address("10.255.0.1", 47101)
"""A contact that is switched off for good."""


class Gate(Village):
    """Counts what crosses the line of the site "lab", and who knocks at the contact that is nowhere."""

    crossed_bytes = 0

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.knocked: set[Address] = set()

    def _send(self, sender: Resident, effect: SendDatagram) -> None:
        target = effect.destination
        if target is not None:
            inside = [self._is_inside(address) for address in (sender.address, target)]
            self.crossed_bytes += (len(effect.data) + UDP_HEADER_BYTES) * (inside[0] != inside[1])
        if target == NOWHERE:
            self.knocked.add(sender.address)
        super()._send(sender, effect)

    def _is_inside(self, address: Address) -> bool:
        resident = self.residents.get(address)
        return resident is not None and resident.core.me.site == "lab"


def site(place: Village, lans: list[str], contacts: tuple[Address, ...] = ()) -> list[Resident]:
    """Nodes of one named site, all with beacons; the first is the contact of the others. An empty LAN: nobody hears anybody."""
    nodes = [place.add(0, SwarmSettings(contacts=contacts), site="lab", lan=lans[0])]
    settings = SwarmSettings(contacts=(nodes[0].address, *contacts))
    nodes += [place.add(n, settings, site="lab", lan=lan) for n, lan in enumerate(lans[1:], 1)]
    return nodes


def all_met(nodes: list[Resident]) -> bool:
    return all(sum(peer.same_site for peer in node.core.peers()) == len(nodes) - 1 for node in nodes)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "lans",
    [[""] * 4, [""] * 25, ["a"] * 8 + ["b"] * 4, ["a"] + ["b"] * 11, [""] * 3 + ["b"] * 9],
    ids=["four deaf", "many deaf", "two segments", "contact apart", "three deaf"],
)
def test_all_nodes_of_a_site_meet_whatever_multicast_reaches(lans: list[str], seed: int) -> None:
    """Two that do not speak for their site would never meet: where a switch keeps multicast back, or between two segments."""
    place = Village(seed)
    nodes = site(place, lans)
    assert place.run_until(3600.0, lambda: all_met(nodes))


def test_a_newcomer_meets_all_after_multicast_has_died() -> None:
    """Some switches let multicast through for minutes and then no more: who comes later would know one mate."""
    place = Village(1)
    nodes = site(place, ["a"] * 12)
    assert place.run_until(60.0, lambda: all_met(nodes))
    for node in nodes:
        node.lan = ""
    place.run_until(1200.0)
    assert all_met(nodes), "those who met stay"
    late = place.add(50, SwarmSettings(contacts=(nodes[7].address,)), site="lab")
    assert place.run_until(3600.0, lambda: all_met([*nodes, late]))
    news = manifest(1)
    place.do(late, late.core.publish(news, place.now_s))
    everybody_s = place.now_s + 10.0
    assert place.run_until(everybody_s, lambda: all(n.store.get("manifest", b"stable") for n in nodes))


def test_who_is_heard_again_leaves_contacts_to_those_who_speak() -> None:
    """After somebody mended the switch, every node of a site would go on knocking at its contacts over the one line."""
    place = Gate(2)
    nodes = site(place, [""] * 6, (NOWHERE,))
    place.run_until(1200.0)
    assert {node.address for node in nodes} == place.knocked, "each of them, once in ten minutes"
    for node in nodes:
        node.lan = "a"
    place.run_until(1500.0)
    place.knocked.clear()
    place.run_until(4500.0)
    assert len(place.knocked) == 2


def test_a_deaf_site_is_nearly_silent_towards_others() -> None:
    """A hundred nodes behind a switch without multicast would each call out: over a thin line, day and night, for nothing."""
    place = Gate(3)
    far = [place.add(1000 + number, SwarmSettings(), site="far", lan="f") for number in range(3)]
    contacts = (NOWHERE, far[0].address)
    nodes = site(place, [""] * 40, contacts)
    place.run_until(1200.0)
    place.crossed_bytes = 0
    for node in nodes:
        node.datagram_bytes = 0
    place.run_until(2400.0)
    assert place.crossed_bytes * 8 / 1200 <= 1000
    assert max(node.datagram_bytes for node in nodes) / 1200 <= 200
    assert sum(len(node.core.peers()) for node in nodes) / len(nodes) >= 38, (
        "there was a site that could chatter"
    )
