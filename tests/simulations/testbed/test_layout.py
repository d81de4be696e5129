"""Names and addresses of a network: two runs side by side must not meet, and no two nodes share what has to differ."""

from __future__ import annotations

from simulations.testbed.layout import Layout
from simulations.testbed.plan import decode_plan
from simulations.testbed.rules import router_rules

PLAN = decode_plan(
    {
        "publisher": {"nat": "cone"},
        "helper": {},
        "sites": [
            {"repeat": 2, "nodes": 3, "nat": "cone", "subnet": "192.168.1.0/24"},
            {"nodes": 2, "nat": "double"},
            {"nodes": 2, "nat": "forwarded", "delay_ms": 20},
            {"nodes": 2},
        ],
    },
    "a test",
)


def test_no_two_namespaces_have_one_name() -> None:
    """Building would fail, or one site would be wired into another."""
    layout = Layout.of(PLAN, "frt0a0b0c")
    assert (
        len(set(layout.namespaces)) == len(layout.namespaces) == 24
    )  # world, 7 routers, carrier, delay, 14 nodes
    assert all(name.startswith("frt0a0b0c-") for name in layout.namespaces)
    assert not set(layout.namespaces) & set(Layout.of(PLAN, "frt0a0b0d").namespaces)


def test_sites_may_share_private_addresses_and_nothing_else() -> None:
    """Two sites with the usual 192.168.1.0/24 could not be told apart from outside, or not be built at all."""
    layout = Layout.of(PLAN, "x")
    first, second = layout.line("s1"), layout.line("s2")
    assert [host.address for host in first.hosts] == [host.address for host in second.hosts]
    assert first.hosts[0].address == "192.168.1.2"
    assert first.outer_address != second.outer_address
    assert first.routed is None
    outside = [host.public for host in layout.hosts if host.place in ("publisher", "helper", "s5")]
    assert len(set(outside)) == len(outside)


def test_nodes_of_a_site_have_ports_of_their_own() -> None:
    """Behind one address a translator could forward a port to one of them only."""
    hosts = Layout.of(PLAN, "x").line("s1").hosts
    ports = [port for host in hosts for port in (host.control_port, host.transfer_port)]
    assert len(set(ports)) == len(ports)


def test_only_what_a_plan_asks_for_is_in_a_routers_rules() -> None:
    """A site would be translated, lossy or open without anybody having asked for it."""
    layout = Layout.of(PLAN, "x")
    cone, open_site = router_rules(layout.line("s1")), router_rules(layout.line("s5"))
    assert "masquerade" in cone
    assert "dnat to" not in cone
    assert "random" not in cone
    assert "masquerade" not in open_site
    assert "drop" not in open_site
    assert router_rules(layout.line("s4")).count("dnat to") == 2 * 2
