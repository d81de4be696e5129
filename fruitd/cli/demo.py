"""`fruit demo`: the whole life of four releases on this machine, and of the boards that power it, in about two minutes."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fruitd.cli.stack_picture import stack
from fruitd.demo.screen import Screen
from fruitd.demo.story import Report, Story

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_S = 0.1
HELP = """Run real daemons on loopback: sign, spread, boot, keep, roll back.

Five nodes, each with two slot files and a boot chooser in place of firmware, in bays of emulated PiStack boards; the
machine that has the boards' bus, and the maintainers' own: all as ordinary processes of yours. Nothing outside a temporary
folder is touched; multicast stays on loopback.

Example: fruit demo --image rootfs.ext4
"""


def demo(
    nodes: Annotated[
        int, typer.Option(min=2, max=16, help="How many nodes, beside publisher and latecomer.")
    ] = 5,
    image: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="An ext4 image of yours as release 1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON (docs/api.md).")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the folder with images, states and logs.")] = False,
) -> None:
    console = Console(stderr=as_json)
    # A short path: a Unix socket's name may have 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="fruit-demo-"))
    _end_with_signals()
    try:
        with Screen(console, quiet=as_json, draw=stack) as screen:
            report = Story(directory, screen, nodes=nodes, image=image).run()
    except KeyboardInterrupt:
        if not keep:
            shutil.rmtree(directory)
        raise
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=1))
    else:
        _print_report(console, report)
    if keep or not report.ok:
        console.print(f"images, states and logs are in {directory}")
    else:
        shutil.rmtree(directory)
    raise typer.Exit(0 if report.ok else 1)


demo.__doc__ = HELP


def _end_with_signals() -> None:
    for number in (*ENDS, signal.SIGALRM):
        signal.signal(number, _end)
    sys.unraisablehook = _again


def _again(dropped: sys.UnraisableHookArgs) -> None:
    """A signal that comes while Python is in a callback of its own, as when it imports, ends that callback and nothing else."""
    if dropped.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    else:
        sys.__unraisablehook__(dropped)


def _end(*_: object) -> NoReturn:
    """Whoever ends the demo, its nodes are switched off: they are in sessions of their own, and would run on for ever."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave half of them
    raise KeyboardInterrupt


def _print_report(console: Console, report: Report) -> None:
    if report.nodes:
        console.print(_nodes_table(report))
    for check in report.checks:
        mark = "[green]yes[/green]" if check.ok else "[red]NO [/red]"
        console.print(f"{mark}  {check.what}: {check.found}", highlight=False)
    verdict = "everything happened as promised" if report.ok else "something did not happen"
    console.print(f"{verdict}, in {report.took_s:.0f} s", highlight=False)


def _nodes_table(report: Report) -> Table:
    table = Table(
        title="release 3: where the bytes came from", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("node")
    for heading in ("image", "reused", "fetched"):
        table.add_column(f"{heading} MiB", justify="right")
    table.add_column("from")
    table.add_column("quarantined")
    for row in report.nodes:
        sizes = [f"{row[key] / 2**20:.1f}" for key in ("image_bytes", "reused_bytes", "fetched_bytes")]
        sources = ", ".join(f"{s['name']} {s['bytes'] / 2**20:.1f}" for s in row["sources"] if s["bytes"])
        table.add_row(row["name"], *sizes, sources, ", ".join(f"release {n}" for n in row["quarantined"]))
    return table
