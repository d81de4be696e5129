"""`fruit sim`: run the real node in a simulated swarm, and replay a run event by event."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from attrs import evolve
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fruitd.errors import FruitError, UsageError
from simulations.plot import FORMATS, plot_spread
from simulations.world.report import Report, Spread
from simulations.world.scenario import BUILT_IN, Scenario, load_scenario, random_scenario, scaled
from simulations.world.world import World

app = typer.Typer(help="Run the real node in simulated swarms.", no_args_is_help=True, add_completion=False)

ScenarioOption = Annotated[
    str | None,
    typer.Option(
        "--scenario", help=f"A TOML file, or one of: {', '.join(BUILT_IN)}. See docs/simulations.md."
    ),
]


@app.command()
def run(
    scenario: ScenarioOption = None,
    nodes: Annotated[int | None, typer.Option(help="Number of nodes.")] = None,
    sites: Annotated[int | None, typer.Option(help="Number of sites (LANs).")] = None,
    seed: Annotated[int, typer.Option(help="Decides everything that is left to chance.")] = 1,
    loss: Annotated[float | None, typer.Option(help="Share of datagrams lost between sites.")] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Virtual seconds before the faults stop; then it runs until all agree."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help=f"Draw how the releases spread: {', '.join(FORMATS)}.")
    ] = None,
) -> None:
    """Run one scenario and say what became of it.

    Exit code 1 if anything happened that never may, or if the swarm did not converge.

    Example: fruit sim run --nodes 200 --sites 10 --seed 7 --loss 0.05 --plot spread.png
    """
    try:
        chosen = _chosen(scenario, nodes, sites, loss, duration)
        if plot is not None and plot.suffix not in FORMATS:
            raise UsageError(f"{plot} does not end in {', '.join(FORMATS)}")
    except FruitError as error:
        _refuse(str(error))
    began = time.monotonic()
    report = _run_with_progress(World(chosen, seed), quiet=as_json)
    wall_s = time.monotonic() - began
    if plot is not None:
        try:
            plot_spread(report, plot)
        except FruitError as error:
            _refuse(str(error))
    if as_json:
        figures = {
            "wall_s": round(wall_s, 3),
            "times_real_time": round(report.virtual_s / max(wall_s, 1e-9), 1),
        }
        typer.echo(json.dumps(report.as_dict() | figures))
    else:
        show(report, wall_s, Console())
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def replay(
    seed: Annotated[int, typer.Argument(help="The seed to tell the story of.")],
    scenario: ScenarioOption = None,
    nodes: Annotated[int | None, typer.Option(help="As in the run.")] = None,
    sites: Annotated[int | None, typer.Option(help="As in the run.")] = None,
    loss: Annotated[float | None, typer.Option(help="As in the run.")] = None,
    duration: Annotated[float | None, typer.Option(help="As in the run.")] = None,
    until: Annotated[float | None, typer.Option(help="Stop at this virtual second.")] = None,
    node: Annotated[int | None, typer.Option(help="Only what concerns this node.")] = None,
    packets: Annotated[bool, typer.Option(help="Also every datagram and stream.")] = False,
) -> None:
    """Print what happened in the run of a seed, event by event.

    Without --scenario or --nodes it is the small random scenario of that seed, as the tests run it.

    Example: fruit sim replay 4711 --node 3 --until 200
    """
    try:
        is_random = scenario is None and nodes is None
        chosen = random_scenario(seed) if is_random else _chosen(scenario, nodes, sites, loss, duration)
    except FruitError as error:
        _refuse(str(error))
    world = World(chosen, seed, keep_trail=True, only_node=node)
    report = world.run(until_s=until)
    for line in world.trace.lines:
        if packets or line.what not in ("send", "dial"):
            typer.echo(str(line))
    for wrong in (*report.violations, *report.unsettled):
        typer.echo(wrong)
    typer.echo(f"trace {report.trace}, {report.events} events, {report.virtual_s:.1f} virtual seconds")
    raise typer.Exit(0 if report.ok else 1)


def _chosen(
    name: str | None, nodes: int | None, sites: int | None, loss: float | None, duration: float | None
) -> Scenario:
    """The scenario that the options describe; raises `UsageError`."""
    scenario = BUILT_IN["one release"]
    if name is not None:
        scenario = BUILT_IN[name] if name in BUILT_IN else load_scenario(Path(name))
    try:
        if nodes is not None or sites is not None:
            scenario = scaled(scenario, nodes=nodes, sites=sites)
        if loss is not None:
            scenario = evolve(scenario, loss=loss)
        return evolve(scenario, faults_s=duration) if duration is not None else scenario
    except ValueError as error:
        raise UsageError(str(error.args[0])) from error


def _refuse(why: str) -> None:
    typer.echo(f"fruit sim: {why}", err=True)
    raise typer.Exit(2)


def _run_with_progress(world: World, *, quiet: bool) -> Report:
    console = Console(stderr=True)
    if quiet or not sys.stderr.isatty():
        return world.run()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("faults", total=world.scenario.faults_s)

        def tell(now_s: float) -> None:
            stopped = now_s >= world.scenario.faults_s
            what = "until all agree" if stopped else "releases and faults"
            progress.update(task, completed=now_s, description=f"{what}, {now_s:,.0f} virtual s")

        return world.run(tell=tell)


def show(report: Report, wall_s: float, console: Console) -> None:
    """The report for a person."""
    ratio = report.virtual_s / max(wall_s, 1e-9)
    console.print(
        f"{report.scenario}, seed {report.seed}: {report.nodes} nodes in {report.sites} sites, "
        f"{report.virtual_s:,.0f} virtual s in {wall_s:.1f} s ({ratio:,.0f} x real time), {report.events:,} events"
    )
    table = Table("release", "reached", "how many", "half", "99 %", "all", caption="seconds after publishing")
    for r in report.releases:
        for what, value in (("its manifest", r.manifest), ("running it", r.installed)):
            table.add_row(f"{r.release} ({r.behaviour}), at {r.published_at_s:.0f} s", what, *_cells(value))
    console.print(table)
    console.print(
        f"control traffic {report.control_bytes_per_node_s:,.0f} B/s a node; images "
        f"{report.image_bytes / 2**20:,.1f} MiB moved, {report.image_bytes_between_sites / 2**20:,.1f} MiB of it "
        f"between sites; {report.strikes} kills and power cuts"
    )
    for what, why, count in report.refused:
        console.print(f"refused {count} times: {what}: {why}", style="dim")
    console.print(f"trace {report.trace}", style="dim")
    if report.settled_at_s is not None:
        console.print(f"all agreed at {report.settled_at_s:,.0f} s", style="green")
    for wrong in (*report.violations, *report.unsettled):
        console.print(wrong, style="red", markup=False)


def _cells(value: Spread) -> tuple[str, str, str, str]:
    def seconds(at_s: float | None) -> str:
        return "-" if at_s is None else f"{at_s:.1f}"

    return f"{value.reached} of {value.of}", seconds(value.p50_s), seconds(value.p99_s), seconds(value.max_s)
