"""`fruit watch`: an update as it happens, until the person has seen enough."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from fruitd.amounts import line
from fruitd.cli import render
from fruitd.cli.client import NodeClient
from fruitd.errors import RefusedError, RetryError

Json = dict[str, Any]
RETRY_S = 0.5
RESTART_TRIES = 240
"""Two minutes: longer than a board takes to restart into a trial."""


def view(answer: Json) -> RenderableType:
    """One moment of a node: what it does, how far it is, who gives it what."""
    node, doing = answer["node"], answer["update"]
    head = Text(line(node["name"]), style="bold")
    head.append(f"  {line(node['id'])[:12]}  {answer['peers']['heard']} peers heard", style="dim")
    parts: list[RenderableType] = [head, render.update(answer)]
    done = doing["progress"]
    if done is not None:
        parts += [Text(""), render.sources(doing["sources"], done["reused_bytes"])]
    parts += [Text(""), Text("Ctrl-C ends the watch, not the update", style="dim")]
    return Group(*parts)


def through_restarts(
    connect: Callable[[], NodeClient], pause: Callable[[float], object]
) -> Iterator[Json | None]:
    """Statuses of a node across restarts of its daemon; None while it is away.

    The first connection has to succeed; after that a node that is away for `RESTART_TRIES` tries is given up.
    """
    tries, met = 0, False
    while True:
        client = connect()
        try:
            for answer in client.watch():
                tries, met = 0, True
                yield answer
        except (RefusedError, RetryError):
            tries += 1
            if not met or tries > RESTART_TRIES:
                raise
            yield None
        finally:
            client.close()
        pause(RETRY_S)


def show(connect: Callable[[], NodeClient], console: Console, *, as_json: bool) -> None:
    """Show a node until interrupted: live on a terminal, otherwise a line for every change of state."""
    answers = through_restarts(connect, threading.Event().wait)
    try:
        if as_json:
            for answer in answers:
                if answer is not None:
                    typer.echo(json.dumps(answer))
        elif console.is_terminal:
            _live(answers, console)
        else:
            _changes(answers)
    except KeyboardInterrupt:
        pass


def _live(answers: Iterator[Json | None], console: Console) -> None:
    last: RenderableType = Text("")
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for answer in answers:
            if answer is None:
                live.update(
                    Group(last, Text("the daemon is away; waiting for it", style="yellow")), refresh=True
                )
            else:
                last = view(answer)
                live.update(last, refresh=True)


def _changes(answers: Iterator[Json | None]) -> None:
    said = ""
    for answer in answers:
        if answer is None:
            words = "the daemon is away; waiting for it"
        else:
            doing = answer["update"]
            named = f" {render.release(doing)}" if doing["release"] is not None else ""
            words = f"{line(doing['state'])}{named}: {line(doing['why'])}"
        if words != said:
            typer.echo(words)
            said = words
