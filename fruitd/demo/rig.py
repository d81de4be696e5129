"""Emulated boards under the demo's nodes: a bay that loses power takes its node's processes down, one that gets it starts them.

The bus is a real pseudo-terminal, as slow as the wire; the two lines of each Pi are Unix sockets. What is emulated is the
hardware and nothing else: the daemons drive it with the code that drives real boards.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path

from fruitd.demo.cluster import NodeProcess
from hw.emulator.board import Bay, Board, Change, Happened
from hw.emulator.bus import EmulatedBus
from hw.emulator.gpio import EmulatedGpio
from hw.emulator.lines_socket import LinesServer
from hw.emulator.stack import EmulatedStack
from hw.emulator.terminal import Terminal
from hw.pistack import commands
from hw.pistack.frames import Request
from swarm.power import BAYS, Place

HEARTBEAT_S = 7
"""A real board waits for longer; a heart beats every 5.2 s."""
BOOT_S = 20
OFF_DELAY_S = 1
SIGNAL_S = 0.5
LOOK_S = 1.0
"""How often the current that a node draws follows what its processor does."""
IDLE_AMPERES, BUSY_AMPERES = 0.35, 0.55
"""About a Pi 3B+, and what a busy core adds. A model, not a measurement."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class StackRig:
    """A stack with so many bays, off until `start`."""

    def __init__(self, directory: Path, bays: int, masters: int = 1) -> None:
        """`masters`: how many converters are on the bus, each for a node of its own."""
        self._boards = [
            Board(switches, bays=tuple(Bay(None) for _ in range(BAYS)))
            for switches in range(-(-bays // BAYS))
        ]
        for board in self._boards:
            for bay in board.bays:
                bay.settings |= {
                    commands.HEARTBEAT_TIME: HEARTBEAT_S, commands.BOOT_TIME: BOOT_S, commands.OFF_DELAY: OFF_DELAY_S,
                    commands.ON_AT_START: 0,
                }  # fmt: skip
        self._happened: queue.Queue[Happened | None] = queue.Queue()
        stack = EmulatedStack(self._boards)
        bus = EmulatedBus(stack, on_happened=self._happened.put, in_chunks=True, masters=masters)
        self._terminal = Terminal(bus)
        more = [Terminal(bus, master=number, lock=self._terminal.lock) for number in range(1, masters)]
        self._terminals = [self._terminal, *more]
        self._lines = LinesServer(self._terminal.lock)
        self._directory = directory
        self._nodes: dict[Place, NodeProcess] = {}
        self._used: dict[Place, int] = {}
        for place in self.places:
            board = self._boards[place.address]
            self._lines.add(self.lines(place), EmulatedGpio(board, place.bay))
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (
                *(("bus", terminal.run) for terminal in self._terminals),
                ("lines", self._lines.run),
                ("bays", self._follow),
            )
        ]

    @property
    def places(self) -> list[Place]:
        """Every bay."""
        return [Place(board.switches, bay) for board in self._boards for bay in range(BAYS)]

    @property
    def port(self) -> str:
        """The bus, as a serial port."""
        return self._terminal.path

    @property
    def ports(self) -> list[str]:
        """One for each master."""
        return [terminal.path for terminal in self._terminals]

    def lines(self, place: Place) -> Path:
        """The socket of a bay's two lines."""
        return self._directory / f"bay-{place.address}-{place.bay}.sock"

    def start(self) -> None:
        """The boards get power; no bay does yet."""
        for thread in self._threads:
            thread.start()

    def put(self, nodes: Mapping[Place, NodeProcess]) -> None:
        """Put nodes into bays and switch those on, as an operator would at the stack itself."""
        self._nodes |= nodes
        with self._terminal.lock:
            for place in nodes:
                self._boards[place.address].answer(_frame(place))

    def close(self) -> None:
        """Nothing is switched any more. What runs goes on."""
        self._happened.put(None)
        for terminal in self._terminals:
            terminal.stop()
        self._lines.stop()
        for thread in self._threads:
            thread.join()
        for terminal in self._terminals:
            terminal.close()
        self._lines.close()

    # ------------------------------------------------------------------ what happens to bays

    def _follow(self) -> None:
        while True:
            try:
                happened = self._happened.get(timeout=LOOK_S)
            except queue.Empty:
                self._draw()
                continue
            if happened is None:
                return
            self._carry_out(happened)

    def _carry_out(self, happened: Happened) -> None:
        place = Place(happened.address, happened.bay)
        node = self._nodes.get(place)
        match happened.change:
            case Change.POWER_OFF if node is not None:
                node.kill()
            case Change.POWER_ON if node is not None:
                node.start()
            case Change.SIGNAL:
                with self._terminal.lock:
                    self._lines.pull(self.lines(place), low=True)
                threading.Timer(SIGNAL_S, self._let_go, [place]).start()

    def _let_go(self, place: Place) -> None:
        with self._terminal.lock:
            self._lines.pull(self.lines(place), low=False)

    def _draw(self) -> None:
        """A node draws what its processor time tells."""
        for place, node in list(self._nodes.items()):
            used = sum(map(_ticks, node.daemon_pids()))
            share = min(1.0, max(0, used - self._used.get(place, used)) / _TICKS_PER_S / LOOK_S)
            self._used[place] = used
            with self._terminal.lock:
                bay = self._boards[place.address].bays[place.bay]
                bay.outside_amperes = IDLE_AMPERES + BUSY_AMPERES * share


def _frame(place: Place) -> bytes:
    return Request(commands.TURN_ON, place.address, (place.bay,)).frame


def _ticks(pid: int) -> int:
    """Processor time of a process so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
