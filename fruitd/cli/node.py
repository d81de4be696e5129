"""The commands of a node's owner: look at the node on this machine, and tell it what to do."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.cli.client import DEFAULT_SOCKET, NodeClient

SocketOption = Annotated[
    Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The daemon's Unix socket.", metavar="PATH")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON (docs/api.md) instead of words.")]
WhyArgument = Annotated[str, typer.Argument(help="The reason, which other nodes' operators see too.")]


def status(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """What this node runs, does and waits for.

    \b
    Example:  fruit status
    Example:  fruit status --json | jq .update.why
    """
    _show("/v1/status", "status", socket, as_json)


def nodes(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Every node heard of, those that are behind first.

    What each runs, and what it says of itself.

    \b
    Example:  fruit nodes
    """
    _show("/v1/nodes", "nodes", socket, as_json)


def watch(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Follow this node live, with progress and sources.

    Ctrl-C ends the watch, not the update. With --json one status a line, as it changes.

    \b
    Example:  fruit watch
    """
    from rich.console import Console

    from fruitd.cli.watch import show

    show(lambda: NodeClient(socket), Console(), as_json=as_json)


def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=2000, help="How many lines.")] = 50,
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """What happened to this node, oldest first.

    \b
    Example:  fruit history -n 20
    """
    _show("/v1/history", "history", socket, as_json, limit=limit)


def doctor(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Check this node, and say what to do.

    Exit code 1 if anything is wrong.

    \b
    Example:  fruit doctor
    """
    if not _show("/v1/doctor", "doctor", socket, as_json)["ok"]:
        raise typer.Exit(1)


def hold(
    why: WhyArgument = "held by the operator",
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Keep what runs now, until `fruit resume`.

    \b
    Example:  fruit hold "measurement until Friday"
    """
    _act("/v1/hold", {"why": why}, socket, as_json)


def resume(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """End a hold.

    \b
    Example:  fruit resume
    """
    _act("/v1/resume", {}, socket, as_json)


def reload(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Read swarm keys and join token again, running.

    \b
    Example:  fruit reload
    """
    with closing(NodeClient(socket)) as client:
        answer = client.post("/v1/reload", {})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print("reloaded", answer)


def rollback(
    why: WhyArgument = "rolled back by the operator",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Go back to the other slot, and stay there.

    Restarts the node. The release that runs now is quarantined: it is not installed again by itself.

    \b
    Example:  fruit rollback "camera driver is broken"
    """
    if not yes and sys.stdin.isatty() and not typer.confirm("This restarts the node. Go on?"):
        raise typer.Exit(1)
    _act("/v1/rollback", {"why": why}, socket, as_json)


def _show(path: str, view: str, socket: Path, as_json: bool, **query: int) -> dict[str, Any]:
    """Ask once and print it; returns the answer."""
    with closing(NodeClient(socket)) as client:
        answer = client.get(path, **query)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print(view, answer)
    return answer


def _act(path: str, body: dict[str, Any], socket: Path, as_json: bool) -> None:
    """Ask the node to act and print how it is then."""
    with closing(NodeClient(socket)) as client:
        answer = client.post(path, body)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print("update", answer)


def _print(view: str, answer: dict[str, Any]) -> None:
    from rich.console import Console

    from fruitd.cli import render

    Console(highlight=False).print(getattr(render, view)(answer))
