"""The errors of the hw package.

HwError
 ├── ExtraMissingError   a port needs a package that is not installed; the message says how to get it
 ├── PortError           a device of this machine cannot be opened or has gone: its owner has to look at it
 ├── WrongRequestError   the caller asked for something that does not exist: another board, bay or value
 ├── FrameError          bytes that are no frame
 └── BoardError          a board on the bus did not do what it was asked
      ├── SilentError        nothing answered: no such board, no power, or a broken wire
      ├── DamagedError       something answered, and not once in a way that can be believed: noise
      ├── RefusedError       the board said no, with its own error code
      │    └── UnsupportedError   its firmware does not know this command
      └── NotDoneError       the board agreed, and reading back shows otherwise
"""

from __future__ import annotations


class HwError(Exception):
    """Root of every error raised by hw. The message is one line for a person."""


class ExtraMissingError(HwError, ImportError):
    """A port needs a package of the extra `pi`; the message says how to install it."""

    @classmethod
    def of(cls, package: str, what: str) -> ExtraMissingError:
        """The same words for each of them."""
        return cls(f"{what} needs {package}, which is not installed: pip install 'fruitd[pi]'")


class PortError(HwError):
    """A device of this machine cannot be opened, or has gone."""


class WrongRequestError(HwError, ValueError):
    """The caller asked for a board, a bay or a value that there cannot be."""


class FrameError(HwError):
    """The bytes are no frame of the protocol."""


class BoardError(HwError):
    """A board did not do what it was asked."""


class SilentError(BoardError):
    """Nothing answered within the time allowed, in all tries."""


class DamagedError(BoardError):
    """What came back could not be believed, in all tries."""


class RefusedError(BoardError):
    """The board answered with an error code.

    Attributes:
        code: the board's own, see `hw.pistack.error_codes`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class UnsupportedError(RefusedError):
    """The board's firmware does not know the command."""


class NotDoneError(BoardError):
    """The board agreed, but reading back shows that it did not."""
