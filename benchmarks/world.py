"""What is promised of the simulated world, and of the swarm in it. No row here needs more than one core and 200 MB."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from attrs import evolve

from benchmarks.rows import Row, at_least, at_most
from simulations.world.news_only import Town
from simulations.world.scenario import BUILT_IN
from simulations.world.world import World

HOUR_S = 3600.0
NODES = 1000
SITES = 50
SEEDS = (1, 2, 3)
_STORY = (
    "from simulations.world.scenario import BUILT_IN\n"
    "from simulations.world.world import World\n"
    "print(World(BUILT_IN['storm'], 11).run().trace)\n"
)


def world_speed() -> Iterator[Row]:
    """One virtual hour of 200 whole nodes: start, one release from publishing to commit and seeding, and quiet.

    In seconds of one core, because the world is one thread that never waits, and other work on the machine is not its doing.
    """
    scenario = evolve(BUILT_IN["calm"], nodes=200, sites=10, faults_s=HOUR_S)
    world = World(scenario, 1)
    began_s = time.process_time()
    report = world.run(until_s=HOUR_S)
    core_s = time.process_time() - began_s
    installed = report.releases[0].installed
    what = (
        f"real time; 200 nodes in 10 sites for one virtual hour with one release "
        f"({installed.reached} of {installed.of} run it), {report.events} events in {core_s:.1f} s of one core"
    )
    row = at_least("world_speed", report.virtual_s / core_s, "x", 30.0, what)
    yield evolve(row, ok=row.ok and not report.violations and installed.reached == installed.of)


def manifest_arrival() -> Iterator[Row]:
    """A manifest's way to 1,000 nodes, the slowest of three seeds."""
    for name, loss, bar_s in (("manifest_1000_nodes", 0.0, 15.0), ("manifest_1000_nodes_loss", 0.05, 30.0)):
        arrivals = [Town(NODES, SITES, loss, seed).manifest_arrival().spread for seed in SEEDS]
        slowest_s = max(
            a.max_s if a.reached == a.of and a.max_s is not None else float("inf") for a in arrivals
        )
        what = (
            f"virtual seconds to the last of {NODES} nodes in {SITES} sites, half of them behind translators, "
            f"{loss:.0%} loss, slowest of {len(SEEDS)} seeds"
        )
        yield at_most(name, slowest_s, "s", bar_s, what)


def determinism() -> Iterator[Row]:
    """The same seed in two processes whose hashes of strings differ."""
    traces = {_trace_with(hash_seed) for hash_seed in ("1", "2")}
    what = "different SHA-256 of the trace from one seed (30 nodes, kills, power cuts, partitions) in two processes"
    yield at_most("world_trace_differences", len(traces) - 1, "traces", 0, what)


def _trace_with(hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _STORY],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
