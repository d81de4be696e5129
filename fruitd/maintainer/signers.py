"""From a key file to something that signs, whatever kind of key file it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fruitd.maintainer.command_signer import CommandSigner
from fruitd.maintainer.mistakes import as_refusals
from swarm.errors import KeyFileError
from swarm.trust.command_key import CommandKey
from swarm.trust.key_files import read_key
from swarm.trust.keys import PublicKey, SecretKey
from swarm.trust.locked_key import LockedKey
from swarm.trust.signer import Signer

AskPassphrase = Callable[[Path, LockedKey], str]
"""Where the passphrase of a locked key comes from; raises `FruitError` where there is none to be had."""


def open_signer(path: Path, ask: AskPassphrase) -> Signer:
    """The key in a file, ready to sign.

    A locked key is unlocked, with `ask`; one that is kept elsewhere is asked when it signs. Raises `RefusedError` naming
    the file.
    """
    with as_refusals():
        key = read_key(path)
        match key:
            case SecretKey():
                return key
            case CommandKey():
                return CommandSigner(key)
            case PublicKey():
                raise KeyFileError(f"{path} is a public key; the secret half is needed here (the .key file)")
        passphrase = ask(path, key)
        try:
            return key.unlock(passphrase)
        except KeyFileError as error:
            raise KeyFileError(f"{path} {error}") from error
