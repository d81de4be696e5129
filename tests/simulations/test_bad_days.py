"""Bad days of a site behind a thin line, in the world: what its line carries, and how long its nodes wait.

The table of all bad days and their tests is in docs/sites.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean

import pytest
from attrs import evolve

from simulations.world.host import Host
from simulations.world.report import Report
from simulations.world.scenario import ReleasePlan, Scenario
from simulations.world.world import World
from swarm.transfer.port import BLOCK_BYTES
from swarm.transfer.way_out import Out

SITE = 1
"""The site that has the bad day; the publisher is in site 0."""
LINE_BYTES_PER_S = 250_000.0
PUBLISHED_S = 30.0
DAY = Scenario(
    "bad day", nodes=8, sites=2, translated_sites=0, contacts=1, image_blocks=512, start_spread_s=5.0,
    wan_bytes_per_s=LINE_BYTES_PER_S, run_bytes=65_536, releases=(ReleasePlan(PUBLISHED_S, changed=1.0),), faults_s=400.0,
)  # fmt: skip
IMAGE_BYTES = DAY.image_blocks * BLOCK_BYTES
EACH_FOR_ITSELF = DAY.nodes / DAY.sites
"""Images over the line if nobody of the site gave anything to anybody."""
COPIES_MAX = 1.10
"""As for real daemons (docs/performance.md)."""
COPIES_MAX_LOST = 1.12
"""Where a gateway is lost half way, with what it had under way."""
COPIES_MAX_TWO_GATEWAYS = 1.2
"""On a single day on which two fetch at once."""
LINE_S = IMAGE_BYTES / LINE_BYTES_PER_S
"""What one image needs over the line: 34 s."""


class BadDay:
    """One release, and something that happens in the site when its line has carried two fifths of the image."""

    def __init__(self, scenario: Scenario = DAY, seed: int = 1) -> None:
        self.world = World(scenario, seed)
        self.mates = [host for host in self.world.hosts if host.plan.site == SITE]
        self.most_out = 0
        """How many of the site were seen outside of it at one moment, after that."""

    def half_way(self) -> Host:
        """Let it get there; returns the gateway of that moment."""
        while self.copies() < 0.4:
            self.world.heap.run_until(self.world.heap.now_s + 0.5)
            assert self.world.heap.now_s < 300.0, "nothing comes"
        (gateway,) = [host for host in self.mates if host.node is not None and host.node.out is Out.GATEWAY]
        return gateway

    def run(self, *, isolated: bool = False) -> Report:
        """`isolated`: whoever was restarted hears what its mates said meanwhile when they say it again, after half an hour."""
        self.world.heap.after(0.0, self._look)
        report = self.world.run()
        assert report.violations == ()
        assert [why for why in report.unsettled if not (isolated and " lacks status " in why)] == []
        return report

    def at(self, after_s: float, action: Callable[[], object]) -> None:
        self.world.heap.after(after_s, action)

    def cut_off(self, hosts: list[Host]) -> None:
        """From now on these are on a side of their own; nobody is with an empty list."""
        self.world.network.set_sides({host.number: (1,) for host in hosts})

    def copies(self) -> float:
        """Images that came over the site's line."""
        return self.world.surroundings.fabric.moved_into_site_bytes(SITE) / IMAGE_BYTES

    def took_s(self, number: int = 1, but: Host | None = None) -> float:
        """From the first publication until the last living node of the site, but for one, kept this release."""
        installed_s = self.world._installed_s[number]
        living = [host for host in self.mates if not host.firmware.gone and host is not but]
        return max(installed_s[host.number] for host in living) - PUBLISHED_S

    def _look(self) -> None:
        self.most_out = max(
            self.most_out, sum(h.node is not None and h.node.out is not None for h in self.mates)
        )
        self.at(0.5, self._look)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_ordinary_day(seed: int) -> None:
    """A site would fetch an image more than once because its publisher installs it too, starts anew, and gives nothing for some
    seconds: the second in rank goes out as well then, and both would go on."""
    day = BadDay(seed=seed)
    day.run()
    assert day.copies() <= COPIES_MAX
    assert day.took_s() <= 3 * LINE_S


def test_a_gateway_that_dies() -> None:
    """A site would be without its release, or fetch it for each of its nodes, because one Pi lost its power."""
    day = BadDay()
    day.half_way().firmware.switch_off()
    day.run()
    assert day.copies() <= COPIES_MAX_LOST
    assert day.took_s() <= 4 * LINE_S


def test_a_gateway_that_hangs_and_comes_back_beside_its_successor() -> None:
    """Two would go on as gateways and download twice; or the site would wait for one that says nothing.

    What the two fetch at once is a matter of chance: 1.00 to 1.18 images on twelve seeds, 1.07 in the mean.
    """
    copies: list[float] = []
    for seed in range(1, 7):
        day = BadDay(seed=seed)
        gateway = day.half_way()
        gateway.hang(30.0)
        day.cut_off([gateway])
        day.at(30.0, partial(day.cut_off, []))
        day.run()
        assert day.most_out >= 2, "two gateways at once: that is what this day is about"
        assert day.took_s() <= 4 * LINE_S
        copies.append(day.copies())
    assert fmean(copies) <= COPIES_MAX_LOST
    assert max(copies) <= COPIES_MAX_TWO_GATEWAYS


def test_a_gateway_that_is_worse_than_none() -> None:
    """One bad cable in a site would hold up all of its nodes for as long as nobody mends it."""
    day = BadDay()
    gateway = day.half_way()
    fabric = day.world.surroundings.fabric
    fabric.slow_down(gateway.number, 6_000.0)
    day.at(600.0, lambda: fabric.slow_down(gateway.number, DAY.lan_bytes_per_s))
    day.run()
    assert day.took_s(but=gateway) <= 6 * LINE_S
    assert day.copies() <= 1.25, "what the gateway goes on fetching reaches nobody in time"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_line_that_is_cut_for_two_minutes(seed: int) -> None:
    """All of a site's nodes go out while nothing comes, and would stay out: the line would carry the rest for each of them."""
    day = BadDay(seed=seed)
    day.half_way()
    day.cut_off(day.mates)
    day.at(120.0, lambda: day.cut_off([]))
    day.run()
    assert day.most_out == len(day.mates), "all at once: that is what this day is about"
    assert day.copies() <= COPIES_MAX_LOST


def test_an_hour_without_a_line() -> None:
    """What was published meanwhile would reach the site at the next visit, or be fetched by each of its nodes at once."""
    day = BadDay(evolve(DAY, faults_s=4500.0, releases=(*DAY.releases, ReleasePlan(2000.0, changed=1.0))))
    day.half_way()
    day.cut_off(day.mates)
    healed_s = day.world.heap.now_s + 3600.0
    day.at(3600.0, lambda: day.cut_off([]))
    day.run()
    assert PUBLISHED_S + day.took_s(2) - healed_s <= 600.0 + 4 * LINE_S, (
        "lost peers are asked once in ten minutes"
    )
    assert day.copies() <= EACH_FOR_ITSELF / 2 + 0.4, "two fifths of the first release were of no use"


def test_clients_that_are_isolated() -> None:
    """On Wi-Fi that lets no client reach another each node would wait for a gateway that it hears and never reaches."""
    day = BadDay()
    day.world.network.isolate(SITE)
    day.run(isolated=True)
    assert day.copies() >= len(day.mates) - 0.5, "each for itself: there is no other way"
    assert day.took_s() <= 3 * len(day.mates) * LINE_S


def test_three_of_ten_packets_lost() -> None:
    """A site behind a bad radio link would never get a release, or go out with all of its nodes."""
    day = BadDay(evolve(DAY, loss=0.3))
    day.run()
    assert day.copies() <= COPIES_MAX_LOST
