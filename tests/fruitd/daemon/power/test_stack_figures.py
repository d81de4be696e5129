"""From sweeps to answers: if it failed, history would be lost at each restart, or a full disk disturb what matters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import fruitd.daemon.power.stack_figures as stack_figures
import fruitd.state.reserve as reserve
from fruitd.daemon.power.stack_figures import POINTS_MAX, StackFigures
from fruitd.power.averages import QUARTER_S
from fruitd.power.seen import BaySeen
from fruitd.state.node_state import NodeState
from swarm.power import BAYS, Place
from tests.fruitd.power.bench import A, Rig, figures

BEGINS_S = 1_800_000_000.0


class Host:
    """As much of a daemon as is asked, on a real state, and its clock."""

    def __init__(self, folder: Path, boards: int = 1) -> None:
        self.now_s = BEGINS_S
        self.state = NodeState(folder)
        self.time = SimpleNamespace(now_s=lambda: self.now_s, wall_s=lambda: self.now_s)
        self.config = SimpleNamespace(
            node=SimpleNamespace(state_dir=folder),
            stack=SimpleNamespace(name="rack", boards=tuple(range(boards))),
        )
        self.power = SimpleNamespace(
            owner=None,
            own=SimpleNamespace(owns=True),
            trouble="",
            name_of=lambda node_id: "ada" if node_id == A else "",
        )
        daemon: Any = self
        self.figures = StackFigures(daemon)
        self.bays = [
            BaySeen(Place(board, bay), True, True, True, figures())
            for board in range(boards)
            for bay in range(BAYS)
        ]

    def sweep_for(self, seconds: float) -> None:
        """Once a minute, on an event loop of its own."""

        async def sweeps() -> None:
            ends_s = self.now_s + seconds
            while self.now_s < ends_s:
                self.now_s += 60.0
                await self.figures.swept(self.bays, self.now_s)

        trio.run(sweeps)

    def history(self, hours: int = 1, place: Place | None = None, points: int = 24) -> dict[str, Any]:
        found: dict[str, Any] = trio.run(self.figures.history, hours, place, points)
        json.dumps(found, allow_nan=False)
        return found

    def watched_s(self) -> float:
        return sum(bay["watched_s"] for bay in self.history()["bays"])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.state.close()


def test_each_quarter_is_written_and_the_last_one_at_the_end(host: Host, tmp_path: Path) -> None:
    """Whatever restarts the daemon would cost a quarter of an hour, or all of it."""
    host.sweep_for(QUARTER_S - 60)
    assert host.history()["bays"] == []
    host.sweep_for(3 * 60)
    assert host.watched_s() == 2 * (QUARTER_S - 60)
    host.figures.save_at_end()
    host.figures.save_at_end()
    assert host.watched_s() == 2 * (QUARTER_S + 60)
    host.state.close()
    again = Host(tmp_path)
    again.now_s = host.now_s + 30.0
    again.sweep_for(5 * 60)
    again.figures.save_at_end()
    assert again.watched_s() == 2 * (QUARTER_S + 60 + 4 * 60)
    again.state.close()


def test_the_answer_says_who_sits_there_and_adds_up(host: Host) -> None:
    """Watts would stand beside the wrong node, or the sum be another one than that of its parts."""
    rig = Rig()
    rig.sweep()
    host.power.owner = rig.owner
    host.sweep_for(3 * 3600)
    answer = host.history(6)
    assert (answer["stack"], answer["owns"], answer["span_s"]) == ("rack", True, QUARTER_S)
    assert answer["until_s"] - answer["since_s"] == 6 * 3600
    one, other = answer["bays"]
    assert (one["bay"], one["node"], one["name"]) == ("0:0", A.hex(), "ada")
    assert (other["bay"], other["name"]) == ("0:1", "")
    assert one["energy_j"] == pytest.approx(sum(point["energy_j"] for point in one["points"]), abs=1)
    assert one["energy_j"] == pytest.approx(2.0 * one["measured_s"], rel=1e-3)
    assert [p["at_s"] % QUARTER_S for p in one["points"]] == [0] * len(one["points"])
    alone = host.history(6, Place(0, 1))
    assert [bay["bay"] for bay in alone["bays"]] == ["0:1"]


@pytest.mark.parametrize(
    ("hours", "points"), [(1, 1), (1, 24), (24, 24), (25, 24), (8784, 1344), (336, 1344)]
)
def test_an_answer_is_bounded_whatever_is_asked(tmp_path: Path, hours: int, points: int) -> None:
    """One question could take all the memory of a small Pi."""
    host = Host(tmp_path, boards=16)
    for place in (None, Place(0, 0)):
        answer = host.history(hours, place, points)
        spans = (answer["until_s"] - answer["since_s"]) // answer["span_s"]
        assert spans <= min(points, POINTS_MAX // (1 if place else 32))
        assert answer["since_s"] <= host.now_s - hours * 3600 + QUARTER_S
        assert answer["span_s"] % QUARTER_S == 0
        assert answer["until_s"] > host.now_s
    host.state.close()


def test_a_full_disk_costs_the_figures_only_and_is_told_once(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is nice to have would take the room that the journal needs, or fill the log about it."""
    room = SimpleNamespace(f_bavail=10, f_frsize=4096)
    with monkeypatch.context() as full, capture_logs() as logs:
        (tmp_path / "reserve").unlink()
        full.setattr(reserve.os, "statvfs", lambda _: room)
        host.sweep_for(4 * QUARTER_S)
        assert not (tmp_path / "figures.db").exists()
        assert host.history()["trouble"] == "the disk is full"
        assert [entry["why"] for entry in logs] == ["the disk is full"]
    host.sweep_for(QUARTER_S)
    assert host.history()["trouble"] == ""
    assert host.watched_s() == 2 * QUARTER_S


def test_a_file_that_cannot_be_written_does_not_stop_the_sweeps(host: Host, tmp_path: Path) -> None:
    """A broken file of figures would end the daemon, or the care for its bays."""
    (tmp_path / "figures.db").mkdir()
    with capture_logs() as logs:
        host.sweep_for(3 * QUARTER_S)
        host.figures.save_at_end()
    assert len(logs) == 1
    assert "figures.db cannot be used" in logs[0]["why"]
    (tmp_path / "figures.db").rmdir()
    with capture_logs() as logs:
        host.sweep_for(QUARTER_S)
    assert logs == []
    assert host.watched_s() > 0


def test_damage_is_told(host: Host, tmp_path: Path) -> None:
    """Two weeks would be gone, and nobody know why."""
    host.sweep_for(2 * QUARTER_S)
    (tmp_path / "figures.db").write_bytes(b"no database" * 1000)
    with capture_logs() as logs:
        assert host.history()["bays"] == []
    assert [entry["event"] for entry in logs] == ["history of the bays begun anew"]
    assert "figures.db was damaged" in logs[0]["why"]


def test_nothing_is_written_on_the_event_loop(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow card would stop the node's heart for as long as it takes."""
    threads: list[bool] = []
    real = StackFigures._write

    def write(self: StackFigures, rows: list[Any]) -> None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            threads.append(True)
        else:
            threads.append(False)
        real(self, rows)

    monkeypatch.setattr(stack_figures.StackFigures, "_write", write)
    host.sweep_for(3 * QUARTER_S)
    assert threads
    assert all(threads)
