"""The errors of the swarm package, by what the caller can do about them.

SwarmError
 ├── RefusedError     what arrived is wrong, forged, too old or not for us: drop it, count it, go on
 │    └── NotYetError  it cannot be judged before something else is here: drop it, count it, take it when it comes again
 ├── UnavailableError nobody could give us this now: try again later, or ask somebody else
 ├── UnsupportedError this machine lacks something the node is built on: the message says what to install
 └── KeyFileError     a key or trust file on this machine is unusable: the operator has to mend it
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused, in words that stay the same: for counting, alarms and tests. Messages for people say more."""

    MALFORMED = "malformed"
    TOO_LARGE = "too large"
    UNKNOWN_KIND = "unknown kind"
    WRONG_KIND = "wrong kind"
    WRONG_SWARM = "wrong swarm"
    WRONG_CHANNEL = "wrong channel"
    WRONG_NODE = "wrong node"
    NOT_SIGNED = "not signed enough"
    NO_ROLE = "signer without the role"
    DISAGREES = "signatures that do not agree"
    OLDER = "older"
    NOT_YET = "not yet"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_A_MEMBER = "not a member"
    NOT_SEALED = "not sealed for us"
    WRONG_BYTES = "wrong bytes"
    TOO_SLOW = "too slow"
    CROWDED = "crowded"
    OTHER = "other"


class SwarmError(Exception):
    """Root of every error raised by the swarm package."""


class RefusedError(SwarmError):
    """Input from a peer or a file was refused; nothing was changed."""

    def __init__(self, words: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(words)
        self.reason = reason


class NotYetError(RefusedError):
    """Cannot be judged before something else is here, such as a trust root in between: it may be offered again."""

    def __init__(self, words: str, reason: Reason = Reason.NOT_YET) -> None:
        super().__init__(words, reason)


class UnavailableError(SwarmError):
    """Nobody could give us what we asked for; nothing was changed."""


class UnsupportedError(SwarmError):
    """Software this node needs is missing or too old; the message says which and what to do."""


class KeyFileError(SwarmError):
    """A key or trust file cannot be used; the message says which and what to do."""
