"""All readings of all boards, in the least time the bus allows. Pure.

What matters most is asked first, in case time runs out. What cannot be read this time keeps its last value and is called stale.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from attrs import frozen

from hw.pistack import commands
from hw.pistack.agreement import Told
from hw.pistack.commands import BAYS, Command
from hw.pistack.conversions import COUNTS_MAX, per_count
from hw.pistack.error_codes import UNSUPPORTED
from hw.pistack.frames import Request
from hw.pistack.line import Outcome, Silent
from hw.pistack.scripts import Ask, BoardMemory, Identity, Memory, agreed, identify
from hw.readings import Quality, Quantity, Reading, Unit, missing

BUDGET_S = 30.0
"""A sweep asks nothing more after this. Larger leaves a node without news of its boards while a line is garbled, smaller cuts
short a sweep of 16 boards at 9600 baud (4 s, twice that the first time) on a line that needs repetitions."""
_FAILURES_MAX = 2
"""Readings in a row that a board does not give before the rest of its readings wait for the next sweep."""
_VOLTAGE_COUNTS = COUNTS_MAX // 100
_CURRENT_COUNTS = COUNTS_MAX // 16


@frozen
class Measured:
    """One thing that a board measures."""

    quantity: Quantity
    command: Command
    counts_max: int
    """What cannot be exceeded, or is a converter at its limit."""
    tolerance: int
    """By how much two readings differ anyway, in counts: 0.3 V and 0.06 V, 0.26 A and 0.13 A, and for power as for current."""

    @property
    def steady(self) -> int:
        """By how much it differs from the last sweep while nothing changes: 1/256 of the range; states and counts not at all."""
        return self.counts_max // 256 if self.tolerance else 0


def _measured(quantity: Quantity, command: Command, counts_max: int, tolerance: int = 0) -> Measured:
    return Measured(quantity, command, counts_max, tolerance)


BAY_MEASURED = (
    _measured(Quantity.POWERED, commands.POWERED, 1),
    _measured(Quantity.HEARTBEAT, commands.HEARTBEAT, 1),
    _measured(Quantity.BAY_VOLTAGE, commands.BAY_VOLTAGE, COUNTS_MAX - 1, _VOLTAGE_COUNTS),
    _measured(Quantity.BAY_CURRENT, commands.BAY_CURRENT, COUNTS_MAX - 1, _CURRENT_COUNTS),
    _measured(Quantity.BAY_POWER, commands.BAY_POWER, COUNTS_MAX**2 - 1, _CURRENT_COUNTS * COUNTS_MAX),
)
BOARD_MEASURED = (
    _measured(Quantity.INPUT_VOLTAGE, commands.INPUT_VOLTAGE, COUNTS_MAX - 1, _VOLTAGE_COUNTS),
    _measured(Quantity.INPUT_CURRENT, commands.INPUT_CURRENT, COUNTS_MAX - 1, _CURRENT_COUNTS),
    _measured(Quantity.RAIL_VOLTAGE, commands.RAIL_VOLTAGE, COUNTS_MAX - 1, _VOLTAGE_COUNTS),
    _measured(Quantity.INPUT_POWER, commands.INPUT_POWER, COUNTS_MAX**2 - 1, _CURRENT_COUNTS * COUNTS_MAX),
    _measured(Quantity.RAIL_POWER, commands.RAIL_POWER, 2 * COUNTS_MAX**2, _CURRENT_COUNTS * COUNTS_MAX),
    _measured(Quantity.BOARD_BOOTS, commands.BOOT_COUNT, COUNTS_MAX),
    _measured(Quantity.BOARD_ERRORS, commands.ERROR_COUNT, COUNTS_MAX),
)
ASKED: tuple[tuple[Measured, int | None], ...] = (
    *((measured, bay) for bay in range(BAYS) for measured in BAY_MEASURED),
    *((measured, None) for measured in BOARD_MEASURED),
)
"""What a sweep asks of each board, in order: 17 exchanges."""


@frozen
class BoardState:
    """What one sweep found of one board."""

    address: int
    present: bool
    """It answered. Where it did not, and was there before, its last readings are kept as stale ones."""
    identity: Identity | None
    readings: tuple[Reading, ...]
    """Of the board itself."""
    bays: tuple[tuple[Reading, ...], ...]

    def reading(self, quantity: Quantity, bay: int | None = None) -> Reading | None:
        """One of them; None where there is none yet."""
        among = self.readings if bay is None else self.bays[bay]
        return next((reading for reading in among if reading.quantity is quantity), None)


@frozen
class Sweep:
    """What one sweep found."""

    started_s: float
    ended_s: float
    boards: tuple[BoardState, ...]
    complete: bool
    """False where time ran out: the boards not reached are stale, and may well be there."""
    other_master_s: float | None = None
    """When somebody else was last heard asking boards on this bus; None: never, or on a wire that cannot tell (I2C)."""


def sweep(
    memory: Memory, addresses: Iterable[int], now_s: float, budget_s: float = BUDGET_S
) -> Generator[Ask, Outcome, Sweep]:
    """Read everything that the boards at these addresses measure. Raises nothing for what is on the line."""
    memory.now_s = now_s
    deadline_s = now_s + budget_s
    boards = []
    for address in addresses:
        present = yield from _read_board(memory, address, deadline_s)
        boards.append(_state(memory.board(address), address, present))
    return Sweep(now_s, memory.now_s, tuple(boards), memory.now_s < deadline_s)


def _read_board(memory: Memory, address: int, deadline_s: float) -> Generator[Ask, Outcome, bool]:
    board = memory.board(address)
    for key, reading in board.readings.items():
        board.readings[key] = reading.grown_stale()
    if memory.now_s >= deadline_s:
        return False
    identity = yield from identify(memory, address)
    if identity is None:
        return False
    boots = board.believed.get((commands.BOOT_COUNT.code, None))
    failures = 0
    for measured, bay in ASKED:
        if memory.now_s >= deadline_s or failures == _FAILURES_MAX:
            break
        outcome = yield from _read(memory, identity, measured, bay)
        if isinstance(outcome, Silent):
            board.identity = None  # whatever comes back may be another board
            return False
        failures = 0 if outcome is None else failures + 1
    if boots is not None and board.believed.get((commands.BOOT_COUNT.code, None)) != boots:
        board.identity = None  # it may have started with other firmware
    return True


def _read(
    memory: Memory, identity: Identity, measured: Measured, bay: int | None
) -> Generator[Ask, Outcome, Outcome | None]:
    """Ask for one reading and keep it; None where that was done, or cannot be done with this board."""
    board = memory.board(identity.address)
    factor = per_count(measured.quantity, identity.hardware)
    source = f"pistack {identity.address:#04x}" + ("" if bay is None else f" bay {bay}")
    told = board.believed.get((measured.command.code, bay))
    unsupported = told is not None and told.refused and told.value in UNSUPPORTED
    if factor is None or unsupported:
        key = measured.quantity, bay
        board.readings[key] = missing(measured.quantity, Quality.NO_SENSOR, memory.now_s, source)
        return None
    request = Request(measured.command, identity.address, () if bay is None else (bay,))
    judged = yield from agreed(memory, request, measured.tolerance, measured.steady)
    if not isinstance(judged, Told):
        return judged
    board.readings[measured.quantity, bay] = _reading(measured, judged, factor, memory.now_s, source)
    return None


def _reading(measured: Measured, told: Told, factor: float, at_s: float, source: str) -> Reading:
    if told.refused:
        quality = Quality.NO_SENSOR if told.value in UNSUPPORTED else Quality.STALE
        return missing(measured.quantity, quality, at_s, source)
    # States other than 0 and 1 are documented nowhere; shown as they are, and not as a yes or a no.
    in_range = told.value <= measured.counts_max
    quality = Quality.GOOD if in_range else Quality.OUT_OF_RANGE
    value = float(told.value) if measured.quantity.unit is Unit.ONE else told.value * factor
    return Reading(measured.quantity, value, quality, at_s, source)


def _state(board: BoardMemory, address: int, present: bool) -> BoardState:
    def of(bay: int | None) -> tuple[Reading, ...]:
        found = (board.readings.get((measured.quantity, bay)) for measured, where in ASKED if where == bay)
        return tuple(reading for reading in found if reading is not None)

    return BoardState(address, present, board.identity, of(None), tuple(of(bay) for bay in range(BAYS)))
