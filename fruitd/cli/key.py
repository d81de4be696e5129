"""`fruit key`: make keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fruitd.cli.maintainer_options import command_group
from fruitd.maintainer.mistakes import as_refusals
from swarm.trust.key_files import create_key_pair, generate, read_public_key, write_new

app = command_group("Make keys for maintainers and for a swarm.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; also the name of its two files.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to put them.", metavar="DIR")] = Path(),
) -> None:
    """Make a key pair: NAME.key signs, NAME.pub is for everybody.

    Nothing is ever overwritten. Keep NAME.key offline, with one copy elsewhere: who holds it can sign in
    your name, and nobody can make it again.

    \b
    Example:  fruit key new ann --dir /media/usb
    """
    with as_refusals():
        secret_path, public_path = create_key_pair(folder, name)
        public = read_public_key(public_path)
    typer.echo(f"key {public.name} ({public.key_id})")
    typer.echo(f"  {secret_path}  secret: keep it offline, give it to nobody")
    typer.echo(f"  {public_path}  public: give it to whoever founds the swarm")


@app.command("swarm")
def swarm(
    file: Annotated[Path, typer.Argument(help="The file to make.", metavar="FILE")],
) -> None:
    """Make a swarm key, which seals all traffic.

    The same file goes to every node; [swarm] key_file in fruitd.toml names it. It keeps strangers out and makes
    nobody trusted.

    \b
    Example:  fruit key swarm swarm.key
    """
    with as_refusals():
        write_new(file, generate("swarm").seed.hex().encode() + b"\n", 0o600)
    typer.echo(f"{file} made: copy it to every node of the swarm, and to nobody else")
