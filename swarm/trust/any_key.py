"""A key file of whichever kind, told apart by its type."""

from __future__ import annotations

from swarm.errors import KeyFileError
from swarm.trust import key_document
from swarm.trust.command_key import COMMAND_TYPE, CommandKey
from swarm.trust.keys import PUBLIC_TYPE, SECRET_TYPE, PublicKey, SecretKey
from swarm.trust.locked_key import LOCKED_TYPE, LockedKey

AnyKey = PublicKey | SecretKey | LockedKey | CommandKey


def decode_key(data: bytes) -> AnyKey:
    """Read a key file; raises `KeyFileError`."""
    match key_document.type_of(data):
        case t if t == SECRET_TYPE:
            return SecretKey.decode(data)
        case t if t == LOCKED_TYPE:
            return LockedKey.decode(data)
        case t if t == COMMAND_TYPE:
            return CommandKey.decode(data)
        case t if t == PUBLIC_TYPE:
            return PublicKey.decode(data)
    raise KeyFileError("is no key file: it is of no type that is known here")


def public_half(key: AnyKey) -> PublicKey:
    """What signatures of this key are checked against."""
    return key if isinstance(key, PublicKey) else key.public
