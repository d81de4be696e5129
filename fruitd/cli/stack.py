"""`fruit stack`: boards and bays, and who sits where; how bays are switched is in `stack_switch`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.maintainer_options import command_group
from fruitd.cli.stack_history import history
from fruitd.cli.stack_switch import add_switching
from fruitd.errors import RefusedError

Json = dict[str, Any]
app = command_group("""Boards that power the nodes: see them, find out who sits where, switch bays.

    Readings and switches go over the node that has the stack's bus; the commands work at any node.""")

SocketOption = Annotated[
    Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The daemon's Unix socket.", metavar="PATH")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON (docs/api.md) instead of words.")]


@app.command("show")
def show(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """A picture of every stack: volts, amperes, watts, hearts, nodes.

    \b
    Example:  fruit stack show
    """
    with closing(NodeClient(socket)) as client:
        answer = client.get("/v1/stack")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from fruitd.cli.stack_picture import stack

    Console(highlight=False).print(stack(answer))


app.command("history")(history)


@app.command("map")
def map_(
    nodes: Annotated[
        list[str] | None, typer.Argument(help="Nodes to look for; none: all not known.", metavar="NODE")
    ] = None,
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Find out which node sits in which bay.

    At the node that has the bus. Each is asked to pause its heartbeat; the bay that falls silent is its. A minute or two for
    each.

    \b
    Example:  fruit stack map
    """
    with closing(NodeClient(socket)) as client:
        rows = client.get("/v1/nodes")["nodes"] if nodes else []
        answer = client.post("/v1/stack/map", {"nodes": [_node_id(words, rows) for words in nodes or []]})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif answer["waiting"]:
        count = len(answer["waiting"])
        looked = (
            "1 node is looked for" if count == 1 else f"{count} nodes are looked for, one after the other"
        )
        typer.echo(f"{looked}; see: fruit stack show")
    else:
        typer.echo("every node of this stack has its bay; see: fruit stack show")


def _node_id(words: str, rows: list[Json]) -> str:
    found = [
        row["id"]
        for row in rows
        if words in (row["name"], row["id"]) or (len(words) >= 4 and row["id"].startswith(words))
    ]
    if len(found) != 1:
        raise RefusedError(
            f"{line(words)} is {'more than one node' if found else 'no node that is known here'}: give the id"
        )
    return str(found[0])


add_switching(app)
