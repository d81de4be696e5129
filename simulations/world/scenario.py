"""What a run is about: how many nodes where, what is published, and what goes wrong. A frozen value, readable from TOML."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Literal

import cattrs
from attrs import evolve, field, frozen
from attrs.validators import ge, gt, le

from fruitd.errors import UsageError
from simulations.world.images import Behaviour

NODES_MAX = 10_000


@frozen
class ReleasePlan:
    """One release: published at `at_s` through a node of site 0. Numbers count from 1 in the order of the plans."""

    at_s: float = field(default=60.0, validator=ge(0))
    behaviour: Behaviour = Behaviour.GOOD
    changed: float = field(default=0.2, validator=[ge(0), le(1)])
    """Share of blocks that differ from the release before."""
    publisher: int = field(default=0, validator=ge(0))
    """Node through which it is published, which keeps the image file and seeds it."""
    other_hardware: bool = False
    """For the nodes with other hardware, not for the others."""


@frozen
class TheftPlan:
    """The release keys are stolen at `at_s` and used at once, for the highest sequence and release number; the maintainers rotate
    them out at `rotated_at_s`, and number their releases on from where they were."""

    at_s: float = field(default=100.0, validator=ge(0))
    rotated_at_s: float = field(default=160.0, validator=ge(0))


@frozen
class CutPlan:
    """A stretch of time in which some nodes cannot hear others.

    `site`: one site's uplink is dead. `half`: a random half of all nodes is cut from the rest, within sites too.
    `flap`: a site's uplink dies and comes back every few seconds.
    """

    kind: Literal["site", "half", "flap"] = "site"
    at_s: float = field(default=60.0, validator=ge(0))
    for_s: float = field(default=60.0, validator=gt(0))


@frozen
class Scenario:
    """Everything a run depends on, beside its seed."""

    name: str = "one release"
    nodes: int = field(default=12, validator=[ge(1), le(NODES_MAX)])
    sites: int = field(default=3, validator=ge(1))
    translated_sites: int = field(default=1, validator=ge(0))
    """Sites behind an address translator: the last ones. Site 0 never is: it holds the contacts."""
    shut_in_sites: int = field(default=0, validator=ge(0))
    """Of those, sites whose firewall lets no datagrams out: the last ones."""
    symmetric_sites: int = field(default=0, validator=ge(0))
    """Of these, the last ones: their translators show each peer another port, so no two of them get a datagram to each other."""
    helpers: int = field(default=0, validator=ge(0))
    """Nodes (the first ones) that have no slots: they carry news, and help."""
    relay_images: bool = False
    """Whether helpers fetch images for sites that cannot reach each other."""
    dials_back: bool = False
    """Whether holders behind a translator dial nodes that can be dialled and want their image, as daemons do."""
    contacts: int = field(default=2, validator=ge(1))
    """Nodes of site 0 that every node knows by address from its configuration."""
    site_names_told: bool = True
    """Whether nodes are configured with the name of their site."""
    other_hardware: int = field(default=0, validator=ge(0))
    """Nodes (the last ones) whose hardware the ordinary releases are not for."""

    loss: float = field(default=0.0, validator=[ge(0), le(0.9)])
    duplicate: float = field(default=0.0, validator=[ge(0), le(0.9)])
    reorder: float = field(default=0.0, validator=[ge(0), le(0.9)])
    wan_delay_s_max: float = field(default=0.08, validator=gt(0))

    image_blocks: int = field(default=64, validator=ge(1))
    """Blocks of 16 KiB of each image and each slot."""
    lan_bytes_per_s: float = field(default=10e6, validator=gt(0))
    wan_bytes_per_s: float = field(default=1e6, validator=gt(0))
    run_bytes: int = field(default=262_144, validator=ge(16_384))
    """Image bytes moved by one event. Larger runs faster and shows less of how nodes share."""
    releases: tuple[ReleasePlan, ...] = (ReleasePlan(),)

    parcels: int = field(default=0, validator=[ge(0), le(7)])
    """Each release has a parcel from so many releases before it, and one from nothing; 0: there are none."""

    theft: TheftPlan | None = None

    start_spread_s: float = field(default=20.0, validator=ge(0))
    """Nodes are switched on at random within this time."""
    late_nodes: int = field(default=0, validator=ge(0))
    """Nodes (before the last liars) that are switched on only when the faults stop."""
    publisher_leaves: bool = False
    """The publisher of the last release is switched off for good once one other node that can be dialled from everywhere runs
    it. (Nodes that only have it behind a translator cannot be asked yet: calling back is not built.)"""
    kills: int = field(default=0, validator=ge(0))
    """How often a daemon is killed; it is started again by its init."""
    power_cuts: int = field(default=0, validator=ge(0))
    """How often a node loses its power, at an effect boundary."""
    full_disks: int = field(default=0, validator=ge(0))
    """How often a node's disk is full for a while: nothing can be saved."""
    cuts: tuple[CutPlan, ...] = ()
    liars: int = field(default=0, validator=ge(0))
    """Nodes (the last ones) that hold the swarm key and lie."""
    health_hiccups: float = field(default=0.0, validator=[ge(0), le(0.5)])
    """Chance that a health sample of a good release is bad."""

    stack_boards: int = field(default=0, validator=[ge(0), le(16)])
    """PiStack boards under the nodes, two to a board. The first `stack_owners` nodes may have their bus, and have other hardware
    than the releases are for: they must not hang with the others."""
    stack_owners: int = field(default=1, validator=[ge(1), le(2)])
    """How many nodes share the bus: one has it, and where it falls silent another takes over."""
    stack_owner_in_bay: bool = True
    """Node 0 sits in the first bay; otherwise it is a machine beside the stack."""
    stack_told: bool = True
    """Every node is configured with its bay; otherwise that has to be learned."""
    stack_noise: float = field(default=0.0, validator=[ge(0), le(0.5)])
    """So many of the replies on the boards' bus are damaged."""
    stack_owner_hangs: int = field(default=0, validator=ge(0))
    """How often the node that has the bus hangs: in a bay until another cycles it, beside the stack for some minutes."""
    stack_brown_outs: int = field(default=0, validator=ge(0))
    """How often the supply of all boards is low, too low for Pis, or gone for a while."""
    stack_orders: int = field(default=0, validator=ge(0))
    """How often an operator switches a bay, and somebody who is none tries to."""

    faults_s: float = field(default=300.0, validator=ge(0))
    """Everything above happens within this time; then all faults stop."""
    settle_s: float = field(default=1800.0, validator=gt(0))
    """Within this time after the faults, everything must have converged."""
    quick: bool = True
    """Short health checks and pauses instead of those a real node is configured with."""

    def __attrs_post_init__(self) -> None:
        """Refuse what contradicts itself, in words."""
        for wrong, why in (
            (self.sites > self.nodes, "there are more sites than nodes"),
            (
                self.stack_boards and self.nodes - self.liars > 2 * self.stack_boards + 1,
                "there are more nodes than bays",
            ),
            (
                self.stack_owner_hangs and self.stack_owners < 2,
                "the only node that has the bus hangs: nobody would bring it back",
            ),
            (
                self.stack_orders and self.nodes <= self.stack_owners,
                "an operator switches no owner of the bus off",
            ),
            (self.translated_sites >= self.sites, "site 0 holds the contacts: it cannot be translated"),
            (
                self.shut_in_sites > self.translated_sites,
                "a site that lets no datagrams out is behind a translator",
            ),
            (self.symmetric_sites > self.translated_sites, "more sites are symmetric than translated"),
            (self.liars + self.late_nodes >= self.nodes, "liars and late nodes leave no ordinary node"),
            (
                self.publisher_leaves and self.contacts < 2,
                "the publisher may be the only contact: nobody could be found once it has left",
            ),
            (
                any(r.publisher >= self.nodes - self.liars - self.late_nodes for r in self.releases),
                "a publisher has to be an ordinary node",
            ),
            (any(r.at_s > self.faults_s for r in self.releases), "a release comes after faults_s"),
            (
                self.theft is not None and self.theft.rotated_at_s < self.theft.at_s,
                "keys are rotated out before they are stolen",
            ),
            (
                self.theft is not None and not any(r.at_s > self.theft.rotated_at_s for r in self.releases),
                "no release comes after the theft: nobody could tell whether nodes recover",
            ),
        ):
            if wrong:
                raise UsageError(f"scenario {self.name!r}: {why}")


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a TOML file; `UsageError` names the file and what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        return converter.structure(table, Scenario)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError) as error:
        raise UsageError(f"{path}: {'; '.join(cattrs.transform_error(error))}") from error


def random_scenario(seed: int) -> Scenario:
    """A small scenario with a bit of everything, for sweeps over many seeds."""
    rng = random.Random(f"scenario {seed}")
    nodes = rng.randint(6, 12)
    sites = rng.randint(1, 3)
    liars = rng.choice((0, 0, 0, 1))
    late = rng.choice((0, 0, 1))
    releases = _random_releases(rng)
    leaves = releases[-1].behaviour is Behaviour.GOOD and rng.random() < 0.3
    translated = rng.randrange(sites)
    return Scenario(
        name=f"random {seed}",
        nodes=nodes,
        sites=sites,
        translated_sites=translated,
        shut_in_sites=random.Random(f"shut in {seed}").choice((0, 0, translated)),
        contacts=2 if leaves else rng.randint(1, 2),
        site_names_told=rng.random() < 0.7,
        other_hardware=rng.choice((0, 0, 0, 1)),
        loss=rng.choice((0.0, 0.01, 0.05, 0.2)),
        duplicate=rng.choice((0.0, 0.02, 0.1)),
        reorder=rng.choice((0.0, 0.02, 0.1)),
        wan_delay_s_max=rng.choice((0.05, 0.2, 0.6)),
        image_blocks=rng.choice((16, 48, 96)),
        releases=releases,
        start_spread_s=rng.choice((0.0, 10.0, 60.0)),
        late_nodes=late,
        publisher_leaves=leaves,
        kills=rng.choice((0, 2, 5)),
        power_cuts=rng.choice((0, 2, 6)),
        full_disks=rng.choice((0, 0, 3)),
        cuts=tuple(_random_cut(rng) for _ in range(rng.choice((0, 0, 1, 2)))),
        liars=liars,
        health_hiccups=rng.choice((0.0, 0.0, 0.05)),
        faults_s=300.0,
        parcels=random.Random(f"parcels {seed}").choice((0, 1, 2)),
    )


def random_stack_scenario(seed: int) -> Scenario:
    """A stack in which at least one release hangs the nodes that install it, so that nothing but the power helps."""
    rng = random.Random(f"stack {seed}")
    boards = rng.randint(1, 3)
    in_bay = rng.random() < 0.5
    nodes = 2 * boards + (0 if in_bay else 1) - rng.choice((0, 0, 1))
    behaviours = [
        Behaviour.HANGS_FOR_GOOD,
        rng.choice((Behaviour.GOOD, Behaviour.UNHEALTHY, Behaviour.UNBOOTABLE)),
    ]
    rng.shuffle(behaviours)
    behaviours += rng.choice(([], [Behaviour.GOOD], [Behaviour.HANGS_FOR_GOOD]))
    at_s = [rng.uniform(30.0, 200.0) * (number + 1) for number in range(len(behaviours))]
    more = random.Random(f"stack faults {seed}")
    owners = more.choice((1, 2)) if nodes >= 4 else 1
    return Scenario(
        name=f"random stack {seed}",
        nodes=nodes,
        sites=1,
        translated_sites=0,
        contacts=1,
        loss=rng.choice((0.0, 0.01, 0.05)),
        image_blocks=16,
        releases=tuple(
            ReleasePlan(at, behaviour, rng.choice((0.1, 0.5)))
            for at, behaviour in zip(sorted(at_s), behaviours, strict=True)
        ),
        start_spread_s=0.0,
        kills=rng.choice((0, 0, 3)),
        power_cuts=rng.choice((0, 0, 2)),
        full_disks=rng.choice((0, 0, 1)),
        stack_boards=boards,
        stack_owner_in_bay=in_bay,
        stack_told=rng.random() < 0.6,
        stack_noise=rng.choice((0.0, 0.0, 0.02, 0.1)),
        stack_owners=owners,
        stack_owner_hangs=more.choice((0, 1, 2)) if owners > 1 else 0,
        stack_brown_outs=more.choice((0, 1, 3)),
        stack_orders=more.choice((0, 1, 3)) if nodes > owners else 0,
        faults_s=650.0,
        settle_s=3600.0,
    )


def _random_releases(rng: random.Random) -> tuple[ReleasePlan, ...]:
    plans = []
    at_s = 0.0
    for _ in range(rng.randint(1, 3)):
        at_s += rng.uniform(5.0, 90.0)
        behaviour = rng.choice(
            (
                Behaviour.GOOD,
                Behaviour.GOOD,
                Behaviour.GOOD,
                Behaviour.UNHEALTHY,
                Behaviour.UNBOOTABLE,
                Behaviour.HANGS,
            )
        )
        plans.append(ReleasePlan(at_s, behaviour, rng.choice((0.02, 0.3, 1.0)), rng.randrange(2)))
    return tuple(plans)


def _random_cut(rng: random.Random) -> CutPlan:
    kind: Literal["site", "half", "flap"] = rng.choice(("site", "half", "flap"))
    return CutPlan(kind, rng.uniform(0.0, 200.0), rng.uniform(5.0, 100.0))


BUILT_IN: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("one release", faults_s=3600.0, quick=False),
        Scenario(
            "calm", nodes=200, sites=10, translated_sites=0, image_blocks=256, run_bytes=1 << 20, faults_s=3600.0, quick=False,
        ),
        Scenario("lossy", nodes=60, sites=6, translated_sites=3, loss=0.2, duplicate=0.05, reorder=0.1, wan_delay_s_max=0.3),
        Scenario(
            "storm", nodes=30, sites=5, translated_sites=3, loss=0.05, kills=20, power_cuts=20, faults_s=400.0,
            cuts=(CutPlan("site", 70.0, 60.0), CutPlan("half", 100.0, 60.0), CutPlan("flap", 150.0, 90.0)),
        ),
        Scenario(
            "bad-release", nodes=30, sites=3,
            releases=(
                ReleasePlan(30.0),
                ReleasePlan(130.0, Behaviour.UNHEALTHY),
                ReleasePlan(250.0, Behaviour.UNBOOTABLE),
            ),
        ),
        Scenario("liars", nodes=20, sites=2, translated_sites=0, liars=4),
        Scenario(
            "stolen-keys", nodes=24, sites=3, translated_sites=1, loss=0.02, kills=6, power_cuts=6, late_nodes=2, faults_s=400.0,
            releases=(ReleasePlan(30.0), ReleasePlan(260.0, publisher=1)), theft=TheftPlan(140.0, 170.0),
        ),
        Scenario(
            "parcels", nodes=30, sites=5, translated_sites=2, parcels=3, kills=20, power_cuts=20, full_disks=4, loss=0.02,
            image_blocks=256, releases=(ReleasePlan(30.0), ReleasePlan(200.0), ReleasePlan(350.0)), faults_s=500.0,
        ),
        Scenario(
            "stack", nodes=7, sites=1, translated_sites=0, contacts=1, stack_boards=3, stack_owner_in_bay=False, faults_s=600.0,
            releases=(ReleasePlan(30.0), ReleasePlan(200.0, Behaviour.HANGS_FOR_GOOD), ReleasePlan(500.0)),
        ),
        Scenario(
            "shut-in", nodes=18, sites=4, translated_sites=3, shut_in_sites=2, loss=0.02, kills=6, power_cuts=4, faults_s=400.0,
        ),
        Scenario("publisher-leaves", nodes=20, sites=4, translated_sites=2, publisher_leaves=True, late_nodes=3),
    )
}  # fmt: skip
"""Scenarios by name, for `fruit sim run --scenario NAME`."""


def scaled(scenario: Scenario, *, nodes: int | None = None, sites: int | None = None) -> Scenario:
    """The same story with other numbers of nodes and sites; translated sites keep their share."""
    sites_now = sites if sites is not None else scenario.sites
    translated = min(sites_now - 1, round(scenario.translated_sites * sites_now / scenario.sites))
    shut_in = min(translated, round(scenario.shut_in_sites * sites_now / scenario.sites))
    symmetric = min(translated, round(scenario.symmetric_sites * sites_now / scenario.sites))
    return evolve(
        scenario,
        nodes=nodes if nodes is not None else scenario.nodes,
        sites=sites_now,
        translated_sites=translated,
        shut_in_sites=shut_in,
        symmetric_sites=symmetric,
    )
