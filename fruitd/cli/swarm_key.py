"""`fruit key swarm`: make a swarm key, and change the keys of a node in three steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fruitd.config.swarm_keys import added, dropped, promoted, read_swarm_keys, write_swarm_keys
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.mistakes import as_refusals
from swarm.seal import key_id
from swarm.trust.key_files import generate, write_new

KeyOption = Path | None


def swarm(
    file: Annotated[Path, typer.Argument(help="The key file to make or to change.", metavar="FILE")],
    add: Annotated[
        KeyOption, typer.Option("--add", help="Open with the key in this file too.", metavar="NEW")
    ] = None,
    promote: Annotated[
        str | None, typer.Option("--promote", help="Seal with this key: its file or its id.", metavar="KEY")
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="Forget this key: its file or its id.", metavar="KEY")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Say which keys it holds; change nothing.")] = False,
) -> None:
    """Make a swarm key, which seals all traffic, or change the keys of a node.

    The same key goes to every node; [swarm] key_file in fruitd.toml names the file. It keeps strangers out and makes
    nobody trusted. To change it, do each step on all nodes before the next on any, with `fruit reload` behind it.

    \b
    Example:  fruit key swarm swarm.key
    Example:  fruit key swarm /etc/fruitd/swarm.key --add new.key
    Example:  fruit key swarm /etc/fruitd/swarm.key --promote new.key
    Example:  fruit key swarm /etc/fruitd/swarm.key --drop 1a2b3c4d
    """
    asked = [option is not None for option in (add, promote, drop)] + [show]
    if sum(asked) > 1:
        raise UsageError("give one of --add, --promote, --drop, --show: the steps belong to different days")
    if not any(asked):
        _make(file)
        return
    keys = read_swarm_keys(file)
    changed = keys
    if add is not None:
        changed = added(keys, read_swarm_keys(add))
    elif promote is not None:
        changed = promoted(keys, _named(promote, keys))
    elif drop is not None:
        changed = dropped(keys, _named(drop, keys))
    if changed != keys:
        write_swarm_keys(file, changed)
    seals, *others = [key_id(key).hex() for key in changed]
    typer.echo(f"{file}: {seals} seals" + (f", {', '.join(others)} open too" if others else ""))
    if changed != keys:
        typer.echo("to make the node use them: fruit reload")


def _make(file: Path) -> None:
    if file.exists():
        raise RefusedError(
            f"{file} is there already and is not overwritten; to change its keys: --add, --promote, --drop"
        )
    key = generate("swarm").seed
    with as_refusals():
        write_new(file, key.hex().encode() + b"\n", 0o600)
    typer.echo(
        f"{file} made, key {key_id(key).hex()}: copy it to every node of the swarm, and to nobody else"
    )


def _named(words: str, keys: tuple[bytes, ...]) -> bytes:
    """The key with this id in the file that is changed, or the first one in another file."""
    if re.fullmatch(r"[0-9a-f]{8}", words) and not Path(words).exists():
        for key in keys:
            if key_id(key).hex() == words:
                return key
        raise RefusedError(f"key {words} is not in the file; --show says which are")
    return read_swarm_keys(Path(words))[0]
