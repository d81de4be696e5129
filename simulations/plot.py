"""How a release spread, as a picture: the share of nodes over time."""

from __future__ import annotations

from pathlib import Path

from fruitd.errors import RefusedError, UsageError
from simulations.world.report import Report, Spread

FORMATS = (".png", ".svg", ".pdf")


def plot_spread(report: Report, path: Path) -> None:
    """Draw the way of each release's manifest, and of the release itself, into `path`.

    Raises UsageError for a format that cannot be drawn, RefusedError where matplotlib (extra `sim`) is missing or the file cannot
    be written.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path} does not end in {', '.join(FORMATS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RefusedError("plots need matplotlib: pip install 'fruitd[sim]'") from error
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, release in enumerate(report.releases):
        color = f"C{number % 10}"
        name = f"release {release.release} ({release.behaviour})"
        axes.step(
            *curve(release.manifest),
            where="post",
            color=color,
            linestyle=":",
            label=f"{name}: manifest heard",
        )
        axes.step(*curve(release.installed), where="post", color=color, label=f"{name}: running")
    axes.set(
        xlabel="virtual seconds after publishing",
        ylabel="share of nodes",
        ylim=(0, 1.02),
        title=f"{report.scenario}, seed {report.seed}: {report.nodes} nodes in {report.sites} sites",
    )
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    try:
        figure.savefig(path)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}") from error


def curve(spread: Spread) -> tuple[list[float], list[float]]:
    """Times in seconds and, from each on, the share of nodes reached, 0 to 1."""
    shares = [(number + 1) / spread.of for number in range(len(spread.delays_s))]
    return [0.0, *spread.delays_s], [0.0, *shares]
