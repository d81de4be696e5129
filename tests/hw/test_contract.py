"""What any stack must do, virtual, behind a pseudo-terminal, on I2C, or made of metal.

Hardware takes part where HW_PISTACK_PORT names its serial port. Nothing is switched there: settings are put back as they were.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hw.emulator.bus import EmulatedBus, VirtualWire
from hw.emulator.i2c import boards_on_i2c
from hw.emulator.stack import EmulatedStack
from hw.emulator.terminal import serving
from hw.errors import SilentError
from hw.pistack import commands
from hw.pistack.i2c_wire import TIMING, I2cWire
from hw.pistack.serial_wire import SerialWire
from hw.pistack.stack import PiStack
from hw.readings import Quantity

PORT = "HW_PISTACK_PORT"
ABSENT = 0xEE


class _VirtualClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(params=["virtual", "terminal", "terminal with echo", "i2c", "hardware"], scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[PiStack]:
    with ExitStack() as held:
        emulated = EmulatedStack.of(3)
        match request.param:
            case "virtual":
                yield held.enter_context(PiStack(VirtualWire(EmulatedBus(emulated))))
            case "terminal" | "terminal with echo":
                bus = EmulatedBus(emulated, echo=request.param != "terminal")
                terminal = held.enter_context(serving(bus))
                yield held.enter_context(PiStack(SerialWire(terminal.path)))
            case "i2c":
                clock = _VirtualClock()
                bus_of_boards = boards_on_i2c(emulated, lambda: clock.now_s)
                wire = I2cWire(bus_of_boards, clock=lambda: clock.now_s, sleep=clock.sleep)
                yield held.enter_context(PiStack(wire, timing=TIMING))
            case _:
                if PORT not in os.environ:
                    pytest.skip(f"{PORT} names no port with boards")
                yield held.enter_context(PiStack(SerialWire(os.environ[PORT])))


@pytest.fixture(scope="module")
def address(stack: PiStack) -> int:
    found = stack.search(stack.addresses)
    assert found, "no board answers"
    return found[0].address


def test_boards_say_who_they_are(stack: PiStack, address: int) -> None:
    """Readings would be taken for those of another board."""
    assert stack.value(address, commands.ADDRESS) == address
    assert stack.value(address, commands.PREFIX) == address & 0xF0
    identity = stack.memory.board(address).identity
    assert identity is not None
    assert identity.hardware == stack.value(address, commands.HARDWARE_VERSION)


def test_absent_boards_are_silent(stack: PiStack) -> None:
    """A board would be imagined where there is none."""
    assert ABSENT not in stack.addresses
    with pytest.raises(SilentError):
        stack.value(ABSENT, commands.INPUT_VOLTAGE)


@pytest.mark.parametrize("bay", [0, 1])
@pytest.mark.parametrize("command", [each for each in commands.SETTINGS if "on" not in each.arguments])
def test_settings_are_kept(stack: PiStack, address: int, command: commands.Command, bay: int) -> None:
    """A heartbeat time or an off delay would be another than the one that was set."""
    identity = stack.memory.board(address).identity
    assert identity is not None
    if identity.firmware < command.firmware_min:
        pytest.skip(f"firmware {identity.firmware} does not know '{command.name}'")
    before = stack.value(address, commands.SETTINGS[command], bay)
    try:
        stack.set_value(address, command, bay, 33)
        assert stack.value(address, commands.SETTINGS[command], bay) == 33
    finally:
        stack.set_value(address, command, bay, before)


def test_a_sweep_is_whole_and_makes_sense(stack: PiStack, address: int) -> None:
    """Readings would be missing, or would not fit together."""
    for _ in range(2):
        swept = stack.sweep()
    assert swept.complete
    board = next(board for board in swept.boards if board.address == address)
    assert board.present
    volts, amperes = board.reading(Quantity.INPUT_VOLTAGE), board.reading(Quantity.INPUT_CURRENT)
    watts = board.reading(Quantity.INPUT_POWER)
    for reading in (volts, amperes):
        assert reading is not None
        assert reading.good, str(reading)
    assert volts is not None
    assert amperes is not None
    assert 3 < (volts.value or 0) < 30
    if watts is not None and watts.good:
        assert watts.value == pytest.approx((volts.value or 0) * (amperes.value or 0), rel=0.2, abs=0.5)
    for bay in range(2):
        powered = board.reading(Quantity.POWERED, bay)
        assert powered is not None
        assert powered.value in (0, 1)


def test_errors_can_be_read(stack: PiStack, address: int) -> None:
    """The one reply of varying size would be cut, or never end."""
    codes = stack.errors(address)
    assert 1 <= len(codes) <= 253
    assert stack.value(address, commands.ERROR_POINTER) <= len(codes)
