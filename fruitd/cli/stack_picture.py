"""How a stack of boards looks on a terminal. What is shown may have come from a peer: it is made safe first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from fruitd.amounts import duration, line, moment

Json = dict[str, Any]
WIDTH = 78
"""Of a board whose bays stand side by side; on a narrower terminal one stands below the other."""
EVENTS_SHOWN = 8
OLD_S = 3600.0
"""Readings older than this are shown with their age."""


BEATS, LOST, OFF, NOT_READ = range(4)
_MARKS = (("♥", "green"), ("✗", "bold red"), ("○", "dim"), ("?", "yellow"))
_MARKS_ASCII = "+xo?"


def stack(answer: Json) -> RenderableType:
    """Every stack that the node is told of: boards and bays as they stand, then what happened last."""
    return _Picture(answer)


@frozen
class _Picture:
    """Fits the terminal on which it is shown."""

    answer: Json

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        answer = self.answer
        for each in answer["stacks"]:
            yield _heading(each)
            for board in reversed(each["boards"]):
                yield _board(board, options)
        if not answer["stacks"]:
            yield Text("no node tells of a stack of boards; docs/hardware.md says how one is wired")
        if answer["own"]["trouble"]:
            yield Text(line(answer["own"]["trouble"]), style="red")
        elif answer["own"].get("bus_waits"):
            yield Text(f"turns and switching wait: {line(answer['own']['bus_waits'])}", style="yellow")
        if answer["learning"] is not None:
            asked = line(answer["learning"])[:8]
            yield Text(f"{asked} is asked to pause its heartbeat, to see which bay it is")
        for event in answer["events"][-EVENTS_SHOWN:]:
            yield _event(event)


def _heading(each: Json) -> Text:
    bays = [bay for board in each["boards"] for bay in board["bays"]]
    watts = [bay["bay_w"]["value"] for bay in bays if bay["bay_w"]["quality"] == "good"]
    powered = sum(bay["powered"] is True for bay in bays)
    beating = sum(bay["heartbeat"] is True and bay["powered"] is True for bay in bays)
    who = line(each["owner_name"]) or line(each["owner"])[:8]
    words = f"stack {line(each['name'])}  bus at {who}{' (this node)' if each['self'] else ''}"
    figures = f"  {powered} of {len(bays)} bays on, {beating} beat"
    return Text(words, style="bold").append(
        figures + (f", {sum(watts):.1f} W" if watts else ""), style="default"
    )


def _board(board: Json, options: ConsoleOptions) -> RenderableType:
    figures = _figures(board, ("input_v", "V"), ("input_a", "A"), ("input_w", "W"))
    title = Text(
        f"board {board['address']}  {figures}"
        if board["present"]
        else f"board {board['address']}  does not answer"
    )
    if not board["present"]:
        title.stylize("red")
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.ROUNDED,
        show_header=False,
        width=min(options.max_width, WIDTH),
        padding=(0, 1),
    )
    bays = [_bay(bay, ascii_only=options.ascii_only) for bay in board["bays"]]
    rows = [bays] if options.max_width >= WIDTH else [[bay] for bay in bays]
    for _ in rows[0]:
        table.add_column(ratio=1, overflow="fold")
    for row in rows:
        table.add_row(*row, end_section=True)
    return table


def _bay(bay: Json, *, ascii_only: bool) -> RenderableType:
    return Text("\n").join(
        [
            _who(bay, ascii_only),
            _runs(bay),
            Text(_figures(bay, ("bay_v", "V"), ("bay_a", "A"), ("bay_w", "W"))),
            *_notes(bay),
        ]
    )


def _who(bay: Json, ascii_only: bool) -> Text:
    """Heart, bay and node; what is not known is a question mark."""
    on = NOT_READ if bay["heartbeat"] is None else BEATS if bay["heartbeat"] else LOST
    state = OFF if bay["powered"] is False else on
    mark, style = _MARKS[state]
    heart = Text(f"{_MARKS_ASCII[state] if ascii_only else mark} ", style=style)
    name = line(bay["name"]) or (line(bay["node"])[:8] if bay["node"] else "nobody known")
    heart.append(f"{bay['bay']} ", style="dim").append(name, style="bold")
    if bay["powered"] is False:
        heart.append("  off", style="dim")
    elif bay["heartbeat"] is False:
        heart.append(f"  silent for {duration(bay['silent_s'])}", style="red")
    return heart


def _runs(bay: Json) -> Text:
    if bay["release"] is None:
        return Text("release not known", style="dim")
    version = f" ({line(bay['version'])})" if bay["version"] else ""
    return Text(f"release {bay['release']}{version}").append(f"  {line(bay['state'] or '')}", style="dim")


def _notes(bay: Json) -> list[Text]:
    notes = []
    if bay["doing"] and not (bay["doing"] == "off" and bay["powered"] is False):  # as its first line says
        notes.append(Text(line(bay["doing"]), style="bold yellow"))
    if bay["why"]:
        notes.append(Text(line(bay["why"]), style="yellow"))
    if bay["supply"]:
        notes.append(Text(line(bay["supply"]), style="red"))
    if bay["turn"]:
        notes.append(Text("its turn to update", style="cyan"))
    if bay["last_update_j"] is not None:
        notes.append(
            Text(f"last update: {bay['last_update_j']} J in {duration(bay['last_update_s'])}", style="dim")
        )
    if bay["age_s"] > OLD_S:
        notes.append(Text(f"as of {duration(bay['age_s'])} ago", style="dim"))
    return notes


def _figures(row: Json, *named: tuple[str, str]) -> str:
    shown = []
    for name, unit in named:
        figure = row[name]
        if figure["value"] is None:
            shown.append(f"- {unit}")
        else:
            shown.append(
                f"{figure['value']:.2f} {unit}"
                + ("" if figure["quality"] == "good" else f" ({line(figure['quality'])})")
            )
    return "  ".join(shown)


def _event(event: Json) -> Text:
    return Text(f"{moment(event['at_s'])}  ", style="dim").append(line(event["why"]), style="default")


def heart(power: Json | None) -> Text:
    """A node's heart and supply in a word or two, for the list of nodes."""
    if power is None:
        return Text("-", style="dim")
    if power["undervoltage"]:
        return Text("low supply", style="bold red")
    words = {"none": "-", "beating": "♥", "silent": "✗ unwell", "paused": "♥ paused"}
    beat = line(words.get(power["heartbeat"], power["heartbeat"]))
    style = "red" if power["heartbeat"] == "silent" or not power["well"] else ""
    if power["throttled"]:
        return Text(f"{beat} throttled", style="yellow")
    hot = power["celsius"]
    return Text(beat if hot is None else f"{beat} {hot:.0f} °C", style=style)
