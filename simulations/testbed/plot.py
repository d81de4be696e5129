"""How an image spread in each site over time, as a picture."""

from __future__ import annotations

from pathlib import Path

from fruitd.errors import RefusedError
from simulations.testbed.report import Report, headline


def plot_sites(report: Report, path: Path) -> None:
    """Draw the share of the image that each site holds over time: a panel a tool, the last run of each.

    Raises RefusedError where matplotlib (extra `sim`) is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RefusedError("plots need matplotlib: pip install 'fruitd[sim]'") from error
    tools = [tool for tool in report.plan.tools if report.of(tool)]
    figure = Figure(figsize=(8, 2.2 + 1.3 * len(tools)), layout="constrained")
    sites = [site.name for site in report.plan.expanded_sites()]
    panels = figure.subplots(len(tools), 1, sharex=True, squeeze=False)
    for row, tool in enumerate(tools):
        axes, run = panels[row][0], report.of(tool)[-1]
        for number, site in enumerate(sites):
            curve = run.place(site).curve
            axes.plot(
                [t for t, _ in curve],
                [s for _, s in curve],
                color=f"C{number % 10}",
                label=site,
                linewidth=1.2,
            )
        axes.axvline(report.plan.bound_s, color="grey", linestyle=":", linewidth=1.0)
        for at_s, _ in run.faults:
            axes.axvline(at_s, color="red", linestyle="--", linewidth=0.8)
        axes.set(ylabel=tool, ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    # To where the first tool is done: one that takes twenty times as long would squeeze all others into a line.
    first = [at_s for place in report.of(tools[0])[-1].places for at_s, _ in place.curve]
    panels[0][0].set_xlim(0, 1.05 * max(first, default=1.0))
    panels[-1][0].set_xlabel(
        "seconds; dotted: the bound" + ("; dashed: faults" if report.plan.faults else "")
    )
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(sites)), fontsize="small")
    figure.suptitle(headline(report.plan), fontsize=8, wrap=True)
    try:
        figure.savefig(path, dpi=90)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}") from error
