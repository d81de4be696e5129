"""Two sites that cannot reach each other get an image of each other by a node whose owner lets it relay images.

In the world: the real cores on virtual time. What a node decides for itself: `tests/fruitd/node/test_relaying.py`.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from fruitd.updater.journal import State
from simulations.world.host import Host
from simulations.world.world import World
from swarm.transfer.port import BLOCK_BYTES
from tests.simulations.test_passing_on import PUBLISHED_S, TWO_SITES, state_of, world_of

RELAYED = evolve(TWO_SITES, relay_images=True, dials_back=True)


def relayed_by(host: Host) -> set[str]:
    """Images that it holds, none of which it can install."""
    assert host.node is not None
    return {share.infohash for share in host.node.library.shares()}


def test_an_image_gets_from_one_symmetric_site_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release would wait at the first site until somebody opens a port."""
    world = world_of(monkeypatch, RELAYED, *range(4))
    *helpers, publisher, wants = world.hosts
    report = world.run(until_s=PUBLISHED_S + 600.0)
    assert report.violations == ()
    assert not world.network.can_dial(wants.number, publisher.number)
    assert state_of(wants) is State.COMMITTED
    (published,) = world.surroundings.published
    assert wants.machine.holds(wants.machine.active or "", published.image.blocks)
    relays = [helper for helper in helpers if relayed_by(helper)]
    assert relays
    image_bytes = RELAYED.image_blocks * BLOCK_BYTES
    assert world.surroundings.fabric.moved_bytes <= (len(relays) + 1.1) * image_bytes


def test_an_image_goes_on_to_who_comes_later_and_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cross the publisher's line once more for each of them."""
    world = world_of(monkeypatch, evolve(RELAYED, helpers=1, nodes=3, sites=3, releases=(
        evolve(TWO_SITES.releases[0], publisher=1),
    )), *range(3))  # fmt: skip
    helper, _, wants = world.hosts
    wants.firmware.cut_power(PUBLISHED_S + 400.0)
    world.run(until_s=PUBLISHED_S + 5.0)
    assert relayed_by(helper) == set(), "nobody has sought it"
    world.run(until_s=PUBLISHED_S + 1200.0)
    assert state_of(wants) is State.COMMITTED
    assert len(relayed_by(helper)) == 1
    helper.stop_daemon()
    helper.firmware.start_daemon_after(1.0)
    world.run(until_s=world.heap.now_s + 60.0)
    assert len(relayed_by(helper)) == 1
    assert helper.node is not None
    assert helper.node.library.holdings(None), "it says so, too"


def test_nothing_is_relayed_where_nobody_needs_it() -> None:
    """Open swarms would carry each image to nodes that do not want it."""
    scenario = evolve(
        RELAYED, nodes=8, translated_sites=0, symmetric_sites=0, helpers=3,
        releases=(evolve(TWO_SITES.releases[0], publisher=3),),
    )  # fmt: skip
    world = World(scenario, 1)
    world.run(until_s=200.0)
    assert [state_of(host) for host in world.hosts[3:]] == [State.COMMITTED] * 5
    assert not any(relayed_by(host) for host in world.hosts[:3])
