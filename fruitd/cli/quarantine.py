"""`fruit quarantine`: the releases that this node will not try again by itself, and lifting that by hand."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated

import typer

from fruitd.amounts import line, moment
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.node import JsonOption, SocketOption

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Releases that this node does not try again by itself.\n\n\b\nExample:  fruit quarantine list",
)


@app.command("list")
def list_(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Which releases, since when, and why.

    \b
    Example:  fruit quarantine list
    """
    with closing(NodeClient(socket)) as client:
        rows = client.get("/v1/status")["quarantined"]
    if as_json:
        typer.echo(json.dumps({"schema": 1, "quarantined": rows}, indent=2))
    elif not rows:
        typer.echo("nothing is quarantined on this node")
    else:
        for row in rows:
            typer.echo(
                f"release {row['release']} ({line(row['version'])}), {moment(row['at_s'])}: {line(row['why'])}"
            )


@app.command()
def lift(
    release: Annotated[int, typer.Argument(min=0, help="Its number, as `fruit quarantine list` shows it.")],
    why: Annotated[str, typer.Argument(help="The reason, for the history.")] = "lifted by the operator",
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Let this node try a release again.

    It is tried as if for the first time: fetched where blocks are missing, read back, booted on trial. If it is still what the
    maintainers offer, that begins at once.

    \b
    Example:  fruit quarantine lift 7 "the camera is plugged in again"
    """
    with closing(NodeClient(socket)) as client:
        answer = client.post("/v1/lift", {"release": release, "why": why})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"release {release} may be tried again on this node; now: {line(answer['update']['why'])}")
