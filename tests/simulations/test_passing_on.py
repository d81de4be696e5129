"""Two sites behind translators that show each peer another port get torrent and leaves of each other by a node that both know.

In the world: the real cores on virtual time. What a node decides for itself: `tests/fruitd/node/test_passing_on.py`.
"""

from __future__ import annotations

import hashlib

import pytest
from attrs import evolve

from bep35.metainfo import parse
from fruitd.updater.journal import State
from simulations.world.host import Host
from simulations.world.maintainer import Published
from simulations.world.scenario import ReleasePlan, Scenario
from simulations.world.world import World
from swarm.core import PeerInfo

PUBLISHED_S = 40.0
TWO_SITES = Scenario(
    "two symmetric sites", nodes=4, sites=4, translated_sites=2, symmetric_sites=2, contacts=1, helpers=2, image_blocks=128,
    start_spread_s=5.0, releases=(ReleasePlan(PUBLISHED_S, publisher=2, changed=1.0),), faults_s=400.0,
)  # fmt: skip
"""Nodes 0 and 1 are open and have no slots; 2 publishes and 3 wants the release, both behind symmetric translators."""
HELPERS = 10


def world_of(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, *sites: int) -> World:
    """A world whose nodes are in these sites."""
    monkeypatch.setattr("simulations.world.world._places", lambda scenario, dice: sites)
    return World(scenario, 1)


def state_of(host: Host) -> State:
    assert host.node is not None
    assert host.node.updater is not None
    return host.node.updater.journal.state


def passed_on_bytes(host: Host) -> int:
    assert host.node is not None
    return host.node.passing_on.given_bytes


def test_torrent_and_leaves_get_from_one_symmetric_site_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release published in one of them would never reach the other: it could not even begin, whoever holds the image later."""
    world = world_of(monkeypatch, TWO_SITES, *range(4))
    *helpers, publisher, wants = world.hosts
    world.run(until_s=300.0)
    assert not world.network.can_dial(wants.number, publisher.number)
    assert publisher.plan.node_id not in {peer.node_id for peer in _peers(wants)}, "they cannot meet"
    assert state_of(wants) is State.FETCHING
    assert world.surroundings.fabric.moved_bytes == 0
    (published,) = world.surroundings.published
    leaves_bytes = 32 * TWO_SITES.image_blocks
    assert sum(map(passed_on_bytes, helpers)) == len(published.torrent) + leaves_bytes
    assert all(_holdings(helper) == [] for helper in helpers), "they hold no image and say so"
    # One that is open is given the image by hand; the rest goes its usual way.
    world._publish(published, evolve(TWO_SITES.releases[0], publisher=1))
    report = world.run()
    assert report.violations == ()
    assert report.unsettled == ()
    assert wants.machine.holds(wants.machine.active or "", published.image.blocks)


def test_one_that_asks_everybody_sets_off_no_wave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node of a swarm would fetch, and ask others for, what one of them asked for: through the publisher's thin line."""
    scenario = evolve(
        TWO_SITES, nodes=HELPERS + 2, sites=HELPERS + 2, contacts=HELPERS, helpers=HELPERS,
        releases=(evolve(TWO_SITES.releases[0], publisher=HELPERS),),
    )  # fmt: skip
    world = world_of(monkeypatch, scenario, *range(HELPERS + 2))
    helpers, wants = world.hosts[:HELPERS], world.hosts[-1]
    world.run(until_s=PUBLISHED_S + 1.0)
    had: list[tuple[State, int]] = []
    for reached, number in ((State.REUSING, 0), (State.FETCHING, 1)):
        while state_of(wants) is not reached:
            assert world.heap.now_s < 600.0, f"waits for {reached}"
            world.run(until_s=world.heap.now_s + 5.0)
        kind, blob_id = _blobs(world.surroundings.published[0])[number]
        had.append((reached, sum(_has_for_others(host, kind, blob_id) for host in helpers)))
    assert all(1 <= count <= HELPERS / 3 for _, count in had), had


def test_nothing_is_passed_on_where_nobody_needs_it() -> None:
    """Open swarms would carry torrents and leaves to nodes that do not want them."""
    scenario = evolve(
        TWO_SITES, nodes=8, translated_sites=0, symmetric_sites=0, helpers=3,
        releases=(evolve(TWO_SITES.releases[0], publisher=3),),
    )  # fmt: skip
    world = World(scenario, 1)
    world.run(until_s=150.0)
    assert [state_of(host) for host in world.hosts[3:]] == [State.COMMITTED] * 5
    (published,) = world.surroundings.published
    for kind, blob_id in _blobs(published):
        assert not any(_has_for_others(host, kind, blob_id) for host in world.hosts)


def _blobs(published: Published) -> list[tuple[str, bytes]]:
    torrent = published.torrent
    return [("torrent", hashlib.sha256(torrent).digest()), ("leaves", parse(torrent).pieces_root)]


def _has_for_others(host: Host, kind: str, blob_id: bytes) -> bool:
    assert host.node is not None
    return host.node.library.passed.get(kind, blob_id) is not None


def _holdings(host: Host) -> list[bytes]:
    assert host.node is not None
    return host.node.library.holdings(None)


def _peers(host: Host) -> list[PeerInfo]:
    assert host.node is not None
    return host.node.swarm.peers()
