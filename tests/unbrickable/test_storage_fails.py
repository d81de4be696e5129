"""If one of these failed, a disk that is full, broken, read-only or lying would cost a node its system, or what it knows of it.

The updater runs on the real state (SQLite in a folder), whose every statement can be made to fail in the ways a file system
fails; the machine around it is the model that checks at each effect what must never happen.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from fruitd.errors import RetryError
from fruitd.state.node_state import NodeState
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import State
from tests.fruitd.updater.machine_model import Behaviour, Machine, target, with_release

R1, R2, R3 = target(1), target(2), target(3)
GOOD, SICK, DEAD = Behaviour(), Behaviour(healthy=False), Behaviour(boots=False)
WAY_TO_TRIAL = (State.OFFERED, State.REUSING, State.FETCHING, State.VERIFYING, State.ARMED, State.REBOOTING)
"""Each is saved by itself; beginning to wait is saved with the offer."""
FAULTS = {
    "ENOSPC": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "EIO": (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),
    "EROFS": (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
}


@define
class Medium:
    """Counts the statements that write, and fails those it is told to."""

    fails_from: int = 10**9
    fails_times: int = 0
    kind: str = "ENOSPC"
    lies: bool = False
    """The write is done, and said not to be."""
    seen: int = 0

    def fails(self, sql: str) -> bool:
        """Is this statement one of those?"""
        if sql.startswith(("PRAGMA", "SELECT", "ROLLBACK")):
            return False
        self.seen += 1
        return self.fails_from < self.seen <= self.fails_from + self.fails_times

    def error(self) -> sqlite3.OperationalError:
        """As SQLite says it."""
        code, words = FAULTS[self.kind]
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        return error


class Faulty:
    """A database connection on such a medium."""

    def __init__(self, db: sqlite3.Connection, medium: Medium) -> None:
        self._db = db
        self._medium = medium

    def execute(self, sql: str, *values: Any) -> Any:
        if self._medium.fails(sql):
            if self._medium.lies and sql == "COMMIT":
                self._db.execute(sql)
            raise self._medium.error()
        return self._db.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> Any:
        if self._medium.fails(sql):
            raise self._medium.error()
        return self._db.executemany(sql, rows)

    def close(self) -> None:
        self._db.close()


@define
class OnDisk(Machine):
    """The model's machine with its journal in a real state folder."""

    state: NodeState | None = None
    medium: Medium = field(factory=Medium)

    def open(self, folder: Path) -> None:
        """Put the state there."""
        self.state = NodeState(folder)
        self.state._db.execute("PRAGMA synchronous=OFF")
        self.state._db = Faulty(self.state._db, self.medium)  # type: ignore[assignment]

    def start_daemon(self) -> None:
        if self.state is not None:
            row = self.state._db.execute("SELECT document FROM journal").fetchone()
            if row is not None:
                from fruitd.state.journal_codec import decode_journal

                self.journal = self.state._journal = decode_journal(row[0])  # what a new daemon reads
        super().start_daemon()

    def _do_save_journal(self, effect: do.SaveJournal) -> None:
        assert self.state is not None
        before = self.journal
        try:
            self.state.save_journal(effect.journal)
        except RetryError as error:
            self.journal = before
            if self.medium.lies and effect.journal.trial_passed and self._sustained():
                self.passed[self.active] = True  # it was saved after all, and it is true
            self.todo = self.updater.journal_not_saved(effect.journal, str(error), self.now_s)
            return
        super()._do_save_journal(effect)

    def _do_note(self, effect: do.Note) -> None:
        super()._do_note(effect)
        if self.state is not None:
            self.state.add_history(self.now_s, effect.what, effect.why)


@contextmanager
def node(folder: Path, behaviour: Behaviour) -> Iterator[OnDisk]:
    """A machine that runs release 1, and may be offered release 2."""
    machine = OnDisk(random.Random(1))
    machine.open(folder)
    try:
        machine.boot()
        machine.run()
        with_release(machine, R1)
        assert machine.runs(R1)
        machine.behaviours[R2.infohash] = behaviour
        machine.medium.seen = 0
        machine.carried_out = 0
        yield machine
    finally:
        assert machine.state is not None
        machine.state.close()


def statements(folder: Path, behaviour: Behaviour) -> int:
    """How many statements an undisturbed update writes with."""
    with node(folder, behaviour) as machine:
        with_release(machine, R2, behaviour)
        return machine.medium.seen


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("behaviour", [GOOD, SICK, DEAD], ids=["good", "unhealthy", "does not boot"])
def test_every_write_fails_once_or_for_a_while(tmp_path: Path, kind: str, behaviour: Behaviour) -> None:
    """A full, broken or read-only disk at the wrong moment would brick the node, or let a bad release in again and again.

    Every statement that an update writes with fails: once, or with the nine that follow.
    """
    count = statements(tmp_path / "count", behaviour)
    assert count > 30
    states = set()
    for at in range(count):
        for times in (1, 10):
            with node(tmp_path / f"{at}-{times}", behaviour) as machine:
                machine.medium.fails_from, machine.medium.fails_times, machine.medium.kind = at, times, kind
                machine.feed(on.Offered(R2))
                while machine.medium.seen <= at and (machine.step() or machine.tick()):
                    pass
                states.add(machine.updater.journal.state)
                assert machine.content["a"] != "torn" or machine.content["b"] != "torn"
                machine.run()
                assert machine.runs(R2 if behaviour is GOOD else R1), (at, times, machine.updater.describe())
                if behaviour is not GOOD:
                    assert machine.journal.quarantine_of(R2.infohash) is not None
                    assert machine.trial_boots[R2.infohash] <= machine.settings.max_attempts
                assert machine.state is not None
                machine.state.flush()  # as the daemon does every few minutes
                assert machine.state.trouble is None, "it would go on to say that the disk is full"
    assert {*WAY_TO_TRIAL, *((State.TRIAL,) if behaviour.boots else ())} <= states


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("crash", ["kill", "power_cut"])
def test_a_failed_write_and_then_a_crash(tmp_path: Path, kind: str, crash: str) -> None:
    """What a node goes back to after a write that failed would not stand a power cut; the write may have been done after all."""
    count = statements(tmp_path / "count", GOOD)
    for at in range(count):
        for lies in (False, True):
            with node(tmp_path / f"{at}-{lies}", GOOD) as machine:
                medium = machine.medium
                medium.fails_from, medium.fails_times, medium.kind, medium.lies = at, 3, kind, lies
                machine.feed(on.Offered(R2))
                while medium.seen <= at and (machine.step() or machine.tick()):
                    pass
                getattr(machine, crash)()
                if machine.journal.target != R2:
                    machine.feed(on.Offered(R2))
                machine.run()
                assert machine.runs(R2), (at, lies, machine.updater.describe())


def test_a_disk_that_stays_read_only_keeps_the_old_system(tmp_path: Path) -> None:
    """A node with a worn-out card would try things it cannot remember. It says why, and goes on when the card is changed."""
    for at in range(0, statements(tmp_path / "count", GOOD), 3):
        with node(tmp_path / str(at), GOOD) as machine:
            medium = machine.medium
            medium.fails_from, medium.fails_times, medium.kind = at, 10**9, "EROFS"
            machine.feed(on.Offered(R2))
            for _ in range(400):
                if not machine.step() and not machine.tick():
                    break
            assert machine.bootable(machine.default)
            assert machine.trial_boots[R2.infohash] <= 1
            assert any("readonly database" in note.why for note in machine.notes)
            medium.fails_times = 0
            machine.run()
            assert machine.runs(R2), (at, machine.updater.describe())


def _snapshot(machine: Machine) -> Callable[[], None]:
    """What is on the medium now; calling it puts that back, as a card does that had only pretended to write."""
    journal, default, armed = machine.journal, machine.default, machine.armed
    tables = ("content", "read_back", "passed", "ran_since_read_back", "trial_boots")
    kept = {name: getattr(machine, name).copy() for name in tables}
    succeeded = set(machine.succeeded)

    def back() -> None:
        machine.journal, machine.default, machine.armed = journal, default, armed
        for name, table in kept.items():
            setattr(machine, name, table)
        machine.succeeded = succeeded

    return back


@pytest.mark.parametrize("behaviour", [GOOD, SICK], ids=["good", "unhealthy"])
def test_a_card_that_lies_about_flushing(behaviour: Behaviour) -> None:
    """A cheap card says that all is written, and loses the last of it when the power goes: the node would not find back.

    At every effect the power goes, and everything of up to eight effects before is lost, in order.
    """
    for lost in (1, 2, 3, 5, 8):
        for at in range(200):
            machine = Machine(random.Random(1))
            machine.boot()
            machine.run()
            with_release(machine, R1)
            machine.behaviours[R2.infohash] = behaviour
            machine.feed(on.Offered(R2))
            pasts = [_snapshot(machine)]
            boots, end = machine.boots, machine.carried_out + at
            while machine.carried_out < end and (machine.step() or machine.tick()):
                if machine.boots != boots:
                    boots, pasts = (
                        machine.boots,
                        [],
                    )  # an orderly restart takes longer than any card keeps its lie
                pasts = [*pasts, _snapshot(machine)][-lost - 1 :]
            pasts[0]()
            machine.power_cut()
            if machine.journal.target != R2:
                machine.feed(on.Offered(R2))
            machine.run()
            assert machine.runs(R2 if behaviour is GOOD else R1), (lost, at, machine.updater.describe())
            with_release(machine, R3)
            assert machine.runs(R3)


def test_the_faults_are_really_injected(tmp_path: Path) -> None:
    """These tests would pass because nothing ever failed."""
    with node(tmp_path, GOOD) as machine:
        machine.medium.fails_from, machine.medium.fails_times = 0, 10**9
        machine.feed(on.Offered(R2))
        for _ in range(60):
            if not machine.step():
                machine.tick()
        assert machine.medium.seen > 3
        assert any(note.what == "state not saved" for note in machine.notes)
        assert machine.journal.state is State.COMMITTED, "what was on disk before"
