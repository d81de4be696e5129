"""How much longer than its bits a sweep of 16 boards takes, through a real serial port driver, against a bus paced as a wire.

The boards stand in a process of their own behind a pseudo-terminal. Hardware does not wait for a scheduler, so that process runs
at real-time priority where that is permitted (root); the sweep does not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.rows import NotMeasurableError, Row, at_most
from hw.errors import HwError
from hw.pistack.commands import BOARDS_MAX
from hw.pistack.frames import Request
from hw.pistack.line import Timing
from hw.pistack.serial_wire import SerialWire
from hw.pistack.stack import PiStack
from hw.pistack.sweep import ASKED

BAR = 1.15
_SWEEPS = 7
_SETTLING_SWEEPS = 3
"""The first identifies the boards and has every value told twice; while Pis boot, their values change."""
_REAL_TIME_PRIORITY = 5


class _Counted(SerialWire):
    """Counts what crosses the wire."""

    wire_bytes = 0

    def send(self, frame: bytes) -> bytes:
        self.wire_bytes += len(frame)
        return super().send(frame)

    def receive(self, wanted_bytes: int, earliest_s: float, until_s: float) -> bytes:
        received = super().receive(wanted_bytes, earliest_s, until_s)
        self.wire_bytes += len(received)
        return received


def sweep_of_16() -> Iterator[Row]:
    """All readings of 16 boards at 9600 baud: the time, for each second that the bits take."""
    command = [sys.executable, "-m", "hw.emulator", "--boards", str(BOARDS_MAX)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as emulator:
        try:
            yield _measured(emulator)
        except HwError as error:
            raise NotMeasurableError(str(error)) from error
        finally:
            emulator.terminate()


def _measured(emulator: subprocess.Popen[str]) -> Row:
    real_time = _at_real_time(emulator.pid)
    assert emulator.stdout is not None
    wire = _Counted(emulator.stdout.readline().strip())
    ratios, bare = [], []
    with PiStack(wire) as stack:
        for number in range(_SETTLING_SWEEPS + _SWEEPS):
            wire.wire_bytes = 0
            started_s = time.perf_counter()
            swept = stack.sweep()
            took_s = time.perf_counter() - started_s
            if not swept.complete or not all(board.present for board in swept.boards):
                raise NotMeasurableError("not all emulated boards answered")
            if number >= _SETTLING_SWEEPS:
                ratios.append(took_s / (wire.wire_bytes * Timing().byte_s))
                bare.append(_bare(wire))
    priority = "at real-time priority" if real_time else "at ordinary priority (not root)"
    return at_most(
        "sweep_16_boards",
        statistics.median(ratios),
        "x",
        BAR,
        f"the time its bits take at 9600 baud: {len(ASKED)} readings of each of {BOARDS_MAX} boards, median of {_SWEEPS}, "
        f"emulator {priority}; a bare loop that writes, and reads to the last byte, takes {statistics.median(bare):.2f} x",
    )


def _bare(wire: _Counted) -> float:
    """The same bytes for one board with no gap, no check and no thought: what the machine itself makes of it."""
    wire.wire_bytes = 0
    started_s = time.perf_counter()
    for measured, bay in ASKED:
        frame = Request(measured.command, 0, () if bay is None else (bay,)).frame
        wanted = 4 + measured.command.data_bytes
        wire.send(frame)
        earliest_s = wire.now_s() + (len(frame) + wanted) * Timing().byte_s
        wire.receive(wanted, earliest_s, earliest_s + 1.0)
    return (time.perf_counter() - started_s) / (wire.wire_bytes * Timing().byte_s)


def _at_real_time(pid: int) -> bool:
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(_REAL_TIME_PRIORITY))
    except (AttributeError, OSError):
        return False
    return True
