"""The documented file would be refused by the command it is documented for."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields

from simulations.testbed.faults import Fault
from simulations.testbed.plan import TOOLS, Plan, SitePlan, load_plan

PAGE = Path(__file__).parents[3] / "docs" / "testbed.md"


def test_the_documented_file_loads_and_names_every_field(tmp_path: Path) -> None:
    """A field nobody can find would not be used."""
    page = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, flags=re.S)
    path = tmp_path / "documented.toml"
    path.write_text(block, encoding="utf-8")
    plan = load_plan(path)
    assert len(plan.expanded_sites()) == 4
    assert plan.helper is not None
    for kind in (Plan, SitePlan, Fault):
        for name in (field.name for field in fields(kind)):
            assert re.search(rf"^\[{{0,2}}{name}\b", block, flags=re.M), name
    for tool in TOOLS:
        assert tool in page
