"""On which interfaces a node beacons: the choice, and real nodes in network namespaces. Real time passes in those."""

from __future__ import annotations

import socket

import pytest
import trio

from swarm.address import Address
from swarm.shell import ShellSettings
from swarm.shell.groups import group_host
from swarm.shell.interfaces import (
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_POINTOPOINT,
    IFF_UP,
    INTERFACES_MAX,
    Interface,
    beaconed_on,
    interfaces,
    source_on,
)
from swarm.shell.sockets import normal, open_sockets
from tests.swarm.shell.hamlet import free_udp_port, loopback
from tests.swarm.shell.yard import ip, yard

LAN = IFF_UP | IFF_MULTICAST
LO = Interface(1, "lo", IFF_UP | IFF_LOOPBACK, ("127.0.0.1", "::1"))
ETH = Interface(2, "eth0", LAN, ("192.168.1.7", "10.0.0.7", "fe80::7"))
WLAN = Interface(3, "wlan0", LAN, ("192.168.1.8", "fd00::8", "fe80::8"))
MODEM = Interface(4, "wwan0", LAN | IFF_POINTOPOINT, ("100.64.0.9",))
ALL = [LO, ETH, WLAN, MODEM]


@pytest.mark.parametrize(
    ("bind", "named", "meant"),
    [
        ("0.0.0.0", (), ["eth0", "wlan0"]),
        ("::", (), ["eth0", "wlan0"]),
        ("127.0.0.1", (), ["lo"]),
        ("127.0.0.9", (), ["lo"]),
        ("::1", (), ["lo"]),
        ("10.0.0.7", (), ["eth0"]),
        ("fd00::8", (), ["wlan0"]),
        ("fe80::8%wlan0", (), ["wlan0"]),
        ("10.9.9.9", (), []),
        ("0.0.0.0", ("wlan0",), ["wlan0"]),
        ("0.0.0.0", ("192.168.1.7",), ["eth0"]),
        ("0.0.0.0", ("10.0.0.7", "wwan0"), ["eth0", "wwan0"]),
        ("0.0.0.0", ("127.0.0.1",), ["lo"]),
        ("192.168.1.7", ("wlan0",), ["wlan0"]),
        ("0.0.0.0", ("eth1",), []),
    ],
)
def test_which_interfaces_are_meant(bind: str, named: tuple[str, ...], meant: list[str]) -> None:
    """A node would be silent on one of its LANs, pay for beacons through a modem, or show itself where its owner forbade it."""
    settings = ShellSettings(bind=bind, beacon_interfaces=named)
    assert [each.name for each in beaconed_on(ALL, settings)] == meant


def test_a_machine_with_very_many_interfaces_beacons_on_a_few() -> None:
    """Each container of a host would have a beacon of its own, and none be heard beyond the 20th: so many a socket may join."""
    many = [Interface(number, f"veth{number}", LAN, ("fe80::1",)) for number in range(1, 60)]
    assert [each.index for each in beaconed_on(many, ShellSettings())] == list(range(1, INTERFACES_MAX + 1))


def test_beacons_leave_from_the_address_that_was_named() -> None:
    """Others would answer to an address on which this node does not listen, or which its owner did not mean."""
    assert source_on(ETH, ShellSettings(bind="10.0.0.7")) == "10.0.0.7"
    assert source_on(ETH, ShellSettings(bind="10.0.0.7", beacon_interfaces=("eth0",))) == "10.0.0.7"
    assert source_on(ETH, ShellSettings(beacon_interfaces=("10.0.0.7",))) == "10.0.0.7"
    assert source_on(ETH, ShellSettings(bind="::", beacon_interfaces=("10.0.0.7",))) == "10.0.0.7"
    assert source_on(WLAN, ShellSettings(beacon_interfaces=("10.0.0.7", "wlan0"))) == ""
    assert source_on(ETH, ShellSettings()) == ""


def test_this_machine_has_loopback() -> None:
    """What the kernel says would be misread: no interface would be found, or none of its addresses."""
    lo = next(each for each in interfaces() if each.name == "lo")
    assert lo.index == socket.if_nametoindex("lo")
    assert "127.0.0.1" in lo.hosts
    assert not lo.is_lan
    assert lo.flags & IFF_LOOPBACK


def test_swarms_with_groups_of_their_own_do_not_meet_by_ipv6() -> None:
    """Swarms that were kept apart by their group would hear each other, or nodes of one swarm miss each other."""
    assert group_host(ShellSettings(), 4) == "239.192.70.82"
    assert group_host(ShellSettings(), 6) == "ff18::efc0:4652"
    assert group_host(ShellSettings(beacon_group="239.1.2.3"), 6) == "ff18::ef01:203"


def test_a_link_local_source_can_be_answered() -> None:
    """On a LAN without a router nodes would hear each other and have no address to answer to."""
    index = socket.if_nametoindex("lo")
    assert normal(("fe80::1", 47101, 0, index)) == Address("fe80::1%lo", 47101)
    assert normal(("fe80::1", 47101, 0, 999_999)) == Address("fe80::1%999999", 47101)
    assert normal(("fd00::1", 47101, 0, 0)) == Address("fd00::1", 47101)

    async def main() -> None:
        sockets = await open_sockets(loopback(bind="::"))
        assert sockets.resolved(Address("fe80::1%lo", 5)) == ("fe80::1", 5, 0, index)
        assert sockets.resolved(Address("fe80::1%7", 5)) == ("fe80::1", 5, 0, 7)
        with pytest.raises(OSError):
            sockets.resolved(Address("fe80::1%gone", 5))
        sockets.close()

    trio.run(main)


def test_a_node_hears_its_group_on_meant_interfaces_only() -> None:
    """Interfaces that the owner left out would be beaconed on, or the tests of one machine hear its neighbours."""

    async def main() -> None:
        settings = loopback(beacon=True, beacon_port=free_udp_port())
        meant = await open_sockets(settings)
        other = await open_sockets(
            loopback(beacon=True, beacon_port=settings.beacon_port, beacon_interfaces=("gone0",))
        )
        assert meant.groups is not None
        assert other.groups is not None
        assert [(way.name, way.version) for way in meant.groups.ways] == [("lo", 4)]
        assert meant.groups.words() == "lo (IPv4)"
        assert other.groups.sockets == {}
        meant.close()
        other.close()

    trio.run(main)


# ---------------------------------------------------------------------- in network namespaces

ROOT = pytest.mark.root


@ROOT
def test_two_meet_on_the_lan_that_is_not_the_systems_choice() -> None:
    """A node whose uplink is one cable and whose mates are on another would be alone: the system beacons on the uplink."""
    with yard() as place:
        for lan in ("up1", "up2", "inner"):
            place.lan(lan)
        nodes = []
        for number in (1, 2):
            machine = place.machine(f"m{number}")
            place.plug(machine, "eth0", f"up{number}", f"10.0.{number}.2/24")
            place.plug(machine, "eth1", "inner", f"10.0.9.{number}/24")
            ip(machine, f"route add default via 10.0.{number}.1 dev eth0")
            nodes.append(place.start(machine, number))
        nodes[0].until(lambda said: said["peers"] == {"n2": ["10.0.9.2", True]})
        nodes[1].until(lambda said: said["peers"] == {"n1": ["10.0.9.1", True]})
        assert nodes[0].state["on"] == "eth0 (IPv4), eth1 (IPv4)"


@ROOT
def test_a_node_on_two_lans_hears_mates_on_both_and_those_named_only() -> None:
    """A node between two LANs would know half of its mates; or show itself on a LAN that its owner left out."""
    with yard() as place:
        place.lan("left")
        place.lan("right")
        middle = place.machine("middle")
        place.plug(middle, "eth0", "left", "10.0.1.1/24")
        place.plug(middle, "eth1", "right", "10.0.2.1/24")
        others = []
        for number, lan in ((2, "left"), (3, "right")):
            machine = place.machine(lan)
            place.plug(machine, "eth0", lan, f"10.0.{number - 1}.{number}/24")
            others.append(place.start(machine, number))
        picky = place.machine("picky")
        place.plug(picky, "eth0", "left", "10.0.1.4/24")
        place.plug(picky, "eth1", "right", "10.0.2.4/24")
        named = place.start(picky, 4, beacon_interfaces=["eth1"])
        both = place.start(middle, 1)
        both.until(lambda said: set(said["peers"]) == {"n2", "n3", "n4"})
        assert both.state["peers"]["n2"] == ["10.0.1.2", True]
        assert both.state["peers"]["n3"] == ["10.0.2.3", True]
        both.publish(1)
        for node in others:
            node.until(lambda said: said["manifest"] == 1)
        named.until(lambda said: set(said["peers"]) == {"n1", "n3"})
        assert named.state["on"] == "eth1 (IPv4)"
        assert "n4" not in others[0].state["peers"]


@ROOT
def test_a_lan_with_nothing_but_link_local_addresses_is_a_site() -> None:
    """Nodes on a cable between them, without a router or DHCP, would never meet though both speak IPv6."""
    with yard() as place:
        place.lan("cable")
        nodes = []
        for number in (1, 2):
            machine = place.machine(f"m{number}")
            place.plug(machine, "eth0", "cable")
            nodes.append(place.start(machine, number, bind="::"))
        for node, other in ((nodes[0], "n2"), (nodes[1], "n1")):
            node.until(lambda said, other=other: other in said["peers"])
            host, mate = node.state["peers"][other]
            assert host.startswith("fe80::")
            assert host.endswith("%eth0")
            assert mate
            assert node.state["on"] == "eth0 (IPv6)"
        nodes[0].publish(1)
        nodes[1].until(lambda said: said["manifest"] == 1)


@ROOT
def test_an_interface_that_comes_later_is_beaconed_on_and_one_that_goes_is_not() -> None:
    """A Pi whose Wi-Fi is up a minute after its daemon would never hear its mates there."""
    with yard() as place:
        place.lan("first")
        place.lan("later")
        late, early = place.machine("late"), place.machine("early")
        place.plug(early, "eth0", "later", "10.0.2.2/24", "fd00:2::2/64")
        place.plug(late, "eth0", "first", "10.0.1.1/24")
        mate = place.start(early, 2, bind="::")
        node = place.start(late, 1, bind="::")
        node.until(lambda said: said["on"] == "eth0 (IPv4 and IPv6)")
        place.plug(late, "wlan0", "later", "10.0.2.1/24", "fd00:2::1/64")
        node.until(lambda said: said["on"] == "eth0 (IPv4 and IPv6), wlan0 (IPv4 and IPv6)")
        node.until(lambda said: "n2" in said["peers"])
        mate.until(lambda said: "n1" in said["peers"])
        host, _ = node.state["peers"]["n2"]
        assert host in ("10.0.2.2", "fd00:2::2")
        ip(late, "link del eth0")
        node.until(lambda said: said["on"] == "wlan0 (IPv4 and IPv6)")
