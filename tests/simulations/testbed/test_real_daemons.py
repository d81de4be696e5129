"""Real daemons in the testbed, in its short form: a site downloads once, also on bad days. Full sizes: docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import evolve
from typer.testing import CliRunner

import simulations.testbed
from simulations.testbed.cli import app
from simulations.testbed.plan import Plan, load_plan
from simulations.testbed.report import RunResult
from simulations.testbed.runner import Watcher, run_plan

pytestmark = [pytest.mark.root, pytest.mark.swarm]
SCENARIOS = Path(simulations.testbed.__file__).parent / "scenarios"
ONCE = 1.4
"""Images into a site. 1.05 is the floor; of a small image the torrent, and what is under way when a gateway dies, are a larger
part than in the table. Every node for itself would be 3.1, and half of them 1.6."""


def run_of(plan: Plan) -> RunResult:
    """One run, which has to give every living node the right image."""
    report = run_plan(plan, Watcher())
    (run,) = report.runs
    assert report.ok, (run.trouble, [n for n in run.nodes if not n.intact])
    return run


def copies_into(run: RunResult, plan: Plan) -> Mapping[str, float]:
    """Site -> images that crossed its line."""
    return {site.name: run.place(site.name).in_bytes / plan.image_bytes for site in plan.expanded_sites()}


def test_the_short_form_as_a_researcher_runs_it(tmp_path: Path) -> None:
    """A site whose gateway dies would fetch the image for each of its nodes, or not at all; or the command would not say so."""
    picture, logs = tmp_path / "spread.png", tmp_path / "logs"
    command = ["run", str(SCENARIOS / "short.toml"), "--json", "--plot", str(picture), "--logs", str(logs)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["schema"] == 1
    (run,) = report["runs"]
    assert run["complete"]
    assert [fault["what"].split(" (")[0] for fault in run["faults"]] == ["kill s1/gateway"]
    assert [node["killed"] for node in run["nodes"]].count(True) == 1
    assert all(node["intact"] for node in run["nodes"] if not node["killed"])
    for place in run["places"]:
        if place["name"] != "publisher":
            assert place["in_copies"] <= ONCE, place["name"]
            assert place["curve"][-1][1] == 1.0
    assert run["took_s"] >= report["bound_s"]
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert len(list(logs.rglob("*.log"))) == 7


def test_two_sites_with_the_same_private_addresses() -> None:
    """Two sites behind home routers would take each other's nodes for their own, and download once for each node."""
    plan = evolve(load_plan(SCENARIOS / "same-addresses.toml"), image_mib=4)
    run = run_of(plan)
    assert max(copies_into(run, plan).values()) <= ONCE
