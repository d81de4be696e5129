"""How the history of bays looks on a terminal. Names came from peers: they are made safe first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from fruitd.amounts import duration, energy, line, moment

Json = dict[str, Any]
WIDTH = 78
"""Of a line for a bay; on a narrower terminal it takes several."""
LEVELS, LEVELS_ASCII = "▁▂▃▄▅▆▇█", "_.-:=+*#"
NOT_MEASURED, NOT_MEASURED_ASCII = "·", " "


def bays(answer: Json) -> RenderableType:
    """What each bay drew, and how it fared."""
    return _Bays(answer)


def bay_over_time(answer: Json, bay: str) -> RenderableType:
    """One bay, a line for each span of time."""
    return _OverTime(answer, bay)


@frozen
class _Bays:
    """Fits the terminal on which it is shown."""

    answer: Json

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        answer = self.answer
        yield from _heading(answer)
        rows = answer["bays"]
        if not rows:
            yield from _nothing(answer, f"stack {line(answer['stack'])}")
            return
        highest = max(
            (p["watts_mean"] for row in rows for p in row["points"] if p["watts_mean"]), default=0.0
        )
        bars = [_bar(answer, row["points"], highest, options) for row in rows]
        if options.max_width >= WIDTH:
            yield _wide(rows, bars)
        else:
            for row, bar in zip(rows, bars, strict=True):
                yield from _narrow(row, bar)
        yield Text(f"a column is {duration(answer['span_s'])}, a full one {highest:.2f} W", style="dim")
        yield from _measured(answer, max(row["measured_s"] for row in rows))


def _wide(rows: Sequence[Json], bars: Sequence[Text]) -> Table:
    table = _table("bay", "node", "mean W", "most W", "least V", "heart", "energy", "watts over time")
    table.columns[1].ratio = 1
    for row, bar in zip(rows, bars, strict=True):
        table.add_row(line(row["bay"]), Text(_who(row)), *_figures(row, _SHORT), bar)
    return table


def _narrow(row: Json, bar: Text) -> Iterator[RenderableType]:
    mean, most, least, heart, joules = _figures(row, _SHORT)
    yield Text(f"{line(row['bay'])} ", style="dim").append(_who(row), style="bold")
    yield Text(f"{mean} W, at most {most} W; at least {least} V")
    yield Text(f"heart {heart}, energy {joules}")
    yield bar


@frozen
class _OverTime:
    """Fits the terminal on which it is shown."""

    answer: Json
    bay: str

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        answer = self.answer
        row = next((row for row in answer["bays"] if row["bay"] == self.bay), None)
        yield from _heading(answer)
        if row is None:
            yield from _nothing(answer, f"bay {line(self.bay)}")
            return
        yield Text(f"bay {line(row['bay'])}  ", style="dim").append(_who(row), style="bold")
        columns = next(columns for width, columns in _COLUMNS if options.max_width >= width)
        table = _table("from", *columns)
        for point in _without_gaps(answer, row["points"]):
            table.add_row(_when(point["at_s"]), *_figures(point, columns))
        table.add_section()
        table.add_row("in all", *_figures(row, columns), style="bold")
        yield table
        yield from _measured(answer, row["measured_s"])


_SHORT = ("mean W", "most W", "least V", "heart", "energy")
_ALL = ("mean W", "most W", "mean V", "least V", "mean A", "power", "heart", "energy")
_COLUMNS = ((68, _ALL), (48, _SHORT), (0, ("mean W", "heart")))
"""What is shown of one bay from which width on."""
_FIELDS = {
    "mean W": "watts_mean",
    "most W": "watts_max",
    "mean V": "volts_mean",
    "least V": "volts_min",
    "mean A": "amperes_mean",
}


def _figures(row: Json, columns: Sequence[str]) -> list[str]:
    """What was never measured is a dash."""
    shares = {"power": row["powered_share"], "heart": row["beat_share"]}
    made = []
    for column in columns:
        if column == "energy":
            made.append("-" if row["energy_j"] is None else energy(row["energy_j"]))
        elif column in shares:
            made.append("-" if shares[column] is None else _percent(shares[column]))
        else:
            value = row[_FIELDS[column]]
            made.append("-" if value is None else f"{value:.2f}")
    return made


def _percent(share: float) -> str:
    """Never 100 where something was missing, never 0 where there was something."""
    whole = round(100 * share)
    return f"{min(max(whole, int(share > 0)), 100 - int(share < 1))} %"


def _bar(answer: Json, points: Sequence[Json], highest: float, options: ConsoleOptions) -> Text:
    """A column for each span, from 0 to the highest mean of any bay."""
    levels, nothing = (LEVELS_ASCII, NOT_MEASURED_ASCII) if options.ascii_only else (LEVELS, NOT_MEASURED)
    watts = {point["at_s"]: point["watts_mean"] for point in points}
    bar = ""
    for at_s in range(answer["since_s"], answer["until_s"], answer["span_s"]):
        value = watts.get(at_s)
        share = value / highest if value is not None and highest > 0 else 0.0
        bar += nothing if value is None else levels[min(int(share * len(levels)), len(levels) - 1)]
    return Text(bar, style="cyan")


def _without_gaps(answer: Json, points: Sequence[Json]) -> Iterator[Json]:
    """Every span from the first that was measured to the last."""
    known = {point["at_s"]: point for point in points}
    for at_s in range(points[0]["at_s"], points[-1]["at_s"] + 1, answer["span_s"]):
        yield known.get(at_s) or {
            **dict.fromkeys((*_FIELDS.values(), "powered_share", "beat_share", "energy_j")),
            "at_s": at_s,
        }


def _heading(answer: Json) -> Iterator[RenderableType]:
    since, until = _when(answer["since_s"]), _when(answer["until_s"])
    yield Text(f"stack {line(answer['stack'])}", style="bold").append(
        f"  {since} to {until}", style="default"
    )
    if answer["trouble"]:
        yield Text(line(answer["trouble"]), style="red")
    elif not answer["owns"]:
        yield Text("another node has the bus now: fruit stack show", style="yellow")


def _nothing(answer: Json, what: str) -> Iterator[RenderableType]:
    hours = duration(answer["until_s"] - answer["since_s"])
    yield Text(
        f"nothing was measured of {what} in {hours}: what sweeps find is written every quarter of an hour, "
        "the first time when the daemon has had the bus for so long"
    )


def _measured(answer: Json, measured_s: float) -> Iterator[RenderableType]:
    """How much of the time the figures are about."""
    yield Text(
        f"measured for {duration(measured_s)} of {duration(answer['until_s'] - answer['since_s'])}",
        style="dim",
    )


def _who(row: Json) -> str:
    return line(row["name"]) or (line(row["node"])[:8] if row["node"] else "-")


def _when(at_s: float) -> str:
    """Month, day, hour and minute."""
    return moment(at_s)[5:16] or "?"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for heading in headings:
        left = heading in ("bay", "node", "from", "watts over time")
        table.add_column(
            heading, justify="left" if left else "right", no_wrap=heading != "node", overflow="fold"
        )
    return table
