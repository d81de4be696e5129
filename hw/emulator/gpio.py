"""The lines of a Pi in a bay behind the GPIO port. Pure: time is told."""

from __future__ import annotations

from collections.abc import Callable

from hw.emulator.board import Board
from hw.errors import PortError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE


class EmulatedGpio:
    """A `GpioPort` wired to a bay, as RPi.GPIO is on the Pi that sits there. Nobody else may play that Pi (`Bay(pi=None)`)."""

    def __init__(self, board: Board, bay: int, watches_edges: bool = True) -> None:
        self._board, self._bay = board, bay
        self._watches_edges = watches_edges
        self.driven: dict[int, bool] = {}
        """Lines that are outputs, and at which level."""
        self.inputs: set[int] = set()
        self.broken = False
        self._board_pulls = False
        self._changed: list[Callable[[bool], None]] = []

    def output(self, line: int, high: bool) -> None:
        """See `GpioPort`."""
        self._check()
        before = self.driven.get(line, False)
        level_before = self._signal_level()
        self.driven[line] = high
        self.inputs.discard(line)
        if line == HEARTBEAT_LINE and high and not before:
            self._board.beat(self._bay)
        if line == SIGNAL_LINE and level_before and not self._signal_level():
            self._board.signalled(self._bay)
        self._tell(level_before)

    def input(self, line: int) -> None:
        """See `GpioPort`."""
        self._check()
        level_before = self._signal_level()
        self.driven.pop(line, None)
        self.inputs.add(line)
        self._tell(level_before)

    def level(self, line: int) -> bool:
        """See `GpioPort`."""
        self._check()
        return self._signal_level() if line == SIGNAL_LINE else self.driven.get(line, False)

    def watch(self, line: int, changed: Callable[[bool], None]) -> bool:
        """See `GpioPort`."""
        self._check()
        if self._watches_edges and line == SIGNAL_LINE:
            self._changed.append(changed)
        return self._watches_edges

    def release(self) -> None:
        """See `GpioPort`."""
        self.inputs |= set(self.driven)
        self.driven.clear()
        self._changed.clear()

    def board_pulls(self, low: bool) -> None:
        """The board's side of the signal line: its signal begins or ends."""
        before = self._signal_level()
        self._board_pulls = low
        self._tell(before)

    def _signal_level(self) -> bool:
        return not self._board_pulls and self.driven.get(SIGNAL_LINE, True)

    def _tell(self, level_before: bool) -> None:
        level = self._signal_level()
        if level is not level_before:
            for changed in self._changed:
                changed(level)

    def _check(self) -> None:
        if self.broken:
            raise PortError("the emulated GPIO is broken")
