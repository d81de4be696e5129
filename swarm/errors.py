"""The errors of the swarm package, by what the caller can do about them.

SwarmError
 ├── RefusedError     what arrived is wrong, forged, too old or not for us: drop it, count it, go on
 ├── UnavailableError nobody could give us this now: try again later, or ask somebody else
 ├── UnsupportedError this machine lacks something the node is built on: the message says what to install
 └── KeyFileError     a key or trust file on this machine is unusable: the operator has to mend it
"""

from __future__ import annotations


class SwarmError(Exception):
    """Root of every error raised by the swarm package."""


class RefusedError(SwarmError):
    """Input from a peer or a file was refused; nothing was changed."""


class UnavailableError(SwarmError):
    """Nobody could give us what we asked for; nothing was changed."""


class UnsupportedError(SwarmError):
    """Software this node needs is missing or too old; the message says which and what to do."""


class KeyFileError(SwarmError):
    """A key or trust file cannot be used; the message says which and what to do."""
