"""The errors of the node, by what the caller can do about them.

FruitError
 ├── UsageError     the request or the configuration is wrong: fix it and ask again (exit code 2 from a command line)
 ├── RefusedError   asked for something the node will not do; the message says why (exit code 1)
 ├── RetryError     the world is in the way (disk full, slot busy, nobody there): the node tries again by itself
 ├── SlotError      a slot is missing, mounted, too small or unreadable: the running slot stays, an operator must look
 └── BugError       our own mistake: report it; what was asked is not done, what runs goes on
"""

from __future__ import annotations


class FruitError(Exception):
    """Root of every error raised by the fruitd package. The message is one line for a person."""


class UsageError(FruitError):
    """The request or the configuration is wrong."""


class RefusedError(FruitError):
    """The node will not do this, and says why."""


class RetryError(FruitError):
    """The world is in the way; trying again later may work."""


class SlotError(FruitError):
    """A slot cannot be used; the running slot is untouched.

    `final` says that trying this image again on this slot can never work: the image is larger than the slot.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class BugError(FruitError):
    """Something happened that the program says cannot happen."""
