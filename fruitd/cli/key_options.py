"""How commands are given keys that sign, and where passphrases come from: the terminal, or a file of the owner.

Not the environment: every child process inherits it, and it ends up in the logs of whatever runs scripts. The
environment may name the file (FRUIT_PASSPHRASE_FILE).
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.signers import open_signer
from swarm.trust.key_files import read_key, read_passphrase
from swarm.trust.keys import PublicKey
from swarm.trust.locked_key import LockedKey
from swarm.trust.signer import Signer

PASSPHRASE_CHARS_MIN = 8
"""Shorter ones are guessed however much a guess costs. A script that needs none says --no-passphrase."""

PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="FRUIT_PASSPHRASE_FILE",
        help="Read the passphrase from this file (mode 0600) instead of asking.",
        metavar="FILE",
    ),
]


def open_signers(paths: Iterable[Path], passphrase_file: Path | None) -> list[Signer]:
    """The keys in these files, ready to sign; asks for the passphrases of locked ones. Raises `FruitError`."""

    def ask(path: Path, key: LockedKey) -> str:
        return passphrase_of(path, key, passphrase_file)

    return [open_signer(path, ask) for path in paths]


def signer_or_public(path: Path, passphrase_file: Path | None) -> Signer | PublicKey:
    """The key in a file, ready to sign where it can; only its public half where that is all there is."""
    with as_refusals():
        key = read_key(path)
    return key if isinstance(key, PublicKey) else open_signers([path], passphrase_file)[0]


def passphrase_of(path: Path, key: LockedKey, passphrase_file: Path | None) -> str:
    """The passphrase that a locked key has."""
    if passphrase_file is not None:
        with as_refusals():
            return read_passphrase(passphrase_file)
    return _ask(f"passphrase of key {key.public.name} ({path}): ", f"{path} is locked with a passphrase")


def new_passphrase(name: str, passphrase_file: Path | None) -> str:
    """A passphrase to lock a key with, asked for twice. Raises `RefusedError`."""
    if passphrase_file is not None:
        with as_refusals():
            return _long_enough(read_passphrase(passphrase_file))
    why = f"key {name} is to be locked with a passphrase"
    first = _long_enough(_ask(f"passphrase for key {name}: ", why))
    if _ask("the same again: ", why) != first:
        raise RefusedError("the two passphrases differ; nothing was written, try again")
    return first


def _long_enough(passphrase: str) -> str:
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise RefusedError(
            f"a passphrase of {len(passphrase)} characters is guessed quickly; take at least {PASSPHRASE_CHARS_MIN}, "
            "better five words"
        )
    return passphrase


def _ask(prompt: str, why: str) -> str:
    """What somebody types at the terminal, not shown."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        # getpass would read standard input then, and echo it.
        raise RefusedError(
            f"{why}, and there is no terminal to ask at: give --passphrase-file FILE"
        ) from error
    try:
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt) as error:
        raise RefusedError("no passphrase was given; nothing was done") from error
