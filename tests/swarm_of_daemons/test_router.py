"""A real daemon behind a router that lets in what it is asked to. The router is a namespace with the program of home routers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.cluster import Cluster
from tests.swarm_of_daemons.looks import doctor_of, until
from tests.swarm_of_daemons.nat import PUBLIC_WAN, places, settle

pytestmark = [
    pytest.mark.swarm,
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("miniupnpd") is None, reason="apt install miniupnpd-nftables"),
]

PATIENCE_S = 120.0


@pytest.mark.parametrize("upnp", [True, False], ids=["upnp", "natpmp"])
def test_a_router_lets_strangers_in_where_it_is_asked_to(
    make_cluster: Callable[..., Cluster], tmp_path: Path, upnp: bool
) -> None:
    """A maintainer at home could publish to nobody, and would have to learn how her router forwards ports."""
    with places(PUBLIC_WAN) as wide:
        cluster = make_cluster(beacon=False)
        helper_place, helper_address = wide.open_place()
        helper = settle(cluster, "helper", helper_place, [])
        home_place, outer = wide.behind_mapper(tmp_path, upnp=upnp, natpmp=not upnp)
        home = settle(cluster, "home", home_place, [f"{helper_address}:47101"], transfer="map_ports = true\n")
        # It knows nobody but the address of the router.
        stranger = settle(cluster, "stranger", wide.open_place()[0], [f"{outer}:47101"])
        helper.start()
        home.start()
        try:
            cluster.wait(
                "the router lets strangers in",
                [home],
                lambda s: (
                    s["dht"]["open"]
                    and s["dht"]["reach"] == f"open: the router lets strangers in at {outer}:47101"
                ),
                timeout_s=PATIENCE_S,
            )
            asked_by = "UPNP" if upnp else "NAT-PMP or PCP"
            ports = "47101/tcp, 47101/udp, 47102/tcp, 47102/udp"
            until(
                lambda: any(
                    f"lets in {ports} at {outer}, asked by {asked_by}" in line for line in doctor_of(home)
                ),
                lambda: f"doctor says {doctor_of(home)}",
            )
            stranger.start()
            cluster.wait(
                "the stranger has come in",
                [stranger],
                lambda s: s["peers"]["heard"] >= 1,
                timeout_s=PATIENCE_S,
            )
        finally:
            cluster.close()
