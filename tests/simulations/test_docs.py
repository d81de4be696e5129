"""The documented scenario would be refused by the command it is documented for."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields

from simulations.world.scenario import BUILT_IN, Scenario, load_scenario

PAGE = Path(__file__).parents[2] / "docs" / "simulations.md"


def test_the_documented_scenario_loads_and_names_every_field(tmp_path: Path) -> None:
    """A field nobody can find would not be used."""
    page = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, flags=re.S)
    path = tmp_path / "documented.toml"
    path.write_text(block, encoding="utf-8")
    assert load_scenario(path).nodes == 60
    for name in (f.name for f in fields(Scenario)):
        assert re.search(rf"^\[{{0,2}}{name}\b", block, flags=re.M), name


def test_the_documented_built_in_scenarios_are_those_there_are() -> None:
    """The page would send people to a scenario that does not exist."""
    (sentence,) = re.findall(r"Built in: (.*?)In a file", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert set(re.findall(r"`([a-z -]+)`", sentence)) == set(BUILT_IN)
