"""Two updates are recorded; then, for every moment of them and all that a power cut may leave, the machine is switched on again.

What is asked of each state: the loader starts a slot that holds a whole release, old or new; what the journal says of the slots
is true, and it knows of every trial and every default; the node finds to the newest release by itself, within its tries.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest import mock

from attrs import Factory, define, frozen

from fruitd.errors import FruitError
from fruitd.slots import slot
from fruitd.state.reserve import RESERVE_BYTES
from fruitd.updater.journal import State
from simulations.crash.disk import Content, Disk, Milestone, Operation
from simulations.crash.loaders import Boot, Loader, NoBootError, Remembered
from simulations.crash.machine import (
    SETTINGS,
    Daemon,
    Machine,
    StuckError,
    board_in,
    factory_machine,
)
from simulations.crash.recorder import Recorder
from simulations.crash.releases import all_releases

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - folders of our own, with random names
FAULTS_MAX = 100
"""Kinds of faults that are told apart."""
MakeDaemon = Callable[[Machine, Boot], Daemon]


@frozen
class Recording:
    """What a machine did to its disk while it went from release 1 to 2 to 3."""

    loader: Loader
    make_daemon: MakeDaemon
    before: Content
    operations: Sequence[Operation]


@define
class Tally:
    """What became of the states of one backend."""

    backend: str
    operations: int = 0
    tried: int = 0
    """With those that were met before."""
    digests: set[int] = Factory(set)
    """Of each state, 64 bits; the same in all processes that were forked from one."""
    exhausted: int = 0
    """Moments of which every state was tried."""
    moments: int = 0
    """That add states to those of the moment before."""
    boots: Counter[str] = Factory(Counter)
    healed: int = 0
    faulty: int = 0
    faults: Counter[str] = Factory(Counter)
    """What was wrong -> in how many states."""
    first: dict[str, int] = Factory(dict)
    """What was wrong -> the first operation after which a cut leads to it."""

    def add(self, other: Tally) -> None:
        """Another part of the same backend. A state that both met counts once among `digests`, and twice among the rest."""
        self.tried += other.tried
        self.moments += other.moments
        self.digests |= other.digests
        self.exhausted += other.exhausted
        self.boots += other.boots
        self.healed += other.healed
        self.faulty += other.faulty
        self.faults += other.faults
        self.first = other.first | self.first


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes again; in memory where there is room."""
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fruit-crash-", dir=place) as name:
        yield Path(name)


def record(loader: Loader, make_daemon: MakeDaemon = Daemon) -> Recording:
    """Let a machine take releases 2 and 3, and write down what it does to its disk."""
    with folder() as place:
        machine = factory_machine(place, loader)
        _settle(machine, machine.power_on())
        machine.power_off()
        recorder = Recorder(machine.board.disk)
        machine.make_daemon = make_daemon

        def after_start(boot: Boot) -> None:
            for name in loader.files:
                recorder.look(machine.board.disk / name, flushed=True)
            recorder.milestone("trial" if boot.trial else "boot", machine.held(boot.slot) or 0)

        machine.after_start = after_start
        with recorder.recording():
            try:
                machine.newest = all_releases()[1]
                recorder.milestone("offered", 2)
                daemon = machine.run(machine.power_on())
                machine.newest = all_releases()[2]
                recorder.milestone("offered", 3)
                daemon.offer()
                _settle(machine, daemon)
            finally:
                machine.power_off()
        return Recording(loader, make_daemon, recorder.before, recorder.operations)


def _settle(machine: Machine, daemon: Daemon) -> None:
    last = machine.run(daemon)
    if not machine.at_goal(last):
        raise StuckError(f"without any power cut the node comes to rest in: {last.updater.describe()}")


def moments(recording: Recording, first: int, end: int) -> Iterator[tuple[Disk, dict[str, int]]]:
    """The disk after each number of operations from `first` to before `end`, and what the milestones say."""
    disk = Disk.holding(recording.before)
    told: dict[str, int] = {"offered": 2}
    for count in range(end):
        if count:
            operation = recording.operations[count - 1]
            disk.do(operation)
            if isinstance(operation, Milestone):
                key = f"trials of {operation.number}" if operation.word == "trial" else operation.word
                told[key] = told.get(key, 0) + 1 if operation.word == "trial" else operation.number
        if count >= first and disk.count_new():
            yield disk, told


def bound_for(recording: Recording, states: int) -> int:
    """How many states of a moment to try at most, so that there are about so many in all."""
    sizes = [disk.count_new() for disk, _ in moments(recording, 0, len(recording.operations) + 1)]
    bound = 2
    while sum(min(size, bound) for size in sizes) < states and bound < max(sizes):
        bound += 1
    return bound


def explore(recording: Recording, states: int, seed: int = 1, processes: int | None = None) -> Tally:
    """Try about so many states: all where they are few, by chance where they are many."""
    global _recording  # noqa: PLW0603 - forked processes find it here; it cannot be sent to them
    bound, count = bound_for(recording, states), len(recording.operations) + 1
    processes = processes or os.cpu_count() or 1
    cuts = [count * n // (processes * 4) for n in range(processes * 4 + 1)]
    parts = [(first, end, bound, seed) for first, end in pairwise(cuts) if first < end]
    total = Tally(recording.loader.name, len(recording.operations))
    _recording = recording
    if processes == 1:
        for part in parts:
            total.add(_part(part))
        return total
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        for tally in pool.map(_part, parts):
            total.add(tally)
    return total


_recording: Recording | None = None


def _part(part: tuple[int, int, int, int]) -> Tally:
    first, end, bound, seed = part
    assert _recording is not None
    recording = _recording
    tally = Tally(recording.loader.name)
    with folder() as place, mock.patch.object(slot, "_refuse_mounted", _nothing_is_mounted):
        judge = Judge(recording, place)
        for disk, told in moments(recording, first, end):
            count = disk.done
            tally.moments += 1
            tally.exhausted += disk.count_new() <= bound
            for content in disk.new_states(bound, random.Random(f"{seed} {recording.loader.name} {count}")):
                tally.tried += 1
                digest = hash(tuple(sorted(content.items())))
                if digest in tally.digests:
                    continue
                tally.digests.add(digest)
                _count(tally, judge, content, told, count)
    return tally


def _nothing_is_mounted(*_: object) -> None:
    """Slots are files in a folder of our own; asking the kernel each time takes a third of all time."""


def _count(tally: Tally, judge: Judge, content: Content, told: dict[str, int], count: int) -> None:
    try:
        tally.boots[judge.judge(content, told)] += 1
        tally.healed += 1
    except (Fault, StuckError, NoBootError, FruitError) as fault:
        tally.faulty += 1
        if len(tally.faults) < FAULTS_MAX:
            tally.faults[str(fault)] += 1
            tally.first.setdefault(str(fault), count)


class Fault(Exception):  # noqa: N818 - what is looked for, not an error of this program
    """A state that must not be."""


class Judge:
    """Puts states on a disk and switches the machine on."""

    def __init__(self, recording: Recording, place: Path) -> None:
        self._recording = recording
        self._board = board_in(place)
        self._loader = Remembered(recording.loader)

    def judge(self, content: Content, told: dict[str, int]) -> str:
        """Which release the loader starts, "old" or "new". Raises `Fault`, or what stopped the node."""
        self._put(content)
        newest = told["offered"]
        machine = Machine(
            self._board, self._recording.loader, self._loader.start, self._recording.make_daemon,
            newest=all_releases()[newest - 1], boots=100, now_s=5_000.0,
            trials={str(newest): told.get(f"trials of {newest}", 0)},
        )  # fmt: skip
        started: list[tuple[Boot, int | None, int | None]] = []

        def after_start(boot: Boot) -> None:
            started.append((boot, machine.held(boot.slot), machine.held(boot.default)))
            if None in started[-1]:
                raise Fault(
                    f"slot {boot.slot} is started and slot {boot.default} is the default; "
                    f"they hold release {started[-1][1]} and {started[-1][2]}"
                )

        machine.after_start = after_start
        try:
            daemon = machine.power_on()
            boot, held, _ = started[0]
            if held not in (newest, newest - 1):
                raise Fault(f"release {held} is started, which is neither the old one nor the new one")
            _check_journal(machine, daemon, boot)
            last = machine.run(daemon)
            if not machine.at_goal(last):
                raise Fault(f"the node comes to rest in: {last.updater.describe()}")
            if max(machine.trials.values()) > SETTINGS.max_attempts:
                raise Fault(f"a release was tried {max(machine.trials.values())} times")
        finally:
            machine.power_off()
        return "new" if held == newest else "old"

    def _put(self, content: Content) -> None:
        disk = self._board.disk
        shutil.rmtree(disk)
        (disk / "data" / "torrents").mkdir(parents=True)
        for name, data in content.items():
            (disk / name).write_bytes(data)
        with (disk / "data" / "reserve").open("wb") as reserve:
            reserve.truncate(RESERVE_BYTES)  # its content does not matter, and random bytes take long
        self._board.flag.wanted = False


def _check_journal(machine: Machine, daemon: Daemon, boot: Boot) -> None:
    """Is what the journal says true, and does it know of what the loader does?"""
    journal = daemon.found
    for name, known in journal.slots.items():
        if known is not None and machine.held(name) != known.target.release:
            raise Fault(
                f"the journal says that slot {name} holds release {known.target.release}, which it does not"
            )
    knows = journal.target_slot == boot.slot and journal.attempts > 0
    if boot.trial and not (knows and journal.state in (State.ARMED, State.REBOOTING)):
        raise Fault(f"slot {boot.slot} is tried, and the journal ({journal.state}) does not know of it")
    passed = journal.trial_passed and journal.target_slot == boot.default
    if not (journal.known_good(boot.default) or passed):
        raise Fault(
            f"slot {boot.default} is the default, and the journal does not know that it passed a trial"
        )
