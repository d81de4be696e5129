"""`python -m hw.emulator --boards 16`: a stack behind a pseudo-terminal, whose path is the first line printed."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

from attrs import evolve

from hw.emulator.board import Happened
from hw.emulator.bus import ANSWER_S, EmulatedBus
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.emulator.terminal import Terminal
from hw.errors import HwError
from hw.pistack.commands import BAYS, BOARDS_MAX
from hw.pistack.line import BAUD, Timing

_EXAMPLE = """\
example:
  python -m hw.emulator --boards 16            # prints e.g. /dev/pts/3, and serves it until interrupted
  python -m hw sweep --port /dev/pts/3         # from another terminal
  python -m hw.emulator --boards 4 --absent 2 --hang 1:0 --noise 0.02 --seed 7 --json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after an interrupt, 1 with one line where it cannot run, 2 for wrong usage."""
    options = parser().parse_args(arguments)
    try:
        return serve(options)
    except HwError as error:
        print(f"hw: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Its options, for `python -m hw emulate` too."""
    made = argparse.ArgumentParser(
        prog="python -m hw.emulator",
        description="PiStack boards, each with two Pis that boot and beat, behind a pseudo-terminal paced as a wire.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(made)
    return made


def add_options(made: argparse.ArgumentParser) -> None:
    """What `serve` takes."""
    made.add_argument("--boards", type=int, default=2, help=f"1 to {BOARDS_MAX}, with switches from 0")
    made.add_argument("--absent", type=_numbers, default=(), metavar="N,N", help="boards left out")
    made.add_argument("--hang", type=_bays, default=(), metavar="N:BAY,...", help="Pis that never come up")
    made.add_argument(
        "--firmware", type=int, default=4, help="version that boards tell (4; below, fewer commands)"
    )
    made.add_argument("--hardware", type=int, default=3, help="version that boards tell (3, or 2)")
    made.add_argument("--length-counts-crc", action="store_true", help="boards write lengths the other way")
    made.add_argument(
        "--supply-v", type=float, default=12.0, help="below 5.7 V Pis brown out, below 3 V boards die"
    )
    made.add_argument("--baud", type=int, default=BAUD)
    made.add_argument("--answer-ms", type=float, default=1000 * ANSWER_S, help="from request to reply")
    made.add_argument("--echo", action="store_true", help="the converter hears what it sends")
    made.add_argument(
        "--noise", type=float, default=0.0, metavar="P", help="so many of the replies are damaged"
    )
    made.add_argument(
        "--silence", type=float, default=0.0, metavar="P", help="so many of the replies are lost"
    )
    made.add_argument("--seed", type=int, default=0, help="of what goes wrong")
    made.add_argument(
        "--json", action="store_true", help="one object a line: the path, then what happens to bays"
    )


def serve(options: argparse.Namespace) -> int:
    """Until interrupted or terminated."""
    if not 1 <= options.boards <= BOARDS_MAX or options.baud <= 0:
        print(f"hw: --boards is 1 to {BOARDS_MAX}, --baud above 0", file=sys.stderr)
        return 2
    terminal = Terminal(_bus(options))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: terminal.stop())
    print(json.dumps({"path": terminal.path}) if options.json else terminal.path, flush=True)
    terminal.run()
    terminal.close()
    return 0


def _bus(options: argparse.Namespace) -> EmulatedBus:
    stack = EmulatedStack.of(options.boards, options.absent)
    stack.supply_v = options.supply_v
    for board in stack.boards:
        board.firmware, board.hardware = options.firmware, options.hardware
        board.length_counts_crc = options.length_counts_crc
        for number, bay in enumerate(board.bays):
            if bay.pi is not None:
                bay.pi.hangs = (board.switches, number) in options.hang
    return EmulatedBus(
        stack,
        byte_s=Timing.at(options.baud).byte_s,
        faults=evolve(Faults.evenly(options.noise), silence=options.silence),
        seed=options.seed,
        echo=options.echo,
        answer_s=options.answer_ms / 1000,
        on_happened=_print_json if options.json else _print,
    )


def _print(happened: Happened) -> None:
    print(
        f"{happened.at_s:.2f} s: board {happened.address:#04x} bay {happened.bay}: {happened.change.value}",
        flush=True,
    )


def _print_json(happened: Happened) -> None:
    fields = {"at_s": round(happened.at_s, 3), "board": happened.address, "bay": happened.bay}
    print(json.dumps(fields | {"change": happened.change.value}), flush=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _bays(text: str) -> tuple[tuple[int, int], ...]:
    pairs = tuple(
        (int(board), int(bay)) for board, _, bay in (each.partition(":") for each in text.split(","))
    )
    if any(not 0 <= bay < BAYS for _, bay in pairs):
        raise argparse.ArgumentTypeError("bays are 0 and 1, as in 3:1")
    return pairs


if __name__ == "__main__":
    sys.exit(main())
