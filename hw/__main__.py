"""`python -m hw`: power boards from the command line, for people with a soldering iron. docs/hardware.md has the JSON.

Exit codes: 0 done, 1 refused or failed with one line on standard error, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hw.emulator import __main__ as emulator
from hw.errors import HwError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE
from hw.i2c import SmbusPort
from hw.kernel_files import KernelFiles
from hw.monitors.monitor import Monitor, Wiring
from hw.monitors.registers import Kind
from hw.pistack.commands import BAYS
from hw.pistack.error_codes import name_of
from hw.pistack.i2c_wire import TIMING, I2cWire
from hw.pistack.line import BAUD, Timing
from hw.pistack.stack import PiStack
from hw.pistack.sweep import BoardState, Sweep
from hw.readings import Reading

SCHEMA = 1
_HAT = Path("/proc/device-tree/hat/product")
_EXAMPLE = """\
example:
  python -m hw sweep --port /dev/ttyUSB0       # all readings of all boards
  python -m hw search --port /dev/ttyUSB0      # which boards there are, at any address
  python -m hw emulate --boards 16             # boards without boards: prints the port to use
  python -m hw sensors --monitor ina219:0x40   # this Pi itself, and monitors on its I2C bus
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the answer (argparse itself exits with 2 on wrong usage)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except HwError as error:
        print(f"hw: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hw",
        description="PiStack boards, power monitors and the lines of a Pi.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        required=True, metavar="sweep|search|errors|on|off|cut|sensors|beat|release|emulate"
    )

    def command(
        name: str, summary: str, run: Callable[[argparse.Namespace], int], reads: bool = True
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        if reads:
            made.add_argument("--json", action="store_true", help="one object, schema in docs/hardware.md")
        return made

    sweep = command("sweep", "all readings of all boards of one prefix", _sweep)
    sweep.add_argument("--prefix", type=_number, default=0, help="high half of the addresses (0x00)")
    sweep.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="so many sweeps; only the first has to identify"
    )
    found = command("search", "which boards there are, at any address (half a minute)", _search)
    errors = command("errors", "what a board has in its error buffer", _errors)
    for made in (sweep, found, errors):
        _bus_options(made)
    errors.add_argument("board", type=_number, help="its address, e.g. 0x04")
    for name, summary in (
        ("on", "power to a bay"),
        ("off", "signal the Pi in a bay to shut down; the board takes the power after its off delay"),
        ("cut", "take the power of a bay away at once: its Pi is not asked"),
    ):
        made = command(name, summary, _switch, reads=False)
        _bus_options(made)
        made.set_defaults(action=name)
        made.add_argument("board", type=_number, help="its address, e.g. 0x04")
        made.add_argument("bay", type=int, choices=range(BAYS))
    sensors = command(
        "sensors", "what this Pi knows of its power and heat, and monitors on its I2C bus", _sensors
    )
    sensors.add_argument("--i2c", default="1", help="bus number or device (1)")
    sensors.add_argument(
        "--monitor", type=_wiring, action="append", default=[], metavar="KIND:ADDRESS[:OHM[:AMPERES]]"
    )
    beat = command(
        "beat",
        "beat the heart of this Pi until interrupted, and tell when the board signals",
        _beat,
        reads=False,
    )
    beat.add_argument("--force", action="store_true", help="though no Pi Stack board says that it is below")
    command("release", "let go of both lines: after a process that was killed", _release, reads=False)
    emulate = command(
        "emulate", "boards behind a pseudo-terminal, as python -m hw.emulator", emulator.serve, reads=False
    )
    emulator.add_options(emulate)
    return parser


def _bus_options(made: argparse.ArgumentParser) -> None:
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port of the boards, e.g. /dev/ttyUSB0")
    where.add_argument("--i2c", help="I2C bus of the boards, e.g. 1 (a convention of ours: docs/hardware.md)")
    made.add_argument("--baud", type=int, default=BAUD)


@contextmanager
def _stack(options: argparse.Namespace, prefix: int = 0) -> Iterator[PiStack]:
    if options.port is not None:
        from hw.pistack.serial_wire import SerialWire

        wire: Any = SerialWire(options.port, options.baud)
        timing = Timing.at(options.baud)
    else:
        wire, timing = I2cWire(SmbusPort(_bus(options.i2c))), TIMING
    with PiStack(wire, prefix=prefix, timing=timing) as stack:
        yield stack


def _sweep(options: argparse.Namespace) -> int:
    with _stack(options, options.prefix) as stack:
        for _ in range(max(1, options.repeat)):
            swept = stack.sweep()
            if options.json:
                print(json.dumps(sweep_json(swept, stack.now_s())), flush=True)
            else:
                print("\n".join(_sweep_text(swept)), flush=True)
    present = sum(board.present for board in swept.boards)
    if not present:
        print("hw: no board answered: look at power, wires, and `python -m hw search`", file=sys.stderr)
    return 0 if present else 1


def sweep_json(swept: Sweep, now_s: float) -> dict[str, Any]:
    """Schema 1, docs/hardware.md."""
    return {
        "schema": SCHEMA,
        "took_s": round(swept.ended_s - swept.started_s, 3),
        "complete": swept.complete,
        "other_master_age_s": None
        if swept.other_master_s is None
        else round(now_s - swept.other_master_s, 1),
        "boards": [_board_json(board, now_s) for board in swept.boards if board.present or board.readings],
    }


def _board_json(board: BoardState, now_s: float) -> dict[str, Any]:
    return {
        "address": board.address,
        "present": board.present,
        "firmware": board.identity.firmware if board.identity else None,
        "hardware": board.identity.hardware if board.identity else None,
        "readings": [reading.as_json(now_s) for reading in board.readings],
        "bays": [[reading.as_json(now_s) for reading in readings] for readings in board.bays],
    }


def _sweep_text(swept: Sweep) -> Iterator[str]:
    for board in swept.boards:
        if board.present or board.readings:
            version = (
                f", firmware {board.identity.firmware}, hardware {board.identity.hardware}"
                if board.identity
                else ""
            )
            yield f"board {board.address:#04x}{version}{'' if board.present else ', does not answer'}"
            yield "  " + ", ".join(map(str, board.readings))
            for number, readings in enumerate(board.bays):
                yield f"  bay {number}: " + ", ".join(map(str, readings))
    if swept.other_master_s is not None:
        yield "another master asks these boards too: two garble each other; let only one have the bus"
    note = "" if swept.complete else "; time ran out before all boards were read"
    yield f"{sum(board.present for board in swept.boards)} boards in {swept.ended_s - swept.started_s:.1f} s{note}"


def _search(options: argparse.Namespace) -> int:
    with _stack(options) as stack:
        found = stack.search()
    if options.json:
        boards = [{"address": b.address, "firmware": b.firmware, "hardware": b.hardware} for b in found]
        print(json.dumps({"schema": SCHEMA, "boards": boards}))
    else:
        for board in found:
            print(f"board {board.address:#04x}, firmware {board.firmware}, hardware {board.hardware}")
    if not found:
        print("hw: no board answered at any address: look at power and wires", file=sys.stderr)
    return 0 if found else 1


def _errors(options: argparse.Namespace) -> int:
    with _stack(options) as stack:
        codes = stack.errors(options.board)
    if options.json:
        print(
            json.dumps(
                {"schema": SCHEMA, "errors": [{"code": code, "text": name_of(code)} for code in codes]}
            )
        )
    else:
        print("\n".join(f"{code:#04x} {name_of(code)}" for code in codes))
    return 0


def _switch(options: argparse.Namespace) -> int:
    with _stack(options) as stack:
        {"on": stack.turn_on, "off": stack.turn_off, "cut": stack.cut_off}[options.action](
            options.board, options.bay
        )
    return 0


def _sensors(options: argparse.Namespace) -> int:
    readings: list[Reading] = list(KernelFiles().read())
    if options.monitor:
        port = SmbusPort(_bus(options.i2c))
        monitors = [Monitor(port, wiring) for wiring in options.monitor]
        for monitor in monitors:
            monitor.identify()
            monitor.read()  # sets it up
        time.sleep(0.2)  # more than any of them takes to convert once
        readings += [reading for monitor in monitors for reading in monitor.read()]
        port.close()
    if options.json:
        found = [reading.as_json(time.monotonic()) for reading in readings]
        print(json.dumps({"schema": SCHEMA, "readings": found}))
    else:
        print("\n".join(f"{reading.source}: {reading}" for reading in readings))
    return 0


def _beat(options: argparse.Namespace) -> int:
    from hw.gpio.lines import PiLines
    from hw.gpio.port import RpiGpioPort

    if not options.force and not on_a_board():
        print(f"hw: {_HAT} names no Pi Stack board; --force if there is one all the same", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the lines are let go
    with PiLines(RpiGpioPort(), time.monotonic) as lines:
        while True:
            lines.heartbeat.healthy(time.monotonic())
            moment = lines.advance()
            if moment.shut_down:
                print("the board signals: this Pi shall shut down", flush=True)
            # Until the next beat, edge or look at the line: the pace of the heart, and nothing else is waited for.
            time.sleep(max(0.0, moment.next_s - time.monotonic()))


def on_a_board(hat: Path = _HAT) -> bool:
    """Whether this Pi sits on a board that says so (its EEPROM, by the device tree)."""
    try:
        return hat.read_bytes()[:64].rstrip(b"\0") == b"Pi stack"
    except OSError:
        return False


def _release(_options: argparse.Namespace) -> int:
    from hw.gpio.port import RpiGpioPort

    port = RpiGpioPort()
    port.input(HEARTBEAT_LINE)
    port.input(SIGNAL_LINE)
    port.release()
    return 0


def _number(text: str) -> int:
    return int(text, 0)


def _bus(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _wiring(text: str) -> Wiring:
    kind, *rest = text.split(":")
    try:
        numbers = [float(part) for part in rest[1:]]
        return Wiring(Kind(kind), _number(rest[0]), *numbers)
    except (ValueError, IndexError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like ina219:0x40 or ina226:0x41:0.01:8") from error


if __name__ == "__main__":
    sys.exit(main())
