"""`fruit stack history`: what was measured of bays, and how long their hearts beat."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.stack_switch import bay_of

HOURS_MAX = 366 * 24
POINTS_MAX = 14 * 24 * 4
"""Of one bay, in JSON: a point for each quarter of an hour of two weeks."""
BayArgument = Annotated[
    str | None,
    typer.Argument(help="BOARD:BAY, or a node's name or id; none: all bays.", metavar="BAY|NODE"),
]


def history(
    bay: BayArgument = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=HOURS_MAX, help="How far back.")] = 24,
    socket: Annotated[
        Path,
        typer.Option("--socket", envvar="FRUIT_SOCKET", help="The daemon's Unix socket.", metavar="PATH"),
    ] = DEFAULT_SOCKET,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (docs/api.md) instead of words.")
    ] = False,
) -> None:
    """Watts, volts, hearts and energy of the last day.

    At the node that has the bus. A line for each bay, or of one bay a table over time.

    \b
    Example:  fruit stack history
              fruit stack history 3:1 --hours 6
    """
    query: dict[str, str | int] = {"hours": hours}
    with closing(NodeClient(socket)) as client:
        if bay is not None:
            query["bay"] = bay if re.fullmatch(r"\d{1,3}:[01]", bay) else _named(client, bay)
            query |= {"points": POINTS_MAX} if as_json else {}
        answer = client.get("/v1/stack/history", **query)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from fruitd.cli.stack_history_picture import bay_over_time, bays

    Console(highlight=False).print(bays(answer) if bay is None else bay_over_time(answer, str(query["bay"])))


def _named(client: NodeClient, words: str) -> str:
    """In which bay of the stack whose bus this node has that node sits."""
    answer = client.get("/v1/stack")
    return str(bay_of(words, answer["own"]["stack"] or "", answer)[1]["bay"])
