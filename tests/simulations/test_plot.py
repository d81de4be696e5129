"""The picture of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from fruitd.errors import UsageError
from simulations.plot import curve, plot_spread
from simulations.world.report import spread
from simulations.world.scenario import BUILT_IN
from simulations.world.world import World


def test_a_curve_rises_to_the_share_that_was_reached() -> None:
    """A picture would show a release as everywhere though some nodes never got it."""
    times_s, shares = curve(spread([4.0, 1.0, 2.5], of=4))
    assert times_s == [0.0, 1.0, 2.5, 4.0]
    assert shares == [0.0, 0.25, 0.5, 0.75]
    assert curve(spread([], of=4)) == ([0.0], [0.0])


def test_a_run_is_drawn(tmp_path: Path) -> None:
    """`fruit sim run --plot` would leave nothing, or something no program can show."""
    scenario = evolve(BUILT_IN["one release"], nodes=6, sites=2)
    plot_spread(World(scenario, 1).run(), tmp_path / "spread.png")
    assert (tmp_path / "spread.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_format_that_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A run of an hour would end in an error about its file name."""
    report = World(evolve(BUILT_IN["one release"], nodes=6, sites=2), 1).run(until_s=10.0)
    with pytest.raises(UsageError, match=r"does not end in \.png"):
        plot_spread(report, tmp_path / "spread.jpeg2000")
    assert not list(tmp_path.iterdir())
