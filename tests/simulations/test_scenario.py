"""A scenario read wrongly would try something else than what its author meant, and nobody would see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fruitd.errors import UsageError
from simulations.world.images import Behaviour
from simulations.world.scenario import (
    BUILT_IN,
    CutPlan,
    ReleasePlan,
    Scenario,
    load_scenario,
    random_scenario,
    random_stack_scenario,
    scaled,
)

FULL = """
name = "two releases"
nodes = 30
sites = 4
translated_sites = 2
loss = 0.05
publisher_leaves = true

[[releases]]
at_s = 20.0

[[releases]]
at_s = 90.0
behaviour = "unhealthy"

[[cuts]]
kind = "flap"
at_s = 50
for_s = 30
"""


def test_a_file_says_everything(tmp_path: Path) -> None:
    """Part of a scenario would silently be the default."""
    path = tmp_path / "s.toml"
    path.write_text(FULL)
    assert load_scenario(path) == Scenario(
        name="two releases",
        nodes=30,
        sites=4,
        translated_sites=2,
        loss=0.05,
        publisher_leaves=True,
        releases=(ReleasePlan(20.0), ReleasePlan(90.0, Behaviour.UNHEALTHY)),
        cuts=(CutPlan("flap", 50.0, 30.0),),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes = 0", "nodes"),
        ("los = 0.1", "los"),
        ("loss = 2.0", "loss"),
        ("nodes = ", "s.toml"),
        ("sites = 20\nnodes = 12", "more sites than nodes"),
        ("translated_sites = 3", "site 0"),
        ("symmetric_sites = 2", "more sites are symmetric"),
        ("liars = 12", "no ordinary node"),
        ("publisher_leaves = true\ncontacts = 1", "only contact"),
        ('[[cuts]]\nkind = "sideways"', "cuts"),
        ("[[releases]]\nat_s = 1e9", "after faults_s"),
        ("[[releases]]\npublisher = 12", "publisher"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    """A typing error would run a scenario nobody asked for."""
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_scenario(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The user would see a traceback."""
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        load_scenario(tmp_path / "nowhere.toml")


def test_random_scenarios_are_a_function_of_the_seed_and_varied() -> None:
    """A failing seed could not be told again, or the sweep would try one thing three hundred times."""
    many = [random_scenario(seed) for seed in range(300)]
    assert many == [random_scenario(seed) for seed in range(300)]
    assert {s.liars > 0 for s in many} == {s.power_cuts > 0 for s in many} == {True, False}
    assert {cut.kind for s in many for cut in s.cuts} == {"site", "half", "flap"}
    # What hangs for good is for stacks only, whose scenarios have seeds of their own: nothing else brings a node back.
    assert {r.behaviour for s in many for r in s.releases} == set(Behaviour) - {Behaviour.HANGS_FOR_GOOD}
    stacks = [random_stack_scenario(seed) for seed in range(20)]
    assert Behaviour.HANGS_FOR_GOOD in {r.behaviour for s in stacks for r in s.releases}
    assert any(s.translated_sites and s.publisher_leaves for s in many)
    assert any(s.shut_in_sites and s.publisher_leaves for s in many)


def test_built_in_scenarios_can_be_scaled() -> None:
    """`fruit sim run --scenario storm --nodes 100` would be refused."""
    for scenario in BUILT_IN.values():
        if not scenario.stack_boards:
            assert scaled(scenario, nodes=100, sites=7).nodes == 100
    symmetric = Scenario(nodes=8, sites=8, translated_sites=3, symmetric_sites=3)
    assert scaled(symmetric, sites=2).symmetric_sites == 1


def test_a_stack_has_no_more_nodes_than_bays() -> None:
    """Nodes without power would be counted among those that have to converge."""
    with pytest.raises(UsageError, match="more nodes than bays"):
        scaled(BUILT_IN["stack"], nodes=100)
