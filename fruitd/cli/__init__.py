"""The `fruit` command. A command's code is imported when it is asked for, so that `fruit status` is quick."""

from __future__ import annotations

import importlib
import io
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = {
    "status": "fruitd.cli.node",
    "nodes": "fruitd.cli.node",
    "watch": "fruitd.cli.node",
    "history": "fruitd.cli.node",
    "doctor": "fruitd.cli.node",
    "hold": "fruitd.cli.node",
    "resume": "fruitd.cli.node",
    "rollback": "fruitd.cli.node",
    "quarantine": "fruitd.cli.quarantine",
    "reload": "fruitd.cli.node",
    "member": "fruitd.cli.member",
    "stack": "fruitd.cli.stack",
    "key": "fruitd.cli.key",
    "trust": "fruitd.cli.trust",
    "release": "fruitd.cli.release",
    "freshness": "fruitd.cli.freshness",
    "image": "fruitd.cli.image",
    "demo": "fruitd.cli.demo",
}
"""Command -> module that has it: as its `app`, a `typer.Typer`, or as a function of the command's name."""
PLUG_INS = "fruit.commands"
"""Entry points of this group are further commands, such as `sim`."""


class _LazyCommands(TyperGroup):
    """Commands that are imported when they are run, or when help has to describe them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*BUILT_IN, *sorted(_plug_ins())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in BUILT_IN:
            return _load(cmd_name, lambda: _built_in(cmd_name))
        plug_in = _plug_ins().get(cmd_name)
        return _load(cmd_name, plug_in.load) if plug_in is not None else None


def _built_in(name: str) -> Any:
    module = importlib.import_module(BUILT_IN[name])
    return getattr(module, "app", None) or getattr(module, name)


def _plug_ins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=PLUG_INS) if point.name not in BUILT_IN}


def _load(name: str, find: Any) -> Any:
    """The command as the group runs it; where its code cannot be imported, one that says so."""
    try:
        found = find()
    except (ImportError, AttributeError) as error:
        found = _broken(f"this command cannot be loaded: {error}")
    if not isinstance(found, typer.Typer):
        single = _app()
        single.command(name)(found)
        found = single
    command = typer.main.get_command(found)
    command.name = name
    return command


def _broken(words: str) -> Any:
    def command() -> None:
        raise SystemExit(f"fruit: {words}")

    command.__doc__ = f"({words})"
    return command


def _app(**options: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        **options,
    )


app = _app(cls=_LazyCommands)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fruit {version('fruitd')}")
        raise typer.Exit


@app.callback()
def _fruit(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """System images for fleets of small computers, from peer to peer.

    \b
    See how the node on this machine fares:   fruit status
    See a release arrive:                     fruit watch
    See which nodes are behind, and why:      fruit nodes
    Try everything on this machine:           fruit demo

    Exit codes: 0 done, 1 refused or failed (one line says why and what to do), 2 wrong usage.
    """


def main() -> None:
    """Run the `fruit` command; an error of ours ends it with one line and its exit code."""
    from bep35.errors import Bep35Error
    from fruitd.errors import FruitError, UsageError
    from swarm.errors import SwarmError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a name from Lisbon must not end a command on a Latin-1 terminal
    try:
        app(prog_name="fruit")
    except (FruitError, SwarmError, Bep35Error) as error:
        print(f"fruit: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
