"""`fruit testbed`: real daemons, or rivals of theirs, in a network that a file describes."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import evolve
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fruitd.errors import UsageError
from simulations.plot import FORMATS
from simulations.testbed.plan import TOOLS, Plan, load_plan
from simulations.testbed.plot import plot_sites
from simulations.testbed.report import Report, headline, table
from simulations.testbed.runner import Watcher, run_plan

app = typer.Typer(
    help="Spread an image over sites of network namespaces, with real daemons. Needs root.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _testbed() -> None:
    """Spread an image over sites of network namespaces, with real daemons. Needs root."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A TOML file; see docs/testbed.md.")],
    tool: Annotated[
        list[str] | None, typer.Option(help=f"Instead of the file's; again for more: {', '.join(TOOLS)}.")
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Of each tool, instead of the file's.")] = None,
    image_mib: Annotated[int | None, typer.Option(help="Size of the image, instead of the file's.")] = None,
    logs: Annotated[Path | None, typer.Option(file_okay=False, help="A folder for every node's log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help=f"Draw how the image spread in each site: {', '.join(FORMATS)}.")
    ] = None,
) -> None:
    """Run what a file describes, and say what it cost and how long it took.

    Exit code 1 if a node that lived did not get the image over fruitd.

    Example: fruit testbed run simulations/testbed/scenarios/sites.toml --runs 3 --plot sites.png
    """
    if plot is not None and plot.suffix not in FORMATS:
        raise UsageError(f"{plot} does not end in {', '.join(FORMATS)}")
    plan = _chosen(load_plan(file), tool, runs, image_mib)
    console = Console(stderr=True)
    # What ends a process in order ends it here as Ctrl-C does: the network is taken down on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _Screen(console, quiet=as_json or not console.is_terminal, plan=plan) as screen:
        report = run_plan(plan, screen, logs)
    if plot is not None:
        plot_sites(report, plot)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        show(report, Console())
    raise typer.Exit(0 if report.ok else 1)


def _chosen(plan: Plan, tools: list[str] | None, runs: int | None, image_mib: int | None) -> Plan:
    changes: dict[str, Any] = {}
    if tools:
        unknown = [name for name in tools if name not in TOOLS]
        if unknown:
            raise UsageError(f"there is no tool {unknown[0]!r}; allowed: {', '.join(TOOLS)}")
        changes["tools"] = tuple(tools)
    if runs is not None:
        changes["runs"] = runs
    if image_mib is not None:
        changes["image_mib"] = image_mib
    try:
        return evolve(plan, **changes)
    except ValueError as error:
        raise UsageError(str(error.args[0])) from error


def show(report: Report, console: Console) -> None:
    """The report for a person."""
    console.print(headline(report.plan), highlight=False)
    console.print(table(report))
    for tool in report.plan.tools:
        if len(report.of(tool)) > 1:
            each = ", ".join("-" if r.took_s is None else f"{r.took_s:.1f}" for r in report.of(tool))
            console.print(f"{tool}, each run: {each} s", style="dim", highlight=False)
    for run_result in report.runs:
        for at_s, what in run_result.faults:
            console.print(f"{run_result.tool}, {at_s:.1f} s: {what}", style="dim", highlight=False)
        for words in run_result.trouble:
            console.print(words, style="red", markup=False)
        behind = [node.name for node in run_result.nodes if node.done_s is None and not node.killed]
        if behind:
            console.print(f"{run_result.tool}: without the image: {', '.join(behind)}", style="red")
        wrong = [node.name for node in run_result.nodes if node.done_s is not None and not node.intact]
        if wrong:
            console.print(f"{run_result.tool}: a wrong image: {', '.join(wrong)}", style="red")


class _Screen(Watcher):
    """Bars on a terminal, one a site; lines elsewhere; nothing but lines on stderr when quiet."""

    def __init__(self, console: Console, *, quiet: bool, plan: Plan) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=quiet)
        self._tasks: dict[str, TaskID] = {
            site.name: self._progress.add_task(site.name, total=1.0) for site in plan.expanded_sites()
        }

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def say(self, words: str) -> None:
        """See `Watcher`."""
        print(words, file=sys.stderr, flush=True) if self._progress.disable else self._console.print(
            words, highlight=False
        )

    def shares(self, now_s: float, held: Mapping[str, float]) -> None:
        """See `Watcher`."""
        for site, share in held.items():
            self._progress.update(self._tasks[site], completed=share)
