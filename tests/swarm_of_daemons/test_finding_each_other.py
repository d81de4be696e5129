"""How real daemons find each other, and how they speak to the service manager."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from fruitd.demo.cluster import Cluster

pytestmark = pytest.mark.swarm

START_S = 120.0


def test_without_multicast_nodes_are_found_by_contacts_and_by_what_peers_tell(
    make_cluster: Callable[..., Cluster],
) -> None:
    """On networks that drop multicast, a node with one contact would know one peer, and nothing of the rest of its swarm."""
    cluster = make_cluster(beacon=False)
    first = cluster.add("first", slots=False)
    others = [cluster.add(f"other-{n}", slots=False, contacts=[first]) for n in (1, 2, 3)]
    for node in cluster.nodes:
        node.start()
    cluster.wait("everybody", [first, *others], lambda s: s["peers"]["heard"] >= 3, timeout_s=START_S)


def test_the_service_manager_is_told_that_the_daemon_is_ready_and_alive(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd would wait for the start for ever, or end a healthy daemon for being silent."""
    cluster = make_cluster()
    path = cluster.settings.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(START_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        node = cluster.add("node", slots=False)
        node.start()
        said: list[str] = []
        while sum("WATCHDOG=1" in line for line in said) < 2:
            said.append(manager.recv(4096).decode())
        assert any("READY=1" in line for line in said)
        node.stop()
        while not any("STOPPING=1" in line for line in said):
            said.append(manager.recv(4096).decode())
