"""What goes wrong, and when: worked out from a scenario and its seed before the world begins."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from simulations.world.scenario import Scenario

AFTER_RELEASE_S = 60.0
"""Most faults fall within this time after a release: that is when nodes have something to lose."""
FLAP_S = 7.0
"""How long a flapping uplink stays as it is."""

StrikeKind: TypeAlias = Literal["kill", "power cut", "full disk"]


@frozen
class Strike:
    """One node loses its daemon, its power, or the room on its disk, `effects` effects after `at_s`."""

    at_s: float
    node: int
    kind: StrikeKind
    effects: int
    down_s: float


@frozen
class Separation:
    """From `begin_s` to `end_s` nodes with different sides do not hear each other. Nodes not named are on side 0."""

    begin_s: float
    end_s: float
    sides: tuple[tuple[int, int], ...]


def strikes(scenario: Scenario, rng: random.Random, nodes: Sequence[int]) -> list[Strike]:
    """Kills, power cuts and full disks, in order of time."""
    moments = [release.at_s for release in scenario.releases] or [0.0]
    found = []
    counts: tuple[tuple[StrikeKind, int], ...] = (
        ("kill", scenario.kills),
        ("power cut", scenario.power_cuts),
        ("full disk", scenario.full_disks),
    )
    for kind, count in counts:
        for _ in range(count):
            at_s = rng.uniform(0.0, scenario.faults_s)
            if rng.random() < 0.7:
                at_s = min(rng.choice(moments) + rng.uniform(0.0, AFTER_RELEASE_S), scenario.faults_s)
            effects = rng.randrange(rng.choice((3, 12, 60)))
            down_s = rng.uniform(0.5, 10.0) if kind == "kill" else rng.uniform(1.0, 40.0)
            found.append(Strike(at_s, rng.choice(nodes), kind, effects, down_s))
    return sorted(found, key=lambda strike: strike.at_s)


def separations(scenario: Scenario, rng: random.Random, site_of: Sequence[int]) -> list[Separation]:
    """Cuts of the network, in the order of the scenario; they may overlap. All end by `faults_s`."""
    found = []
    for cut in scenario.cuts:
        end_s = min(cut.at_s + cut.for_s, scenario.faults_s)
        if cut.kind == "half":
            sides = tuple((node, rng.randrange(2)) for node in range(len(site_of)))
        else:
            site = rng.randrange(scenario.sites)
            sides = tuple((node, int(where == site)) for node, where in enumerate(site_of))
        begin_s = cut.at_s
        while begin_s < end_s:
            stop_s = min(end_s, begin_s + FLAP_S) if cut.kind == "flap" else end_s
            found.append(Separation(begin_s, stop_s, sides))
            begin_s = stop_s + FLAP_S
    return found
