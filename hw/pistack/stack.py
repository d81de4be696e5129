"""The boards on one bus, for a program that has a port: every call blocks until it is done (run it in a thread).

with PiStack(SerialWire("/dev/ttyUSB0")) as stack:
    for board in stack.sweep().boards:
        print(board)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Self, TypeVar

from attrs import evolve

from hw.errors import PortError
from hw.pistack import commands, scripts
from hw.pistack.commands import BOARDS_MAX, Command, board_address
from hw.pistack.line import Line, Outcome, Timing
from hw.pistack.other_master import OtherMaster
from hw.pistack.scripts import Ask, Identity, Memory
from hw.pistack.sweep import BUDGET_S, Sweep, sweep
from hw.pistack.wire import Wire, run

T = TypeVar("T")


class PiStack:
    """What has been learned of a bus, and the wire to it. Not for two threads at once: there is one line."""

    def __init__(
        self,
        wire: Wire,
        *,
        addresses: Iterable[int] | None = None,
        prefix: int = 0,
        timing: Timing | None = None,
    ) -> None:
        """`addresses`: of the boards, if not all 16 of the prefix; a board known to be absent costs 0.1 s in each sweep."""
        chosen = range(BOARDS_MAX - (prefix == 0xF0)) if addresses is None else ()
        self.addresses = tuple(addresses or (board_address(switches, prefix) for switches in chosen))
        for address in self.addresses:
            commands.checked_address(address)
        self.memory = Memory()
        self._wire = wire
        self._line = Line(timing or Timing(), OtherMaster())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._wire.close()

    def now_s(self) -> float:
        """The clock that readings are stamped with."""
        return self._wire.now_s()

    def run(self, script: Generator[Ask, Outcome, T]) -> T:
        """Carry out any script on this bus. After an exception of the port the line starts afresh."""
        try:
            return run(script, self._line, self._wire)
        except PortError:
            self._line = Line(self._line.timing, self._line.other)
            self.memory.in_step = False
            raise

    def sweep(self, budget_s: float = BUDGET_S) -> Sweep:
        """All readings of all boards. Raises `PortError` only."""
        swept = self.run(sweep(self.memory, self.addresses, self.now_s(), budget_s))
        return evolve(swept, other_master_s=self._line.other.heard_s)

    def search(self, addresses: Iterable[int] | None = None) -> tuple[Identity, ...]:
        """Which boards there are; at every address that there can be, unless told where. Raises `PortError` only."""
        return self.run(
            scripts.search(self.memory, range(commands.MASTER) if addresses is None else addresses)
        )

    def perform(self, address: int, command: Command, *arguments: int) -> bytes:
        """Any command; the reply's data. Raises as `scripts.perform`."""
        return self.run(scripts.perform(self.memory, address, command, *arguments))

    def value(self, address: int, command: Command, *arguments: int) -> int:
        """A number that a board tells. Raises as `scripts.ask_value`."""
        return self.run(scripts.ask_value(self.memory, address, command, *arguments))

    def set_value(self, address: int, command: Command, bay: int, value: int) -> None:
        """One of `commands.SETTINGS`, read back. Raises as `scripts.set_value`."""
        self.run(scripts.set_value(self.memory, address, command, bay, value))

    def set_prefix(self, address: int, prefix: int) -> int:
        """Another prefix for a board; its new address. Raises as `scripts.set_prefix`."""
        return self.run(scripts.set_prefix(self.memory, address, prefix))

    def errors(self, address: int) -> tuple[int, ...]:
        """A board's error buffer. Raises as `scripts.read_errors`."""
        return self.run(scripts.read_errors(self.memory, address))

    def turn_on(self, address: int, bay: int) -> None:
        """Power to a bay. Raises as `scripts.turn_on`."""
        self.run(scripts.turn_on(self.memory, address, bay))

    def turn_off(self, address: int, bay: int) -> None:
        """Signal its Pi, and take the power away after the board's off delay. Raises as `scripts.turn_off`."""
        self.run(scripts.turn_off(self.memory, address, bay))

    def cut_off(self, address: int, bay: int) -> None:
        """Take the power away at once. Raises as `scripts.cut_off`."""
        self.run(scripts.cut_off(self.memory, address, bay))
