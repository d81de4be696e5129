"""A testbed file that is misread measures something else than its author meant."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulations.testbed
from fruitd.errors import UsageError
from simulations.testbed.faults import Fault, Target
from simulations.testbed.plan import decode_plan, load_plan

SCENARIOS = sorted((Path(simulations.testbed.__file__).parent / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_files_that_figures_name_can_be_run(file: Path) -> None:
    """Nobody could repeat a figure of docs/performance.md."""
    plan = load_plan(file)
    assert plan.name == file.stem
    assert plan.bound_s > 0


def test_everything_of_a_file_arrives() -> None:
    """A rate, a fault or a translator would silently be another."""
    plan = decode_plan(
        {
            "image_mib": 8,
            "publisher": {"up_mbit_per_s": 3, "nat": "cone"},
            "helper": {"up_mbit_per_s": 1},
            "sites": [
                {"repeat": 2, "nodes": 2, "nat": "double", "subnet": "192.168.1.0/24", "loss": 0.3},
                {"name": "cafe", "isolated": True, "delay_ms": 50, "nat": "none"},
            ],
            "faults": [
                {"do": "kill", "target": "s1/gateway", "when": {"site": "s1", "share": 0.5}},
                {"do": "swap", "target": "cafe/1", "other": "cafe/2", "after_s": 3},
            ],
        },
        "a test",
    )
    assert [(p.name, p.nodes, p.nat) for p in plan.places()] == [
        ("publisher", 1, "cone"),
        ("helper", 1, "none"),
        ("s1", 2, "double"),
        ("s2", 2, "double"),
        ("cafe", 6, "none"),
    ]
    assert plan.expanded_sites()[1].subnet == "192.168.1.0/24"
    assert plan.expanded_sites()[2].isolated
    assert plan.faults[0].target == Target("s1", gateway=True)
    assert plan.faults[1] == Fault("swap", Target("cafe", 1), 3.0, other=Target("cafe", 2))


WRONG = [
    ({}, "sites"),
    ({"sites": []}, "sites"),
    ({"sites": [{}], "colour": 1}, "colour"),
    ({"sites": [{"nodez": 3}]}, "nodez"),
    ({"sites": [{"nodes": 0}]}, "nodes"),
    ({"sites": [{"nat": "tight"}]}, "nat"),
    ({"sites": [{"loss": 1.0}]}, "loss"),
    ({"sites": [{"up_mbit_per_s": 0}]}, "up_mbit_per_s"),
    ({"sites": [{"name": "a b"}]}, "is no name of a place"),
    ({"sites": [{"name": "x"}, {"name": "x"}]}, "two places have the same name"),
    ({"sites": [{"subnet": "192.168.1.0/24"}]}, "every node has a public address"),
    ({"sites": [{"subnet": "8.8.8.0/24", "nat": "cone"}]}, "no private /24"),
    ({"sites": [{"nodes": 100, "repeat": 2}]}, "more than 120 nodes"),
    ({"sites": [{}], "publisher": {"nat": "cone"}}, "add [helper]"),
    ({"sites": [{}], "helper": {"nat": "cone"}}, "the helper has to be reachable"),
    ({"sites": [{}], "tools": ["rsync"]}, "rsync"),
    ({"sites": [{}], "faults": [{"do": "kill", "target": "s1"}]}, "needs a node"),
    ({"sites": [{}], "faults": [{"do": "kill", "target": "s9/1"}]}, "there is no place"),
    ({"sites": [{}], "faults": [{"do": "kill", "target": "s1/7"}]}, "has 6 nodes"),
    ({"sites": [{}], "faults": [{"do": "kill", "target": "s1/boss"}]}, "is no target"),
    ({"sites": [{}], "faults": [{"do": "slow", "target": "s1"}]}, "mbit_per_s"),
    ({"sites": [{}], "faults": [{"do": "swap", "target": "s1/1"}]}, "other"),
    ({"sites": [{}], "faults": [{"do": "burn", "target": "s1/1"}]}, "burn"),
]


@pytest.mark.parametrize(("table", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_cannot_be_meant_is_refused_with_the_file_and_the_reason(
    table: dict[str, object], words: str
) -> None:
    """A slip of the pen would cost an hour of measuring the wrong thing."""
    with pytest.raises(UsageError) as refused:
        decode_plan(table, "plan.toml")
    assert words in str(refused.value)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    """A traceback would be all that a researcher sees."""
    file = tmp_path / "plan.toml"
    file.write_text("sites = [")
    with pytest.raises(UsageError, match=r"plan\.toml"):
        load_plan(file)
    with pytest.raises(UsageError, match="absent"):
        load_plan(tmp_path / "absent.toml")
