"""A network that is not what the file says would make every figure of the testbed a lie: translators, losses and counters, seen
from inside by real sockets."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulations.testbed.commands import inside
from simulations.testbed.faults import Fault, Target
from simulations.testbed.janitor import Janitor
from simulations.testbed.layout import Host, Layout
from simulations.testbed.network import Network
from simulations.testbed.plan import decode_plan

pytestmark = pytest.mark.root
PROBE = Path(__file__).with_name("probe.py")
PORT = 7777
PATIENCE_S, NOTHING_S = 30.0, 1.0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Every kind of site once, and a publisher in the open."""
    plan = decode_plan(
        {
            "publisher": {"up_mbit_per_s": 50, "down_mbit_per_s": 50},
            "sites": [
                {"name": "open", "nodes": 2},
                {"name": "forward", "nodes": 2, "nat": "forwarded", "subnet": "192.168.1.0/24"},
                {"name": "cone", "nodes": 2, "nat": "cone", "subnet": "192.168.1.0/24"},
                {"name": "symmetric", "nodes": 1, "nat": "symmetric"},
                {"name": "noudp", "nodes": 1, "nat": "udp-blocked"},
                {"name": "double", "nodes": 1, "nat": "double"},
                {"name": "wifi", "nodes": 2, "isolated": True},
                {"name": "lossy", "nodes": 1, "loss": 0.3, "down_mbit_per_s": 50},
                {"name": "far", "nodes": 1, "delay_ms": 150},
            ],
        },
        "a test",
    )
    layout = Layout.of(plan, f"frt{secrets.token_hex(3)}")
    with Janitor() as janitor:
        janitor.will_make(namespaces=layout.namespaces)
        made = Network(layout, tmp_path_factory.mktemp("network"))
        made.build()
        yield made


def host(network: Network, name: str) -> Host:
    """By `place/number`."""
    return network.layout.host(Target.parse(name))


def reaches(client: Host, kind: str, address: str, port: int, *, from_port: int = 0) -> bool:
    """Whether a node hears from there, with as much patience as a busy machine needs."""
    return _ask(client, kind, address, port, from_port, PATIENCE_S)


def is_cut_off(client: Host, kind: str, address: str, port: int) -> bool:
    """Whether a node hears nothing from there for as long as a test can wait for nothing."""
    return not _ask(client, kind, address, port, 0, NOTHING_S)


def _ask(client: Host, kind: str, address: str, port: int, from_port: int, for_s: float) -> bool:
    command = [sys.executable, str(PROBE), "ask", kind, str(from_port), address, str(port), str(for_s)]
    done = subprocess.run([*inside(client.namespace), *command], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "yes"


@contextmanager
def probe(where: Host, tmp_path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A probe that listens; READY in its words stands for a file that it makes when it does."""
    ready = tmp_path / f"ready-{secrets.token_hex(3)}"
    command = [sys.executable, str(PROBE), *(str(ready) if word == "READY" else word for word in words)]
    process = subprocess.Popen([*inside(where.namespace), *command], stdout=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not ready.exists():
            assert time.monotonic() < deadline_s, "the probe did not start"
            assert process.poll() is None
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_everybody_reaches_the_open_publisher_and_nobody_a_translated_site(
    network: Network, tmp_path: Path
) -> None:
    """A site could be cut off by the testbed itself, or open where the file says that it is not."""
    publisher = host(network, "publisher/1")
    with probe(publisher, tmp_path, "serve", "tcp", str(PORT), "READY", "20"):
        for name in (
            "open/1",
            "forward/2",
            "cone/1",
            "symmetric/1",
            "noudp/1",
            "double/1",
            "wifi/2",
            "far/1",
        ):
            assert reaches(host(network, name), "tcp", publisher.public, PORT), name
    for name, expected in (
        ("open/1", reaches),
        ("forward/2", reaches),
        ("cone/1", is_cut_off),
        ("double/1", is_cut_off),
    ):
        target = host(network, name)
        with probe(target, tmp_path, "serve", "tcp", str(target.control_port), "READY", "1"):
            assert expected(publisher, "tcp", target.public, target.control_port), name


@pytest.mark.parametrize(("name", "same"), [("cone/1", True), ("symmetric/1", False), ("double/1", True)])
def test_translators_keep_a_port_or_draw_one_for_each_destination(
    network: Network, tmp_path: Path, name: str, same: bool
) -> None:
    """Punching holes would be measured through translators of another kind."""
    client, first, second = host(network, name), host(network, "publisher/1"), host(network, "open/1")
    seen = []
    for server in (first, second):
        with probe(server, tmp_path, "serve", "udp", str(PORT), "READY", "1") as served:
            assert reaches(client, "udp", server.public, PORT, from_port=client.control_port)
            assert served.stdout is not None
            seen.append(served.stdout.readline().strip())
    assert (seen[0] == seen[1]) is same
    assert seen[0].split(":")[0] == client.public
    if same:
        assert seen[0] == f"{client.public}:{client.control_port}"


def test_a_site_without_udp_has_tcp(network: Network, tmp_path: Path) -> None:
    """Falling back to TCP would never be tried."""
    publisher, client = host(network, "publisher/1"), host(network, "noudp/1")
    with probe(publisher, tmp_path, "serve", "udp", str(PORT), "READY", "1"):
        assert is_cut_off(client, "udp", publisher.public, PORT)


def test_isolated_clients_reach_the_router_and_not_each_other(network: Network, tmp_path: Path) -> None:
    """Client isolation would be tested on an ordinary LAN."""
    for site, expected in (("wifi", is_cut_off), ("cone", reaches)):
        one, two = host(network, f"{site}/1"), host(network, f"{site}/2")
        with probe(two, tmp_path, "serve", "udp", str(PORT), "READY", "1"):
            assert expected(one, "udp", two.address, PORT), site


def test_a_share_of_packets_is_lost_and_the_counters_know_what_crossed(
    network: Network, tmp_path: Path
) -> None:
    """30 % loss could be none, and the bytes of a site any number."""
    publisher, lossy = host(network, "publisher/1"), host(network, "lossy/1")
    sent, wire_bytes = 400, 1000 + 8 + 20 + 14
    network.start_counting()
    with probe(lossy, tmp_path, "count", str(PORT), "READY", "1.5") as counted:
        flood = [sys.executable, str(PROBE), "flood", "0", lossy.public, str(PORT), str(sent)]
        subprocess.run([*inside(publisher.namespace), *flood], check=True)
        assert counted.stdout is not None
        came = int(counted.stdout.readline())
    assert 225 < came < 335  # 280, and six standard deviations
    into, out = network.line_bytes()["lossy"]
    assert sent * wire_bytes <= into < sent * wire_bytes + 2000  # and some address resolution
    assert out < 2000
    assert came * (wire_bytes - 14) <= network.node_bytes()["lossy/1"] < came * wire_bytes
    assert network.line_bytes()["cone"][0] < 2000


def test_a_delay_is_there_and_back(network: Network, tmp_path: Path) -> None:
    """A far site would be as near as all others."""
    publisher, far = host(network, "publisher/1"), host(network, "far/1")
    with probe(publisher, tmp_path, "serve", "udp", str(PORT), "READY", "1"):
        began_s = time.monotonic()
        assert reaches(far, "udp", publisher.public, PORT)
        assert time.monotonic() - began_s >= 0.3


def test_cut_heal_and_swap(network: Network, tmp_path: Path) -> None:
    """A fault script would do nothing, or leave the network broken for what comes after."""
    publisher, one, two = (host(network, name) for name in ("publisher/1", "open/1", "open/2"))
    with probe(publisher, tmp_path, "serve", "udp", str(PORT), "READY", "20"):
        network.carry_out(Fault("cut", Target("open")), None, None)
        assert is_cut_off(one, "udp", publisher.public, PORT)
        network.carry_out(Fault("heal", Target("open")), None, None)
        assert reaches(one, "udp", publisher.public, PORT)
        network.carry_out(Fault("cut", Target("open", 1)), one, None)
        assert is_cut_off(one, "udp", publisher.public, PORT)
        assert reaches(two, "udp", publisher.public, PORT)
        network.carry_out(Fault("heal", Target("open", 1)), one, None)
        assert reaches(one, "udp", publisher.public, PORT)
    swap = Fault("swap", Target("open", 1), other=Target("open", 2))
    network.carry_out(swap, one, two)
    with probe(two, tmp_path, "serve", "tcp", str(PORT), "READY", "1"):
        # The second answers at the first one's address.
        assert reaches(publisher, "tcp", one.address, PORT)
    network.carry_out(swap, one, two)


def test_a_slow_line_is_slow_and_the_plan_s_rate_comes_back(network: Network, tmp_path: Path) -> None:
    """A gateway that is worse than none would be an ordinary one."""
    publisher, lossy = host(network, "publisher/1"), host(network, "open/1")
    slow = Fault("slow", Target("open"), mbit_per_s=0.1)
    came = []
    for fault in (slow, Fault("heal", Target("open"))):
        network.carry_out(fault, None, None)
        with probe(lossy, tmp_path, "count", str(PORT), "READY", "0.7") as counted:
            flood = [sys.executable, str(PROBE), "flood", "0", lossy.public, str(PORT), "200"]
            subprocess.run([*inside(publisher.namespace), *flood], check=True)
            assert counted.stdout is not None
            came.append(int(counted.stdout.readline()))
    assert came[0] < 170  # the queue of 64 kB, and what 100 kbit/s drain meanwhile
    assert came[1] == 200
