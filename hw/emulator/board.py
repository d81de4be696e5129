"""A board with two bays, as public code lets one know it. Pure: time is told.

Guessed, because documented nowhere: the unit of times (a second), their values at first, the size of the error buffer, that a bay
is well until its boot time is over, and that nothing happens by itself when a heartbeat is lost (no command configures it).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

from attrs import define, field, frozen

from hw.emulator.pi import EmulatedPi
from hw.errors import FrameError
from hw.pistack import commands as c
from hw.pistack import error_codes as codes
from hw.pistack.commands import BAYS, COMMANDS, Command
from hw.pistack.conversions import COUNTS_MAX, per_count
from hw.pistack.frames import decode_request, encode_reply
from hw.readings import Quantity

RAIL_V = 5.1
_RAIL_OHM = 0.08
_DROPOUT_V = 1.4
"""The regulator needs so much more than it gives."""
BROWN_OUT_V = 4.3
"""Of the rail: below, the Pis reset. A Pi complains below 4.63 V, and runs on for a while."""
DEAD_V = 3.0
"""Of the input: below, the board itself is off."""
_BOARD_W = 0.5
_EFFICIENCY = 0.9
_RIPPLE = 0.001
"""So that two readings differ, and by less than a converter's neighbours would."""
_ERRORS_KEPT = 16


class Change(Enum):
    """What happens to a bay."""

    POWER_ON = "power on"
    POWER_OFF = "power off"
    SIGNAL = "shutdown signal"


@frozen
class Happened:
    """A change that whoever stands for the Pi in a bay wants to know."""

    at_s: float
    address: int
    bay: int
    change: Change


@define
class Bay:
    """One Pi's position. `settings` are bytes, in seconds."""

    pi: EmulatedPi | None = None
    """None: somebody outside beats and draws."""
    powered: bool = False
    powered_s: float = 0.0
    off_at_s: float | None = None
    beat_s: float | None = None
    outside_amperes: float = 0.0
    settings: dict[Command, int] = field(
        factory=lambda: {
            c.HEARTBEAT_TIME: 15,
            c.BOOT_TIME: 60,
            c.OFF_DELAY: 20,
            c.SIGNAL_OFF_DELAY: 20,
            c.ON_AT_START: 1,
            c.SIGNAL_WIDTH: 1,
        }
    )

    @property
    def amperes(self) -> float:
        """What is drawn from it."""
        if not self.powered:
            return 0.0
        return self.pi.amperes if self.pi else self.outside_amperes


@define
class Board:
    """Its switches and prefix make its address."""

    switches: int
    prefix: int = 0
    firmware: int = 4
    hardware: int = 3
    length_counts_crc: bool = False
    input_v: float = 12.0
    bays: tuple[Bay, ...] = field(factory=lambda: tuple(Bay(EmulatedPi()) for _ in range(BAYS)))
    alive: bool = False
    happened: list[Happened] = field(factory=list)
    errors: bytearray = field(factory=lambda: bytearray(_ERRORS_KEPT))
    error_pointer: int = 0
    error_count: int = 0
    boot_count: int = 0
    colour: bytes = b"\0\0\0"
    leds: bool = True
    now_s: float = 0.0
    rail_amperes: float = 0.0
    """What both Pis draw."""

    @property
    def address(self) -> int:
        """On the bus."""
        return self.prefix | self.switches

    @property
    def input_w(self) -> float:
        """What the board takes from its supply."""
        return _BOARD_W + self.rail_v * self.rail_amperes / _EFFICIENCY if self.alive else 0.0

    @property
    def rail_v(self) -> float:
        """Of the 5 V regulator: sags with the load, and with an input that is too low for it."""
        if not self.alive:
            return 0.0
        return max(0.0, min(RAIL_V - _RAIL_OHM * self.rail_amperes, self.input_v - _DROPOUT_V))

    def advance(self, now_s: float, input_v: float) -> None:
        """Let time pass, at this input voltage."""
        self.now_s, self.input_v = now_s, input_v
        if not self.alive and input_v >= DEAD_V:
            self._start()
        elif self.alive and input_v < DEAD_V:
            for number in range(BAYS):
                self._power(number, on=False)
            self.alive = False
        self.rail_amperes = sum(bay.amperes for bay in self.bays)
        if not self.alive:
            return
        for number, bay in enumerate(self.bays):
            if bay.off_at_s is not None and now_s >= bay.off_at_s:
                self._power(number, on=False)
            if bay.powered and self.rail_v < BROWN_OUT_V:
                self._power(number, on=False)
                self._power(number, on=True)  # and down again at once, until the rail is back
            if bay.pi is not None and (beat_s := bay.pi.advance(now_s)) is not None:
                bay.beat_s = beat_s

    def beat(self, bay: int) -> None:
        """A rising edge on the heartbeat line of a bay."""
        self.bays[bay].beat_s = self.now_s

    def signalled(self, bay: int) -> None:
        """The Pi in a bay pulls its signal line low: it is shutting down."""
        self._off_in(bay, c.SIGNAL_OFF_DELAY)

    def answer(self, frame: bytes) -> bytes | None:
        """What a board says to a request; None for one that is not for it."""
        if not self.alive or len(frame) < 2 or frame[1] != self.address:
            return None
        try:
            code, _, arguments = decode_request(frame)
        except FrameError:
            short = len(frame) < 4
            return self._error(codes.TOO_SHORT if short else codes.CRC_WRONG)
        command = COMMANDS.get(code)
        if command is None or self.firmware < command.firmware_min:
            return self._error(codes.UNKNOWN_COMMAND)
        if len(arguments) != len(command.arguments):
            return self._error(codes.WRONG_LENGTH)
        if "bay" in command.arguments and arguments[0] >= BAYS:
            return self._error(codes.NO_SUCH_BAY)
        return encode_reply(True, self._carry_out(command, arguments), self.length_counts_crc)

    def log(self, code: int) -> None:
        """Into the error buffer, around and around."""
        self.errors[self.error_pointer] = code
        self.error_pointer = (self.error_pointer + 1) % _ERRORS_KEPT
        self.error_count = min(COUNTS_MAX, self.error_count + 1)

    def measure(self, quantity: Quantity, bay: int | None = None) -> float:
        """What there is to measure, without a converter's limits."""
        match quantity:
            case Quantity.INPUT_VOLTAGE:
                return self.input_v
            case Quantity.INPUT_CURRENT:
                return self.input_w / self.input_v if self.input_v else 0.0
            case Quantity.RAIL_VOLTAGE:
                return self.rail_v
            case Quantity.BAY_VOLTAGE:
                return self.rail_v if self.bays[bay or 0].powered else 0.0
            case _:
                return self.bays[bay or 0].amperes

    def _start(self) -> None:
        self.alive = True
        self.boot_count = min(COUNTS_MAX, self.boot_count + 1)
        self.log(codes.BOOTED)
        for number, bay in enumerate(self.bays):
            if bay.settings[c.ON_AT_START]:
                self._power(number, on=True)

    def _error(self, code: int) -> bytes:
        self.log(code)
        return encode_reply(False, bytes([code]), self.length_counts_crc)

    def _power(self, number: int, on: bool) -> None:
        bay = self.bays[number]
        bay.off_at_s = None
        if bay.powered is on:
            return
        bay.powered, bay.powered_s, bay.beat_s = on, self.now_s, None
        self._tell(number, Change.POWER_ON if on else Change.POWER_OFF)
        if bay.pi is not None:
            bay.pi.power(on, self.now_s)
        self.rail_amperes = sum(each.amperes for each in self.bays)

    def _signal(self, number: int) -> None:
        self._tell(number, Change.SIGNAL)
        pi = self.bays[number].pi
        if pi is not None:
            pi.signal(self.now_s)

    def _off_in(self, number: int, delay: Command) -> None:
        if self.bays[number].powered:
            self.bays[number].off_at_s = self.now_s + self.bays[number].settings[delay]

    def _tell(self, number: int, change: Change) -> None:
        self.happened.append(Happened(self.now_s, self.address, number, change))

    def _heartbeat_ok(self, bay: Bay) -> bool:
        if not bay.powered:
            return False
        if bay.beat_s is None:
            return self.now_s - bay.powered_s <= bay.settings[c.BOOT_TIME]
        return self.now_s - bay.beat_s <= bay.settings[c.HEARTBEAT_TIME]

    def _carry_out(self, command: Command, arguments: bytes) -> bytes:
        number = arguments[0] if "bay" in command.arguments else 0
        bay = self.bays[number]
        if command in c.SETTINGS:
            bay.settings[c.SETTINGS[command]] = arguments[1]
        elif command in bay.settings:
            return bytes([bay.settings[command]])
        elif command in _TOLD:
            return _TOLD[command](self, number)
        elif command in _DONE:
            _DONE[command](self, number)
        elif command is c.COLOUR:
            self.colour = arguments
        elif command is c.SET_PREFIX:
            self.prefix = arguments[0] & 0xF0
        return b""

    def _turn_off(self, number: int) -> None:
        if self.bays[number].powered:
            self._signal(number)
            self._off_in(number, c.OFF_DELAY)

    def _forget(self, buffer: bool) -> None:
        if buffer:
            self.errors[:] = bytes(_ERRORS_KEPT)
            self.error_pointer = 0
        else:
            self.error_count = self.boot_count = 0

    def _counts(self, quantity: Quantity, bay: int | None = None) -> int:
        # Of hardware whose conversions are not known, version 3's counts are as good as any: no client may convert them.
        factor = per_count(quantity, self.hardware) or per_count(quantity, 3) or 1.0
        ripple = 1 + _RIPPLE * math.sin(7.0 * self.now_s + self.address + 3 * (bay or 0))
        return max(0, min(COUNTS_MAX, round(self.measure(quantity, bay) * ripple / factor)))

    def _bay_power(self, bay: int) -> int:
        return self._counts(Quantity.BAY_VOLTAGE, bay) * self._counts(Quantity.BAY_CURRENT, bay)

    def _input_power(self) -> int:
        return self._counts(Quantity.INPUT_VOLTAGE) * self._counts(Quantity.INPUT_CURRENT)


def _word(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _long(value: int) -> bytes:
    return min(value, 0xFFFFFFFF).to_bytes(4, "big")


_TOLD: dict[Command, Callable[[Board, int], bytes]] = {
    c.FIRMWARE_VERSION: lambda board, _: bytes([board.firmware]),
    c.HARDWARE_VERSION: lambda board, _: bytes([board.hardware]),
    c.PREFIX: lambda board, _: bytes([board.prefix]),
    c.ADDRESS: lambda board, _: bytes([board.address]),
    c.INPUT_VOLTAGE: lambda board, _: _word(board._counts(Quantity.INPUT_VOLTAGE)),
    c.INPUT_CURRENT: lambda board, _: _word(board._counts(Quantity.INPUT_CURRENT)),
    c.RAIL_VOLTAGE: lambda board, _: _word(board._counts(Quantity.RAIL_VOLTAGE)),
    c.BAY_VOLTAGE: lambda board, bay: _word(board._counts(Quantity.BAY_VOLTAGE, bay)),
    c.BAY_CURRENT: lambda board, bay: _word(board._counts(Quantity.BAY_CURRENT, bay)),
    c.HEARTBEAT: lambda board, bay: bytes([board._heartbeat_ok(board.bays[bay])]),
    c.POWERED: lambda board, bay: bytes([board.bays[bay].powered]),
    c.ERROR_BUFFER: lambda board, _: bytes(board.errors),
    c.ERROR_COUNT: lambda board, _: _word(board.error_count),
    c.ERROR_POINTER: lambda board, _: bytes([board.error_pointer]),
    c.INPUT_POWER: lambda board, _: _long(board._input_power()),
    c.RAIL_POWER: lambda board, _: _long(sum(board._bay_power(bay) for bay in range(BAYS))),
    c.BAY_POWER: lambda board, bay: _long(board._bay_power(bay)),
    c.BOOT_COUNT: lambda board, _: _word(board.boot_count),
}
_DONE: dict[Command, Callable[[Board, int], None]] = {
    c.LEDS_ON: lambda board, _: setattr(board, "leds", True),
    c.LEDS_OFF: lambda board, _: setattr(board, "leds", False),
    c.TURN_ON: lambda board, bay: board._power(bay, on=True),
    c.TURN_OFF: lambda board, bay: board._turn_off(bay),
    c.CUT_OFF: lambda board, bay: board._power(bay, on=False),
    c.CLEAR_ERROR_BUFFER: lambda board, _: board._forget(buffer=True),
    c.CLEAR_COUNTS: lambda board, _: board._forget(buffer=False),
    c.SEND_SIGNAL: lambda board, bay: board._signal(bay),
}
