"""`python -m tests.fuzz --inputs 50000000 --seed 1 [--processes 2] [--only NAME]`: the long run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.fuzz.run import Tally, run, sum_of

ROUND_INPUTS = 2_000_000
"""Said after each: a run of hours that is cut off has told what it did."""


def main() -> int:
    """Exit code 1 if anything escaped."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Feed every decoder with bad input."
    )
    parser.add_argument("--inputs", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", default="", help="name of one decoder")
    chosen = parser.parse_args()
    rounds: list[list[Tally]] = []
    done = 0
    while done < chosen.inputs:
        asked = min(ROUND_INPUTS, chosen.inputs - done)
        rounds.append(run(asked, chosen.seed + len(rounds), chosen.processes, chosen.only))
        done += sum(tally.count for tally in rounds[-1])
        print(f"{done} inputs", flush=True)
        if any(tally.escapes for tally in rounds[-1]):
            break
    return _told([sum_of(tallies) for tallies in zip(*rounds, strict=True)])


def _told(tallies: Sequence[Tally]) -> int:
    """The table; 1 if anything escaped."""
    fed = [tally for tally in tallies if tally.count]
    for tally in fed:
        rate = tally.count / tally.took_s if tally.took_s else 0.0
        print(
            f"{tally.name:22} {tally.count:9} read {tally.accepted:9} good {rate:9.0f}/s "
            f"{tally.peak_bytes:9} of {tally.memory_bytes_max:9} bytes"
        )
    escapes = [escape for tally in tallies for escape in tally.escapes]
    for escape in escapes:
        print(f"ESCAPED {escape.decoder}: {escape.what}\n  {escape.data}")
    print(f"{sum(t.count for t in fed)} inputs, {len(fed)} decoders, {len(escapes)} escapes")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main())
