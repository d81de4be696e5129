"""What a board's error codes mean, in replies and in its error buffer.

Source: fruit-testbed/PiStack-interface, pistack/error_codes.py at 2794e88 (facts, not code).
"""

from __future__ import annotations

SUCCESS = 0x00
NOT_MY_ADDRESS = 0x02
BOOTED = 0x0F
TOO_SHORT = 0x10
CRC_WRONG = 0x11
UNKNOWN_COMMAND = 0x12
WRONG_LENGTH = 0x13
NO_SUCH_BAY = 0x14
NOT_IMPLEMENTED = 0x15

NAMES: dict[int, str] = {
    SUCCESS: "nothing, or not used yet",
    NOT_MY_ADDRESS: "not the address of this board",
    BOOTED: "the board started",
    TOO_SHORT: "a request was too short",
    CRC_WRONG: "a request had a wrong checksum",
    UNKNOWN_COMMAND: "a command was not known",
    WRONG_LENGTH: "a request had a wrong length",
    NO_SUCH_BAY: "a request named a bay that does not exist",
    NOT_IMPLEMENTED: "a command is known, but not implemented",
    0x20: "the serial port was not readable",
    0x21: "too many bytes were received",
    0x22: "fewer bytes were received than a request said",
    0x23: "a reply did not fit into the buffer",
    0x30: "the error buffer does not fit into a reply",
    0x40: "the configuration in storage had a wrong checksum",
    0x41: "the errors in storage had a wrong checksum",
    0x42: "storage could not be prepared for erasing",
    0x43: "storage could not be erased",
    0x44: "storage could not be prepared for writing",
    0x45: "storage could not be written",
    0x46: "what was written to storage reads differently",
    0x47: "storage was not blank after erasing",
    0x48: "what was written to storage compares differently",
}
DAMAGED_ON_THE_WAY = frozenset({NOT_MY_ADDRESS, TOO_SHORT, CRC_WRONG, WRONG_LENGTH, 0x20, 0x21, 0x22})
"""What a board says when a request reached it damaged: asking again is the answer, since none is sent that way."""
UNSUPPORTED = frozenset({UNKNOWN_COMMAND, NOT_IMPLEMENTED})


def name_of(code: int) -> str:
    """In words; a code that public code does not know is said to be one."""
    return NAMES.get(code, f"a code that is not documented, {code:#04x}")
