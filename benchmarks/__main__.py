"""`python -m benchmarks [--only NAME,NAME] [--json]`: measures, prints rows, and fails where a bar is missed.

JSON=1 in the environment means the same as --json: one object a row.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from benchmarks.rows import HEADING, Measurement, NotMeasurableError, as_json, as_text

MEASUREMENTS: dict[str, str] = {
    "transfer": "benchmarks.transfer:fetch_1gib",
    "reuse": "benchmarks.transfer:second_release",
}
"""Name to module and function: imported when it is their turn, so that one's imports do not weigh on another's figures."""


def main(arguments: list[str]) -> int:
    """Exit code 0 where every bar holds, 1 where one is missed or cannot be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what the project promises."
    )
    parser.add_argument("--only", metavar="NAME,NAME", help=f"some of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    chosen = parser.parse_args(arguments)
    in_json = chosen.json or os.environ.get("JSON") == "1"
    names = chosen.only.split(",") if chosen.only else list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement {name!r}; there are {', '.join(MEASUREMENTS)}")
    good = True
    if not in_json:
        print(HEADING, flush=True)
    for name in names:
        try:
            rows = list(_load(MEASUREMENTS[name])())
        except NotMeasurableError as error:
            print(f"{name}: not measured: {error}", file=sys.stderr)
            good = False
            continue
        for row in rows:
            good = good and row.ok
            print(as_json(row) if in_json else as_text(row), flush=True)
    return 0 if good else 1


def _load(where: str) -> Measurement:
    module, _, function = where.partition(":")
    measurement: Measurement = getattr(importlib.import_module(module), function)
    return measurement


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
