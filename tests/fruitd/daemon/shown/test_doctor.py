"""Lines of `fruit doctor` that need no more of a daemon than its configuration and a word of its shell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fruitd.daemon.shown.doctor import _beacon


def daemon(on: str, *, beacon: bool = True, named: tuple[str, ...] = ()) -> Any:
    swarm = SimpleNamespace(beacon=beacon, beacon_interface=named)
    return SimpleNamespace(config=SimpleNamespace(swarm=swarm), shell=SimpleNamespace(beaconed_on=on))


@pytest.mark.parametrize(
    ("node", "ok", "found"),
    [
        (daemon("eth0 (IPv4)"), True, "sent and heard on eth0 (IPv4)"),
        (daemon("", beacon=False), True, "off: [swarm] beacon is false"),
        (daemon(""), False, "neither sent nor heard: no interface of a LAN is up"),
        (daemon("", named=("wlan7",)), False, "neither sent nor heard: wlan7 is not up, or has no address"),
    ],
)
def test_where_the_beacon_is_heard(node: Any, ok: bool, found: str) -> None:
    """The owner of a node that knows nobody could not tell a wrong name of an interface from a switch without multicast."""
    assert _beacon(node)[:2] == (ok, found)
