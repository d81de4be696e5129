from __future__ import annotations

import pytest

from hw.emulator.board import BROWN_OUT_V, Bay, Board
from hw.emulator.bus import EmulatedBus, VirtualWire
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.errors import PortError, WrongRequestError
from hw.pistack import commands
from hw.pistack.agreement import Agreement, LineHealth, Told
from hw.pistack.line import Timing
from hw.pistack.stack import PiStack
from hw.pistack.sweep import ASKED, BoardState, Sweep
from hw.readings import Quality, Quantity
from tests.hw.garbage import fuzz, misbelieved, truth_of


def stack_of(
    stack: EmulatedStack, timing: Timing | None = None, **bus: object
) -> tuple[PiStack, VirtualWire]:
    wire = VirtualWire(EmulatedBus(stack, **bus))  # type: ignore[arg-type]
    return PiStack(wire, timing=timing), wire


def board_of(swept: Sweep, address: int) -> BoardState:
    return next(board for board in swept.boards if board.address == address)


def value(board: BoardState, quantity: Quantity, bay: int | None = None) -> float:
    reading = board.reading(quantity, bay)
    assert reading is not None
    assert reading.good, str(reading)
    assert reading.value is not None
    return reading.value


@pytest.mark.parametrize("counts_crc", [False, True])
@pytest.mark.parametrize("hardware", [2, 3])
def test_a_sweep_tells_what_is_there(hardware: int, counts_crc: bool) -> None:
    """Volts, amperes or watts would be wrong: by a factor, for one version of the hardware, or for one way of writing lengths."""
    emulated = EmulatedStack([Board(5, hardware=hardware, length_counts_crc=counts_crc)])
    stack, wire = stack_of(emulated)
    stack.sweep()
    wire.pass_time(30)
    board = board_of(stack.sweep(), 5)
    real = emulated.boards[0]
    assert board.identity is not None
    assert (board.identity.hardware, board.identity.length_counts_crc) == (hardware, counts_crc)
    assert value(board, Quantity.INPUT_VOLTAGE) == pytest.approx(real.input_v, rel=0.01)
    assert value(board, Quantity.INPUT_CURRENT) == pytest.approx(real.input_w / real.input_v, rel=0.02)
    assert value(board, Quantity.INPUT_POWER) == pytest.approx(real.input_w, rel=0.02)
    assert value(board, Quantity.RAIL_VOLTAGE) == pytest.approx(real.rail_v, rel=0.01)
    for bay in range(2):
        assert value(board, Quantity.BAY_VOLTAGE, bay) == pytest.approx(real.rail_v, rel=0.01)
        assert value(board, Quantity.BAY_CURRENT, bay) == pytest.approx(0.4, rel=0.02)
        assert value(board, Quantity.BAY_POWER, bay) == pytest.approx(real.rail_v * 0.4, rel=0.02)
        assert value(board, Quantity.POWERED, bay) == 1
        assert value(board, Quantity.HEARTBEAT, bay) == 1
    assert value(board, Quantity.RAIL_POWER) == pytest.approx(real.rail_v * 0.8, rel=0.02)
    assert value(board, Quantity.BOARD_BOOTS) == 1


def test_16_boards_take_little_more_than_their_bits() -> None:
    """A sweep would wait where nothing has to be waited for: the original client took a minute."""
    stack, wire = stack_of(EmulatedStack.of(16))
    for _ in range(3):
        stack.sweep()
        wire.pass_time(20)
    before = wire.bus.requests
    swept = stack.sweep()
    exchanges = wire.bus.requests - before
    assert swept.complete
    assert sum(board.present for board in swept.boards) == 16
    assert exchanges == 16 * len(ASKED)
    bits_s = 16 * sum(4 + (bay is not None) + 4 + m.command.data_bytes for m, bay in ASKED) * Timing().byte_s
    assert bits_s < swept.ended_s - swept.started_s < 1.08 * bits_s


def test_what_nothing_measures_is_not_invented() -> None:
    """A board of unknown hardware or old firmware would show volts and watts that nobody measured."""
    unknown = Board(1, hardware=9)
    stack, _ = stack_of(EmulatedStack([unknown]))
    board = board_of(stack.sweep(), 1)
    for quantity, bay in ((Quantity.BAY_VOLTAGE, 0), (Quantity.BAY_POWER, 1), (Quantity.RAIL_POWER, None)):
        reading = board.reading(quantity, bay)
        assert reading is not None
        assert (reading.value, reading.quality) == (None, Quality.NO_SENSOR)
    assert value(board, Quantity.RAIL_VOLTAGE) == pytest.approx(5.0, abs=0.15)
    assert board_of(stack.sweep(), 2) == BoardState(2, False, None, (), ((), ()))


def test_a_command_that_the_firmware_does_not_know_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each sweep would put errors into the board's own log."""
    emulated = EmulatedStack([Board(1)])
    monkeypatch.setitem(commands.COMMANDS, commands.BAY_POWER.code, None)
    stack, _ = stack_of(emulated)
    reading = board_of(stack.sweep(), 1).reading(Quantity.BAY_POWER, 0)
    assert reading is not None
    assert reading.quality is Quality.NO_SENSOR
    logged = emulated.boards[0].error_count
    stack.sweep()
    assert emulated.boards[0].error_count == logged


def test_a_converter_at_its_limit_is_out_of_range() -> None:
    """30.8 V would be told of a supply of 40 V, as if it had been measured."""
    stack, _ = stack_of(EmulatedStack([Board(1)], supply_v=40.0))
    reading = board_of(stack.sweep(), 1).reading(Quantity.INPUT_VOLTAGE)
    assert reading is not None
    assert reading.quality is Quality.OUT_OF_RANGE


def test_a_board_that_falls_silent_keeps_stale_readings_and_their_time() -> None:
    """The last values of a dead board would look like new ones, or be gone."""
    emulated = EmulatedStack([Board(1), Board(2)])
    stack, wire = stack_of(emulated)
    first = board_of(stack.sweep(), 1).reading(Quantity.INPUT_VOLTAGE)
    emulated.boards = emulated.boards[1:]
    wire.pass_time(60)
    swept = stack.sweep()
    dead = board_of(swept, 1)
    assert not dead.present
    assert first is not None
    assert dead.reading(Quantity.INPUT_VOLTAGE) == first.grown_stale()
    assert board_of(swept, 2).present


def test_another_board_with_the_same_switches_is_identified_afresh() -> None:
    """Values of a new board would be converted as those of the one it replaced."""
    emulated = EmulatedStack([Board(1, hardware=2)])
    stack, wire = stack_of(emulated)
    stack.sweep()
    emulated.boards = ()
    stack.sweep()
    emulated.boards = (Board(1, hardware=3, length_counts_crc=True),)
    wire.pass_time(30)
    board = board_of(stack.sweep(), 1)
    assert board.identity is not None
    assert (board.identity.hardware, board.identity.length_counts_crc) == (3, True)


def test_a_lost_heartbeat_and_a_brown_out_are_seen() -> None:
    """A Pi that hangs, or a supply that fails, would look well."""
    emulated = EmulatedStack.of(2)
    stack, wire = stack_of(emulated)
    wire.pass_time(30)
    pi = emulated.boards[1].bays[1].pi
    assert pi is not None
    pi.hangs = True
    stack.sweep()
    for _ in range(40):
        wire.pass_time(1)
    swept = stack.sweep()
    assert [value(board_of(swept, a), Quantity.HEARTBEAT, bay) for a in (0, 1) for bay in (0, 1)] == [
        1,
        1,
        1,
        0,
    ]
    emulated.supply_v = 5.0
    for _ in range(3):
        wire.pass_time(0.1)
    swept = stack.sweep()
    assert value(board_of(swept, 0), Quantity.RAIL_VOLTAGE) < BROWN_OUT_V
    assert value(board_of(swept, 0), Quantity.HEARTBEAT, 0) == 1  # it boots, over and over
    emulated.supply_v = 0.0
    wire.pass_time(0.1)
    assert not any(board.present for board in stack.sweep().boards)


def test_late_replies_of_one_board_are_not_those_of_the_next() -> None:
    """The volts of one board would be told of its neighbour: replies do not say whom they are from."""
    slow = Board(0, bays=(Bay(outside_amperes=1.5), Bay(outside_amperes=1.5)))
    quick = Board(1, bays=(Bay(), Bay()))
    emulated = EmulatedStack([slow, quick], supply_ohm=0.0)
    wire = VirtualWire(EmulatedBus(emulated, faults=Faults(late=0.3, late_s=0.13), seed=3))
    stack = PiStack(wire, addresses=(0, 1))
    for _ in range(20):
        swept = stack.sweep()
        for address, amperes in ((0, 1.5), (1, 0.0)):
            for bay in range(2):
                reading = board_of(swept, address).reading(Quantity.BAY_CURRENT, bay)
                if reading is not None and reading.good and reading.value is not None:
                    assert reading.value == pytest.approx(amperes, abs=0.13)
        wire.pass_time(5)


def test_two_boards_with_the_same_switches_are_never_believed_halfway() -> None:
    """A mixture of two boards' bytes would be shown as the values of one."""
    emulated = EmulatedStack([Board(3), Board(3, bays=(Bay(), Bay()))])
    stack, wire = stack_of(emulated)
    for _ in range(5):
        board = board_of(stack.sweep(), 3)
        volts = board.reading(Quantity.INPUT_VOLTAGE)
        assert volts is None or volts.value is None or 11 < volts.value < 12.1
        wire.pass_time(1)


def test_a_sweep_ends_in_time_on_a_line_beyond_help() -> None:
    """A daemon would wait for its boards for ever."""
    stack, wire = stack_of(EmulatedStack.of(16), faults=Faults(half_frame=0.97), seed=1)
    started_s = wire.clock_s
    swept = stack.sweep(budget_s=5.0)
    assert not swept.complete
    assert wire.clock_s - started_s <= 5.0 + Timing().exchange_s_max


def test_noise_costs_time_and_no_truth() -> None:
    """A long wire, on which one reply in twenty is damaged, would be of no use, or lie."""
    emulated = EmulatedStack.of(4)
    stack, wire = stack_of(emulated, faults=Faults.evenly(0.05), seed=9)
    for _ in range(10):
        wire.pass_time(10)
        swept = stack.sweep()
        assert swept.complete
        for board in swept.boards[:4]:
            volts = board.reading(Quantity.INPUT_VOLTAGE)
            assert volts is not None
            assert volts.value == pytest.approx(emulated.board(board.address).input_v, abs=0.4)
    good = [
        reading.good
        for board in swept.boards[:4]
        for readings in (board.readings, *board.bays)
        for reading in readings
    ]
    assert sum(good) >= 0.9 * len(good)


def test_a_port_that_fails_leaves_a_stack_that_works_again() -> None:
    """One unplugged converter would end a daemon's readings until it is restarted."""

    class Flaky(VirtualWire):
        broken = False

        def send(self, frame: bytes) -> bytes:
            if self.broken:
                raise PortError("gone")
            return super().send(frame)

    wire = Flaky(EmulatedBus(EmulatedStack.of(1)))
    stack = PiStack(wire, addresses=(0,))
    stack.sweep()
    wire.broken = True
    with pytest.raises(PortError):
        stack.sweep()
    wire.broken = False
    assert board_of(stack.sweep(), 0).present


def test_addresses_that_no_board_can_have() -> None:
    """A sweep would ask the master for its volts."""
    wire = VirtualWire(EmulatedBus(EmulatedStack.of(1)))
    with pytest.raises(WrongRequestError):
        PiStack(wire, addresses=(0xFF,))
    assert len(PiStack(wire, prefix=0xF0).addresses) == 15
    assert PiStack(wire, prefix=0x20).addresses[3] == 0x23


def test_when_a_value_is_believed() -> None:
    """One garbled reply would be believed, or a steady value asked for again and again."""
    believed = Told(1000)
    assert Agreement(believed, 50, 9).hear(Told(1009), 2)
    assert not Agreement(believed, 50, 9).hear(Told(1010), 2)
    assert not Agreement(None, 50).hear(Told(0), 2)
    assert not Agreement(believed, 50).hear(Told(1000, refused=True), 2)
    new = Agreement(believed, 50)
    assert [new.hear(Told(v), 2) for v in (2000, 3000, 3040)] == [False, False, True]
    odd = Agreement(believed, 50)
    assert [odd.hear(Told(v), 3) for v in (2000, 2000, 2000)] == [False, False, True]
    assert [Agreement(believed, 50).hear(Told(1000), 3)] == [False]
    interrupted = Agreement(None, 0)
    interrupted.hear(Told(1), 2)
    interrupted.interrupt()
    assert not interrupted.hear(Told(1), 2)
    health = LineHealth()
    assert health.agreeing_needed == 2
    health.count(clean=False)
    assert health.agreeing_needed == 3
    for _ in range(64):
        health.count(clean=True)
    assert health.agreeing_needed == 2


def test_garbage_is_not_believed_in_a_small_run() -> None:
    """See test_garbage.py: the same in a second."""
    damaged, wrong = fuzz(seed=5, damaged_min=3_000)
    assert damaged >= 3_000
    assert wrong == []


def test_the_fuzz_sees_a_reader_that_believes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzz would pass whatever is believed."""
    monkeypatch.setattr(LineHealth, "agreeing_needed", 1)
    _, wrong = fuzz(seed=5, damaged_min=20_000)
    assert wrong


def test_the_oracle_of_the_fuzz_sees_a_wrong_value() -> None:
    """The fuzz would compare nothing."""
    from random import Random

    stack, _ = stack_of(EmulatedStack([Board(3)]))
    swept = stack.sweep()
    assert misbelieved(swept, truth_of(Random(1)))
