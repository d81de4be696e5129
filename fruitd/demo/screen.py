"""What the demo shows while it runs: one line a node, and what has happened so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fruitd.demo.cluster import NodeProcess

MIB = 1024 * 1024
REFRESH_S = 0.4
_WIDTHS = (10, 12, 12, 16)
_STATE_STYLE = {
    "committed": "green", "idle": "green", "trial": "yellow", "quarantined": "red", "rolled back": "red",
    "refused": "red", "fetching": "cyan", "reusing": "cyan", "verifying": "cyan",
}  # fmt: skip


class Screen:
    """A live table on a terminal; plain lines elsewhere; nothing when `quiet`."""

    def __init__(
        self, console: Console, *, quiet: bool, draw: Callable[[dict[str, Any]], RenderableType] = str
    ) -> None:
        """`draw`: makes a picture of a stack."""
        self._draw = draw
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._lines: list[str] = []
        self._nodes: list[NodeProcess] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._drawn_s = 0.0
        self._began_s = time.monotonic()

    def __enter__(self) -> Screen:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def watch(self, nodes: Sequence[NodeProcess]) -> None:
        """From now on show these nodes."""
        self._nodes = list(nodes)

    def say(self, line: str) -> None:
        """Something happened."""
        stamped = f"{time.monotonic() - self._began_s:5.1f} s  {line}"
        self._lines.append(stamped)
        if self._live is None and not self._quiet:
            self._console.print(stamped, highlight=False)
        self.tick(force=True)

    def picture(self, node: NodeProcess) -> None:
        """Show the stack of boards as this node, which has its bus, sees it now."""
        answer = node.get("/v1/stack")
        if answer is None or self._quiet:
            return
        drawn = self._draw(answer | {"events": []})
        if self._live is not None:
            self._live.console.print(drawn)
        else:
            self._console.print(drawn, highlight=False)

    def tick(self, *, force: bool = False) -> None:
        """Ask the nodes again and redraw, if it is time."""
        if self._live is None or (not force and time.monotonic() - self._drawn_s < REFRESH_S):
            return
        for node in self._nodes:
            status = node.get("/v1/status") if node.running else None
            if status is not None:
                self._seen[node.name] = status
        self._live.update(Group(Text("\n".join(self._lines[-14:])), Text(), self._table()), refresh=True)
        self._drawn_s = time.monotonic()

    def _table(self) -> Table:
        table = Table(expand=True, pad_edge=False, box=None)
        for heading, width in zip(("node", "runs", "state", ""), _WIDTHS, strict=True):
            table.add_column(heading, width=width, no_wrap=True)
        table.add_column("what it says", no_wrap=True, overflow="ellipsis")
        for node in self._nodes:
            table.add_row(*self._row(node))
        return table

    def _row(self, node: NodeProcess) -> tuple[Any, ...]:
        status = self._seen.get(node.name)
        if not node.running:
            return (node.name, "", Text("off", style="dim"), "", "")
        if status is None:
            return (node.name, "", Text("starting", style="dim"), "", "")
        update = status["update"]
        active = status["slots"]["active"]
        content = status["slots"][active] if active else {"version": None}
        runs = f"{active}: {content['version'] or 'factory'}" if active else "no slots"
        state = Text(update["state"], style=_STATE_STYLE.get(update["state"], ""))
        # Cropped here: a long line would make the table squeeze every other column.
        words = Text(update["why"], no_wrap=True)
        words.truncate(max(20, self._console.width - sum(_WIDTHS) - 8), overflow="ellipsis")
        return (node.name, runs, state, self._bar(update), words)

    @staticmethod
    def _bar(update: dict[str, Any]) -> Any:
        progress = update.get("progress")
        if not progress:
            return ""
        return ProgressBar(total=progress["image_bytes"], completed=progress["have_bytes"], width=16)
