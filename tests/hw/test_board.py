from __future__ import annotations

import pytest

from hw.emulator.board import Board, Change
from hw.emulator.bus import EmulatedBus, VirtualWire
from hw.emulator.pi import PiState
from hw.emulator.stack import EmulatedStack
from hw.errors import (
    NotDoneError,
    RefusedError,
    SilentError,
    UnsupportedError,
    WrongRequestError,
)
from hw.pistack import commands, error_codes
from hw.pistack.frames import encode_reply
from hw.pistack.stack import PiStack

ADDRESS = 2


class Bench:
    """One board on a virtual bus, and what happened to it."""

    def __init__(self, board: Board | None = None) -> None:
        self.board = board or Board(ADDRESS)
        self.stack = EmulatedStack([self.board])
        self.happened: list[tuple[int, Change]] = []
        bus = EmulatedBus(self.stack, on_happened=lambda what: self.happened.append((what.bay, what.change)))
        self.wire = VirtualWire(bus)
        self.client = PiStack(self.wire, addresses=(ADDRESS,))

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.wire.pass_time(1)

    def powered(self, bay: int) -> int:
        return self.client.value(ADDRESS, commands.POWERED, bay)

    def state(self, bay: int) -> PiState:
        pi = self.board.bays[bay].pi
        assert pi is not None
        return pi.state


def test_off_signals_first_and_takes_the_power_when_its_delay_is_over() -> None:
    """A Pi would lose its power while it still writes to its card."""
    bench = Bench()
    bench.wait(20)
    bench.client.set_value(ADDRESS, commands.SET_OFF_DELAY, 1, 10)
    bench.happened.clear()
    bench.client.turn_off(ADDRESS, 1)
    bench.wait(8)
    assert bench.happened == [(1, Change.SIGNAL)]
    assert (bench.powered(1), bench.state(1)) == (1, PiState.HALTED)
    bench.wait(3)
    assert bench.happened == [(1, Change.SIGNAL), (1, Change.POWER_OFF)]
    assert (bench.powered(1), bench.powered(0)) == (0, 1)


def test_cut_and_on_are_at_once() -> None:
    """A hung Pi would not come back by its power."""
    bench = Bench()
    bench.client.cut_off(ADDRESS, 0)
    assert bench.state(0) is PiState.OFF
    bench.client.turn_on(ADDRESS, 0)
    bench.wait(15)
    assert bench.state(0) is PiState.UP


def test_a_pi_that_says_it_shuts_down_loses_its_power_later() -> None:
    """A Pi that was shut down would go on drawing power for ever, or be cut off while it halts."""
    bench = Bench()
    bench.wait(20)
    bench.client.set_value(ADDRESS, commands.SET_SIGNAL_OFF_DELAY, 0, 5)
    bench.board.signalled(0)
    bench.wait(3)
    assert bench.powered(0) == 1
    bench.wait(4)
    assert bench.powered(0) == 0


def test_heartbeats_have_a_time_to_boot_and_a_time_between() -> None:
    """A Pi that boots would be taken for a hung one, or a hung one for one that beats."""
    bench = Bench()
    pi = bench.board.bays[0].pi
    assert pi is not None
    bench.client.set_value(ADDRESS, commands.SET_BOOT_TIME, 0, 20)
    bench.client.set_value(ADDRESS, commands.SET_HEARTBEAT_TIME, 0, 7)
    assert bench.client.value(ADDRESS, commands.HEARTBEAT, 0) == 1
    bench.wait(60)
    assert bench.client.value(ADDRESS, commands.HEARTBEAT, 0) == 1
    pi.hangs = True
    bench.wait(9)
    assert bench.client.value(ADDRESS, commands.HEARTBEAT, 0) == 0
    bench.client.cut_off(ADDRESS, 0)
    bench.client.turn_on(ADDRESS, 0)
    assert bench.client.value(ADDRESS, commands.HEARTBEAT, 0) == 1
    bench.wait(25)
    assert bench.client.value(ADDRESS, commands.HEARTBEAT, 0) == 0


def test_a_power_cut_starts_the_board_again_with_the_bays_that_start() -> None:
    """Bays that were to stay off would come on after a power cut."""
    bench = Bench()
    bench.client.set_value(ADDRESS, commands.SET_ON_AT_START, 1, 0)
    bench.stack.supply_v = 0.0
    bench.wait(1)
    with pytest.raises(SilentError):
        bench.client.value(ADDRESS, commands.POWERED, 0)
    bench.stack.supply_v = 12.0
    bench.wait(1)
    assert (bench.powered(0), bench.powered(1)) == (1, 0)
    assert bench.client.value(ADDRESS, commands.BOOT_COUNT) == 2
    assert bench.client.errors(ADDRESS)[:2] == (error_codes.BOOTED, error_codes.BOOTED)


def test_the_error_log_and_its_counters() -> None:
    """What a board has to complain about could not be read."""
    bench = Bench()
    bench.stack.advance(0.1)
    bench.board.answer(bytes([0x2F, ADDRESS, 3, 0]))
    assert error_codes.CRC_WRONG in bench.client.errors(ADDRESS)
    assert bench.client.value(ADDRESS, commands.ERROR_COUNT) == 2
    bench.client.perform(ADDRESS, commands.CLEAR_ERROR_BUFFER)
    bench.client.perform(ADDRESS, commands.CLEAR_COUNTS)
    assert set(bench.client.errors(ADDRESS)) == {0}
    assert bench.client.value(ADDRESS, commands.ERROR_COUNT) == 0
    assert bench.client.value(ADDRESS, commands.BOOT_COUNT) == 0


def test_every_command_is_answered_with_as_much_as_it_should_be() -> None:
    """A command would be missing from the emulator, and untested in the client."""
    for code, command in commands.COMMANDS.items():
        bench = Bench()
        data = bench.client.perform(ADDRESS, command, *([0] * len(command.arguments)))
        assert len(data) >= command.data_bytes, hex(code)


def test_what_old_firmware_does_not_know() -> None:
    """A board of version 3 would be asked what it cannot know, and put errors into its log."""
    bench = Bench(Board(ADDRESS, firmware=3))
    logged = bench.board.error_count
    with pytest.raises(UnsupportedError, match="firmware 3"):
        bench.client.set_value(ADDRESS, commands.SET_SIGNAL_WIDTH, 0, 2)
    assert bench.board.error_count <= logged + 1  # its start


def test_a_board_can_be_given_another_prefix() -> None:
    """Two stacks on one bus could not be told apart."""
    bench = Bench()
    assert bench.client.set_prefix(ADDRESS, 0x30) == 0x32
    assert bench.client.value(0x32, commands.PREFIX) == 0x30
    with pytest.raises(SilentError):
        bench.client.value(ADDRESS, commands.PREFIX)
    with pytest.raises(WrongRequestError):
        bench.client.set_prefix(0x32, 0x31)


def test_a_search_finds_boards_of_any_prefix() -> None:
    """A board whose prefix was forgotten could never be reached again."""
    bench = Bench(Board(5, prefix=0xA0, firmware=6, hardware=2))
    (found,) = bench.client.search()
    assert (found.address, found.firmware, found.hardware) == (0xA5, 6, 2)


class Stubborn(Board):
    """Agrees to everything and does nothing; its storage is worn out."""

    def answer(self, frame: bytes) -> bytes | None:
        if frame[1] == ADDRESS and frame[0] in (commands.TURN_ON.code, commands.SET_OFF_DELAY.code):
            return encode_reply(True, b"", False)
        if frame[1] == ADDRESS and frame[0] == commands.SET_ON_AT_START.code:
            return encode_reply(False, b"\x45", False)
        return super().answer(frame)


def test_a_board_that_agrees_and_does_not() -> None:
    """A bay would be believed to be on, or a delay to be long enough, because a board said so."""
    bench = Bench(Stubborn(ADDRESS))
    bench.client.cut_off(ADDRESS, 0)
    with pytest.raises(NotDoneError, match="turn on"):
        bench.client.turn_on(ADDRESS, 0)
    with pytest.raises(NotDoneError, match="off delay"):
        bench.client.set_value(ADDRESS, commands.SET_OFF_DELAY, 0, 99)


def test_what_is_refused_says_why() -> None:
    """A person would see a number."""
    bench = Bench(Stubborn(ADDRESS))
    with pytest.raises(RefusedError, match="storage could not be written") as refused:
        bench.client.set_value(ADDRESS, commands.SET_ON_AT_START, 0, 1)
    assert refused.value.code == 0x45
