"""A researcher or a CI job that runs `fruit sim` would be told the wrong thing, or nothing."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulations.cli import app
from simulations.world.world import World

SCENARIO = """
name = "tiny"
nodes = 3
sites = 1
translated_sites = 0
image_blocks = 8
faults_s = 40
start_spread_s = 1
releases = [{ at_s = 15.0 }]
quick = true
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(SCENARIO)
    return str(path)


def test_run_tells_a_script_everything(scenario: str) -> None:
    """Scripts would have to read tables."""
    result = CliRunner().invoke(app, ["run", "--scenario", scenario, "--seed", "5", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["schema"] == 1
    assert report["ok"] is True
    assert report["releases"][0]["installed"]["reached"] == 3
    assert report["times_real_time"] > 1
    again = CliRunner().invoke(app, ["run", "--scenario", scenario, "--seed", "5", "--json"])
    assert json.loads(again.stdout)["trace"] == report["trace"]


def test_run_tells_a_person(scenario: str) -> None:
    """Nobody would see how a release spread."""
    result = CliRunner().invoke(app, ["run", "--scenario", scenario])
    assert result.exit_code == 0, result.output
    assert "tiny, seed 1: 3 nodes in 1 sites" in result.stdout
    assert "running it" in result.stdout
    assert "all agreed at" in result.stdout


def test_a_run_that_fails_ends_with_1(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI would be green over a swarm that never converged."""

    def cut_off(self: World) -> bool:
        self.network.set_sides({2: (1,)})
        return False

    monkeypatch.setattr("simulations.world.checker.Checker.has_violations", lambda self: False)
    honest = World.__init__

    def broken(self: World, *args: object, **kwargs: object) -> None:
        honest(self, *args, **kwargs)  # type: ignore[arg-type]
        self.heap.at(1.0, cut_off, self)

    monkeypatch.setattr(World, "__init__", broken)
    result = CliRunner().invoke(app, ["run", "--scenario", scenario])
    assert result.exit_code == 1
    assert "node 2" in result.stdout


def test_replay_tells_the_story_of_one_node(scenario: str) -> None:
    """A failing seed could not be looked into."""
    result = CliRunner().invoke(app, ["replay", "5", "--scenario", scenario, "--node", "1", "--until", "20"])
    assert result.exit_code == 0, result.output
    assert " n1 " in result.stdout
    assert " n2 " not in result.stdout
    assert "release" in result.stdout
    assert "20.0 virtual seconds" in result.stdout
    assert "  send " not in result.stdout
    packets = CliRunner().invoke(
        app, ["replay", "5", "--scenario", scenario, "--node", "1", "--until", "20", "--packets"]
    )
    assert "  send " in packets.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--scenario", "nowhere.toml"], "nowhere.toml"),
        (["run", "--nodes", "2", "--sites", "5"], "more sites than nodes"),
        (["run", "--loss", "1.5"], "loss"),
        (["replay", "5", "--scenario", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(arguments: list[str], says: str) -> None:
    """The user would see a traceback."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_the_fruit_command_finds_it() -> None:
    """`fruit sim` would be an unknown command."""
    (found,) = [e for e in entry_points(group="fruit.commands") if e.name == "sim"]
    assert found.load() is app
