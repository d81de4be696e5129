"""Every command of the boards, as a table.

Source: fruit-testbed/PiStack-interface, pistack/commands.py at 2794e88 (facts, not code). What firmware 22 to 25 need is in its
commit messages (0690ac1, 2ea3cf8); for 26 to 29 none is stated, so that they are asked and a refusal is remembered.
"""

from __future__ import annotations

from attrs import frozen

from hw.errors import WrongRequestError

MASTER = 0xFF
"""The address of whoever asks: no board can have it."""
BAYS = 2
BOARDS_MAX = 16
"""Four switches."""


@frozen
class Command:
    """One command: what it takes and what a board answers."""

    code: int
    name: str
    arguments: tuple[str, ...]
    """Names of its argument bytes."""
    data_bytes: int
    """Data bytes of its reply; the least, where `varies`."""
    varies: bool
    firmware_min: int
    """Boards below this do not know it; 0 where no bound is known."""


_TABLE: dict[int, Command] = {}


def _command(
    code: int, name: str, *arguments: str, data: int = 0, varies: bool = False, firmware_min: int = 0
) -> Command:
    _TABLE[code] = Command(code, name, arguments, data, varies, firmware_min)
    return _TABLE[code]


FIRMWARE_VERSION = _command(0x02, "firmware version", data=1)
HARDWARE_VERSION = _command(0x03, "hardware version", data=1)
LEDS_ON = _command(0x04, "LEDs on")
LEDS_OFF = _command(0x05, "LEDs off")
COLOUR = _command(0x06, "colour of the RGB LED", "red", "green", "blue")
SET_PREFIX = _command(0x07, "set prefix", "prefix")
PREFIX = _command(0x08, "prefix", data=1)
ADDRESS = _command(0x09, "address", data=1)
INPUT_VOLTAGE = _command(0x0A, "input voltage", data=2)
INPUT_CURRENT = _command(0x0B, "input current", data=2)
RAIL_VOLTAGE = _command(0x0C, "5 V rail", data=2)
BAY_VOLTAGE = _command(0x0D, "bay voltage", "bay", data=2)
BAY_CURRENT = _command(0x0E, "bay current", "bay", data=2)
HEARTBEAT = _command(0x0F, "heartbeat", "bay", data=1)
POWERED = _command(0x10, "powered", "bay", data=1)
TURN_ON = _command(0x11, "turn on", "bay")
TURN_OFF = _command(0x12, "turn off", "bay")
CUT_OFF = _command(0x13, "cut off", "bay")
HEARTBEAT_TIME = _command(0x14, "heartbeat time", "bay", data=1)
SET_HEARTBEAT_TIME = _command(0x15, "set heartbeat time", "bay", "time")
BOOT_TIME = _command(0x16, "heartbeat delay", "bay", data=1)
SET_BOOT_TIME = _command(0x17, "set heartbeat delay", "bay", "time")
OFF_DELAY = _command(0x18, "off delay", "bay", data=1)
SET_OFF_DELAY = _command(0x19, "set off delay", "bay", "time")
SIGNAL_OFF_DELAY = _command(0x1A, "signal-off delay", "bay", data=1)
SET_SIGNAL_OFF_DELAY = _command(0x1B, "set signal-off delay", "bay", "time")
ERROR_BUFFER = _command(0x1C, "error buffer", data=1, varies=True)
CLEAR_ERROR_BUFFER = _command(0x1D, "clear error buffer")
ERROR_COUNT = _command(0x1E, "error count", data=2)
CLEAR_COUNTS = _command(0x1F, "clear counts of errors and boots")
ERROR_POINTER = _command(0x20, "error pointer", data=1)
SEND_SIGNAL = _command(0x21, "send shutdown signal", "bay")
ON_AT_START = _command(0x22, "on at start", "bay", data=1, firmware_min=4)
SET_ON_AT_START = _command(0x23, "set on at start", "bay", "on", firmware_min=4)
SIGNAL_WIDTH = _command(0x24, "signal width", "bay", data=1, firmware_min=4)
SET_SIGNAL_WIDTH = _command(0x25, "set signal width", "bay", "width", firmware_min=4)
INPUT_POWER = _command(0x26, "input power", data=4)
RAIL_POWER = _command(0x27, "5 V power", data=4)
BAY_POWER = _command(0x28, "bay power", "bay", data=4)
BOOT_COUNT = _command(0x29, "boot count", data=2)

COMMANDS: dict[int, Command] = dict(_TABLE)
"""By code."""
SETTINGS: dict[Command, Command] = {
    SET_HEARTBEAT_TIME: HEARTBEAT_TIME,
    SET_BOOT_TIME: BOOT_TIME,
    SET_OFF_DELAY: OFF_DELAY,
    SET_SIGNAL_OFF_DELAY: SIGNAL_OFF_DELAY,
    SET_ON_AT_START: ON_AT_START,
    SET_SIGNAL_WIDTH: SIGNAL_WIDTH,
}
"""What sets a value of a bay, and what reads it back."""


def board_address(switches: int, prefix: int = 0) -> int:
    """The byte that names a board on the bus: the prefix above, its four switches below.

    Raises:
        WrongRequestError: out of range, or the address of the master.
    """
    if not 0 <= switches < BOARDS_MAX or prefix & 0x0F or not 0 <= prefix <= 0xF0:
        raise WrongRequestError(
            f"no board has switches {switches} and prefix {prefix:#04x}; see docs/hardware.md"
        )
    return checked_address(prefix | switches)


def checked_address(address: int) -> int:
    """The address, if a board can have it.

    Raises:
        WrongRequestError: it cannot.
    """
    if not 0 <= address < MASTER:
        raise WrongRequestError(f"no board can have the address {address:#04x}: there are 0x00 to 0xfe")
    return address
