"""The pictures of the table, for docs/states.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from fruitd.updater import events as on
from fruitd.updater.journal import State
from fruitd.updater.table import ROWS, TABLE, Row


def _name(state: State) -> str:
    return state.replace(" ", "_")


def diagram(shown: Callable[[Row], bool]) -> str:
    """A mermaid state diagram of the moves in the rows that are shown; the events that make one move stand in one line."""
    moves: dict[tuple[State, State], list[str]] = {}
    for row in ROWS:
        for before in row.states if shown(row) else ():
            for after in row.follows:
                if after is not before:
                    moves.setdefault((before, after), []).append(row.event.__name__)
    order = list(State)
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    lines += [f'    state "{s}" as {_name(s)}' for s in State if " " in s]
    for (before, after), events in sorted(
        moves.items(), key=lambda m: (order.index(m[0][0]), order.index(m[0][1]))
    ):
        lines.append(f"    {_name(before)} --> {_name(after)}: {', '.join(dict.fromkeys(events))}")
    return "\n".join(lines) + "\n"


def matrix() -> str:
    """The whole table in Markdown: a row for each event, a column for each state."""
    lines = ["| event | " + " | ".join(State) + " |", "|---" * (len(State) + 1) + "|"]
    for event in get_args(on.Event):
        cells = [TABLE[state, event].handler for state in State]
        lines.append(f"| {event.__name__} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page_blocks() -> str:
    """What docs/states.md holds between its two marks."""
    running = diagram(lambda row: row.event is not on.Started)
    starting = diagram(lambda row: row.event is on.Started)
    return (
        f"While the daemon runs:\n\n```mermaid\n{running}```\n\n"
        f"When the daemon starts (at boot, or again within one):\n\n```mermaid\n{starting}```\n\n{matrix()}"
    )
