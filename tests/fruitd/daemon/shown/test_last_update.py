"""What an update took, from its beginning to its end: if it failed, joules would be lost, or be those of another update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from attrs import evolve

from fruitd.daemon.moving.origins import Origins
from fruitd.daemon.shown.last_update import LastUpdate
from fruitd.power.energy import Used
from fruitd.state.node_state import NodeState
from fruitd.updater.journal import Journal, SlotContent, State, Target

BEGAN_S = 1_800_000_000.0
NEW = Target("r", 2, "2026.2", ("pi",), 1000, "ab" * 32, "cd" * 32, 100, "ef" * 32)
OLD = evolve(NEW, release=1, version="2026.1", infohash="12" * 32)


class Host:
    """As much of a daemon as is asked, on a real state; its clock is calendar time 100 s after steady time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = BEGAN_S - 100
        self.journal = Journal(State.VERIFYING, target=NEW, target_slot="b")
        self.running: Used | None = None
        self.start()
        self.jobs.origins = Origins(NEW.infohash, self.now_s)

    def start(self) -> None:
        """Again, after what was before."""
        self.state = NodeState(self.folder)
        self.time = SimpleNamespace(now_s=lambda: self.now_s, wall_s=lambda: self.now_s + 100, clock_ok=True)
        self.core = SimpleNamespace(updater=SimpleNamespace(journal=self.journal))
        self.boot_facts = SimpleNamespace(active="b")
        self.jobs = SimpleNamespace(origins=None)
        self.view = SimpleNamespace(sources=lambda _: [])
        self.power = SimpleNamespace(update_used=lambda: self.running)
        daemon: Any = self
        self.last_update = LastUpdate(daemon)

    async def on_disk(self, write: Callable[..., object], *arguments: Any) -> None:
        write(*arguments)

    def restart(self, state: State, **changes: Any) -> None:
        self.state.close()
        self.go(state, **changes)
        self.start()

    def go(self, state: State, **changes: Any) -> None:
        self.journal = evolve(self.journal, state=state, **changes)
        self.core.updater.journal = self.journal

    def over(self, joules: float, known_s: float, idle_w: float | None = None) -> None:
        trio.run(self.last_update.over, Used(joules, known_s, idle_w))

    def lines(self) -> list[tuple[str, int]]:
        return [(line["why"], line["release"]) for line in self.state.history() if line["what"] == "energy"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.now_s += 20
    trio.run(host.last_update.whole, NEW)
    return host


def committed(host: Host) -> None:
    slots: dict[str, SlotContent | None] = {"a": SlotContent(OLD, True), "b": SlotContent(NEW, True)}
    host.go(State.COMMITTED, slots=slots)


def test_the_energy_of_an_update_is_told_with_it_over_two_restarts(host: Host) -> None:
    """Whoever asks after the trial boot, or a day later, would be told nothing; or that all of it was measured."""
    host.restart(State.TRIAL)
    host.now_s += 80
    committed(host)
    assert host.last_update.as_json() is not None
    assert host.last_update.as_json()["energy"] is None  # type: ignore[index]
    host.over(412.0, 94.0, 2.0)
    told = {"energy_j": 412.0, "measured_s": 94.0, "above_idle_j": 224.0, "measured_share": 0.94}
    words = "the update took 412 J in 1 min 34 s, 224 J more than idle; measured 94 % of the time"
    for _ in range(2):
        account = host.last_update.as_json()
        assert account is not None
        assert (account["energy"], account["began_at_s"], account["took_s"]) == (told, BEGAN_S, 20.0)
        assert host.last_update.energy() is None  # told once
        assert host.lines() == [(words, 2)]
        host.restart(State.COMMITTED)


def test_what_goes_on_and_what_was_not_kept_is_told_with_the_present_update(host: Host) -> None:
    """Nobody could look while it draws; or what a bad release drew would be nowhere but in the history."""
    assert host.last_update.energy() is None
    host.running = Used(40.0, 10.0)
    told = {"energy_j": 40.0, "measured_s": 10.0, "above_idle_j": None, "measured_share": 0.5}
    assert host.last_update.energy() == told
    host.running = None
    host.restart(State.QUARANTINED)
    host.over(50.0, 12.0)
    assert (host.last_update.energy() or {})["energy_j"] == 50.0
    host.go(State.QUARANTINED, target=OLD)
    assert host.last_update.energy() is None


def test_a_clock_that_is_not_set_tells_no_share(host: Host) -> None:
    """After a boot without a clock an update would be called measured whole that was measured in part."""
    host.restart(State.TRIAL)
    host.time.clock_ok = False
    host.over(50.0, 12.0)
    assert host.lines() == [("the update took 50 J in 12 s", 2)]


def test_an_update_that_is_held_has_a_line_of_its_own_and_goes_on(host: Host) -> None:
    """The joules of the whole would be those of its first half."""
    host.go(State.WAITING)
    host.over(50.0, 20.0)
    assert host.lines() == [("the update is held and took so far 50 J in 20 s", 2)]
    assert host.last_update.energy() is None
    committed(host)
    host.over(30.0, 20.0)
    account = host.last_update.as_json()
    assert account is not None
    assert account["energy"]["energy_j"] == 30.0


def test_a_way_back_is_not_what_the_update_took(host: Host) -> None:
    """What a rollback and the way back drew would be told as what it took to install."""
    committed(host)
    host.over(412.0, 20.0)
    host.now_s += 86_400
    host.restart(State.COMMITTED)
    host.over(30.0, 20.0)
    account = host.last_update.as_json()
    assert account is not None
    assert account["energy"]["energy_j"] == 412.0
    assert host.lines()[-1] == ("the update took 30 J in 20 s", 2)


def test_an_account_of_a_daemon_of_before_is_read(host: Host) -> None:
    """The first update that brings this would end the daemon, or the account of the last one be lost."""
    host.state.set_meta("last update", b'{"infohash": "%s", "took_s": 20}' % NEW.infohash.encode())
    committed(host)
    host.restart(State.COMMITTED)
    account = host.last_update.as_json()
    assert account is not None
    assert (account["energy"], account["began_at_s"], account["took_s"]) == (None, None, 20)
    host.over(30.0, 20.0)
    assert host.lines() == [("the update took 30 J in 20 s", 2)]
