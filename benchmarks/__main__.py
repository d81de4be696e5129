"""`python -m benchmarks [--only NAME,NAME] [--json]`: measures, prints rows, and fails where a bar is missed.

JSON=1 in the environment means the same as --json: one object a row. BENCH_DIR is a folder on the disk to measure with.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable

from benchmarks.rows import HEADING, NotMeasurableError, Row, as_json, as_text
from fruitd.errors import FruitError

MEASUREMENTS: dict[str, str] = {
    "install": "benchmarks.daemons:install_1gib",
    "change": "benchmarks.daemons:second_release",
    "five_percent": "benchmarks.daemons:five_percent",
    "ready": "benchmarks.ready_to_boot:ready_to_boot",
    "swarm": "benchmarks.quiet_swarm:swarm_of_20",
    "manifest": "benchmarks.world:manifest_arrival",
    "world": "benchmarks.world:world_speed",
    "trace": "benchmarks.world:determinism",
    "verify": "benchmarks.trust:verify",
    "flood": "benchmarks.flood:flood",
    "dht": "benchmarks.dht:first_contact",
    "sweep": "benchmarks.power_boards:sweep_of_16",
    "power": "benchmarks.power_daemon:heart_and_bus",
}
"""Name to module and function: imported when it is their turn, so that one's imports do not weigh on another's figures."""
QUICK: dict[str, str] = {
    "news": "benchmarks.quiet_swarm:news_to_20",
    "change-64mib": "benchmarks.daemons:second_release_64mib",
    "memory-64mib": "benchmarks.daemons:memory_64mib",
    "trace": "benchmarks.world:determinism",
    "verify": "benchmarks.trust:verify",
}
"""A minute for CI: what takes long is left out, or measured with an image that is named in the row."""
LONG: dict[str, str] = {
    "parcels": "benchmarks.parcels:parcels",
    "parcel_build": "benchmarks.parcels:parcel_build",
    "parcel_apply": "benchmarks.parcel_apply:parcel_apply",
    "parcel_apply-128mib": "benchmarks.parcel_apply:parcel_apply_small",
}
"""Up to an hour, as root, with apt's archive or 12 GiB of disk: only where asked for by name."""
IDLE_S = 600.0
_NEEDS_IDLE_S = frozenset({"swarm"})


def main(arguments: list[str]) -> int:
    """Exit code 0 where every bar holds, 1 where one is missed or cannot be measured, 2 for wrong usage."""
    known = MEASUREMENTS | QUICK | LONG
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what the project promises."
    )
    parser.add_argument("--only", metavar="NAME,NAME", help=f"quick, or some of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument(
        "--idle-s", type=float, default=IDLE_S, help="how long a swarm without news is watched"
    )
    chosen = parser.parse_args(arguments)
    in_json = chosen.json or os.environ.get("JSON") == "1"
    names = _names(chosen.only)
    for name in names:
        if name not in known:
            parser.error(f"there is no measurement {name!r}; there are quick, {', '.join(known)}")
    good = True
    if not in_json:
        print(HEADING, flush=True)
    for name in names:
        try:
            for row in _rows(name, known[name], chosen.idle_s):
                good = good and row.ok
                print(as_json(row) if in_json else as_text(row), flush=True)
        except (NotMeasurableError, FruitError) as error:
            print(f"{name}: not measured: {error}", file=sys.stderr)
            good = False
    return 0 if good else 1


def _names(only: str | None) -> list[str]:
    match only:
        case None:
            return list(MEASUREMENTS)
        case "quick":
            return list(QUICK)
        case _:
            return only.split(",")


def _rows(name: str, where: str, idle_s: float) -> Iterable[Row]:
    module, _, function = where.partition(":")
    measure = getattr(importlib.import_module(module), function)
    rows: Iterable[Row] = measure(idle_s) if name in _NEEDS_IDLE_S else measure()
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
