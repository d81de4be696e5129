"""`python -m simulations.crash`: every state in which a power cut can leave a node, and what becomes of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from fruitd.errors import UsageError
from simulations.crash.explorer import Tally, explore, record
from simulations.crash.loaders import LOADERS, loader_named, missing_tools

STATES = 8_500
"""About 5,000 of them are different."""
EPILOG = """example:
  python -m simulations.crash --backend grub --states 50000 --seed 2

Exit codes: 0 every state led to the newest release, 1 some did not (they are named), 2 wrong usage or a program is missing.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations.crash",
        description="Cuts the power at every moment of two updates, and switches the machine on again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(loader.name for loader in LOADERS)
    parser.add_argument(
        "--backend", action="append", help=f"one of {names}; may be repeated; all unless told"
    )
    parser.add_argument(
        "--states", type=int, default=STATES, help=f"about so many for each backend ({STATES})"
    )
    parser.add_argument("--seed", type=int, default=1, help="decides which states, where not all are tried")
    parser.add_argument("--processes", type=int, help="at work at once; one for each core unless told")
    parser.add_argument("--json", action="store_true", help="one JSON object for each backend")
    options = parser.parse_args(arguments)
    try:
        loaders = [loader_named(name) for name in options.backend] if options.backend else LOADERS
        missing = sorted({name for loader in loaders for name in missing_tools(loader)})
        if missing:
            raise UsageError(
                f"{', '.join(missing)} not installed: apt install grub-common libubootenv-tool mtools dosfstools"
            )
    except UsageError as error:
        print(f"crash: {error}", file=sys.stderr)
        return 2
    found = 0
    for loader in loaders:
        began = time.monotonic()
        tally = explore(record(loader), options.states, options.seed, options.processes)
        found += tally.faulty
        row = as_row(tally, time.monotonic() - began)
        print(json.dumps(row) if options.json else words(row), flush=True)
    return 1 if found else 0


def as_row(tally: Tally, wall_s: float) -> dict[str, Any]:
    """What `--json` prints; docs/boot.md has the schema."""
    return {
        "schema": 1,
        "backend": tally.backend,
        "operations": tally.operations,
        "moments": tally.moments,
        "moments_exhausted": tally.exhausted,
        "states_tried": tally.tried,
        "states": len(tally.digests),
        "boots_old": tally.boots["old"],
        "boots_new": tally.boots["new"],
        "healed": tally.healed,
        "faulty": tally.faulty,
        "faults": [
            {"what": what, "states": count, "first_after_operation": tally.first[what]}
            for what, count in tally.faults.most_common()
        ],
        "wall_s": round(wall_s, 1),
    }


def words(row: dict[str, Any]) -> str:
    """The same for a person."""
    line = (
        f"{row['backend']}: {row['operations']} operations, {row['states']} different states "
        f"(all there are at {row['moments_exhausted']} of {row['moments']} moments); "
        f"boots the old release in {row['boots_old']}, the new one in {row['boots_new']}; "
        f"{row['healed']} end on the newest release, {row['faulty']} do not ({row['wall_s']} s)"
    )
    faults = (
        f"  {fault['what']} ({fault['states']} states, first with a cut after operation {fault['first_after_operation']})"
        for fault in row["faults"]
    )
    return "\n".join([line, *faults])


if __name__ == "__main__":
    sys.exit(main())
