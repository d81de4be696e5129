"""If one of these failed, a power cut at some moment of an update would brick a node, or a person would have to come.

Two updates are recorded with all that they write and flush: slots, boot environment, SQLite's files, the keeper's book. Then
the power is cut after every operation, with what was not flushed lost, kept or torn at 512 bytes, in any order, and the machine
is switched on again: `simulations.crash`. The faults below are planted, to see that it would find them.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from pathlib import Path

import pytest

from fruitd.boot.autoboot import autoboot_for, encode
from fruitd.boot.grub_backend import GrubBackend
from fruitd.boot.medium import FileMedium, Medium
from fruitd.boot.port import BootBackend
from fruitd.boot.tryboot_backend import NAMES, TrybootBackend
from fruitd.updater import effects as do
from fruitd.updater import events as on
from simulations.crash.__main__ import main
from simulations.crash.disk import Disk, Flush, FlushNames, Link, Operation, Rename, Truncate, Unlink, Write
from simulations.crash.explorer import MakeDaemon, Tally, bound_for, explore, folder, record
from simulations.crash.loaders import (
    LOADERS,
    PARTITIONS,
    Board,
    Boot,
    FileLoader,
    GrubLoader,
    Loader,
    TrybootLoader,
    missing_tools,
)
from simulations.crash.machine import Daemon, Machine, factory_machine
from simulations.crash.recorder import Recorder, read_content
from simulations.crash.releases import SignedRelease

STATES = int(os.environ.get("FRUIT_CRASH_STATES", "1000"))
"""Different ones of each backend: a minute or two for all four. 5000 of each make 20,000, and take a quarter of an hour."""


def need(loader: Loader) -> None:
    """Skip by the name of what is missing."""
    if missing := missing_tools(loader):
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.mark.parametrize("loader", LOADERS, ids=[loader.name for loader in LOADERS])
def test_every_crash_state_leads_to_the_new_release(loader: Loader) -> None:
    """A power cut would leave a node that boots neither release, stays on the old one, or waits for a person."""
    need(loader)
    tally = explore(record(loader), STATES * 17 // 10)  # about four of ten lead to a disk that was met before
    assert not tally.faults
    assert len(tally.digests) >= STATES
    assert tally.healed >= len(tally.digests)
    assert tally.boots["old"] > STATES // 10
    assert tally.boots["new"] > STATES // 10
    print(f"{loader.name}: {len(tally.digests)} states, {dict(tally.boots)}")


# ------------------------------------------------------------------ planted faults


def faults(loader: Loader, make_daemon: MakeDaemon = Daemon, states: int = 250) -> Tally:
    """What is found, which has to be something."""
    need(loader)
    tally = explore(record(loader, make_daemon), states)
    assert tally.faulty > 0
    return tally


class RenamingBackend(TrybootBackend):
    """Writes a new file and gives it the old one's name, as one does on file systems that have a journal."""

    card: Path

    def _put(self, medium: Medium, default: str) -> None:
        name = next(name for name in NAMES if medium.where.startswith(name))
        new = self.card.with_name("new.txt")
        new.write_bytes(encode(autoboot_for(default, PARTITIONS)))
        for command in (
            ["mcopy", new, "::/new.txt"],
            ["mdel", f"::/{name}"],
            ["mren", "::/new.txt", f"::/{name}"],
        ):
            words = [command[0], "-i", str(self.card), *map(str, command[1:])]
            subprocess.run(words, check=True, capture_output=True)
        new.unlink()
        with self.card.open("rb") as card:
            os.fsync(card.fileno())


class RenamingLoader(TrybootLoader):
    """With that backend."""

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        backend = super().backend(board, boot, boot_id)
        backend.__class__ = RenamingBackend
        backend.card = board.disk / "boot.fat"  # type: ignore[attr-defined]
        return backend


def test_a_backend_that_renames_on_fat_is_found() -> None:
    """FAT has no journal: the folder, the allocation tables and the file's sectors arrive in any order."""
    tally = faults(RenamingLoader())
    assert any("no slot to boot in autoboot.txt" in fault for fault in tally.faults)


class ForgetfulMedium(FileMedium):
    """Never flushes, neither after a write nor before a read."""

    def read(self, offset: int, length: int) -> bytes:
        """See `Medium.read`."""
        return Path(self.where).read_bytes()[offset : offset + length]

    def flush(self) -> None:
        """See `Medium.flush`."""
        self._close()


class ForgetfulLoader(GrubLoader):
    """With a backend on such media."""

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        super().backend(board, boot, boot_id)
        media = (ForgetfulMedium(board.disk / "grubenv"), ForgetfulMedium(board.disk / "grubenv.copy"))
        return GrubBackend(media, board.slots(), board.places())


def test_a_backend_that_forgets_a_flush_is_found() -> None:
    """The commit is not on the disk yet when the next update begins to write the slot that still is the default."""
    tally = faults(ForgetfulLoader())
    assert any("release None" in fault for fault in tally.faults), tally.faults


class SavesLate(Daemon):
    """Saves what the journal says after it was done."""

    def step(self) -> bool:
        self.todo.sort(key=lambda effect: isinstance(effect, do.SaveJournal))
        return super().step()


def test_a_journal_that_is_saved_after_the_effect_is_found() -> None:
    """The journal would vouch for a slot that is being written."""
    tally = faults(FileLoader(), SavesLate)
    assert any("the journal" in fault for fault in tally.faults)


class SavesWithoutFlush(Daemon):
    """SQLite is told that a flush can be left out."""

    def __init__(self, machine: Machine, boot: Boot) -> None:
        super().__init__(machine, boot)
        self.state._db.execute("PRAGMA synchronous=OFF")


def test_a_state_that_is_not_flushed_is_found() -> None:
    """What is done behind a journal that is not on the disk is done without one."""
    tally = faults(FileLoader(), SavesWithoutFlush)
    assert any("the journal" in fault for fault in tally.faults)


class CommitsFirst(Daemon):
    """Makes a slot the default instead of trying it."""

    def work(self, effect: do.Effect) -> on.Event:
        if isinstance(effect, do.ArmSlot):
            self.backend.commit(effect.slot)
            return on.SlotArmed(effect.infohash)
        return super().work(effect)


def test_a_commit_before_the_trial_is_found() -> None:
    """A release that does not come up would be booted again and again."""
    tally = faults(FileLoader(), CommitsFirst)
    assert any("does not know that it passed a trial" in fault for fault in tally.faults)


class ArmsUnread(Daemon):
    """Takes for granted that the slot holds what was written to it."""

    def read_back(self, release: SignedRelease, slot: str) -> bool:
        return True

    def work(self, effect: do.Effect) -> on.Event:
        if isinstance(effect, do.ArmSlot):
            self.backend.arm(effect.slot)
            return on.SlotArmed(effect.infohash)
        return super().work(effect)


def test_arming_before_the_read_back_is_found() -> None:
    """A slot would be tried of which half is still on its way to the disk."""
    tally = faults(FileLoader(), ArmsUnread)
    assert any("is started, which is neither" in fault for fault in tally.faults), tally.faults


# ------------------------------------------------------------------ the explorer itself


@pytest.mark.parametrize("loader", LOADERS, ids=[loader.name for loader in LOADERS])
def test_what_is_recorded_is_what_was_done(loader: Loader) -> None:
    """A write that nobody recorded would be in no crash state: the recording, played back, has to give the same disk."""
    need(loader)
    with folder() as place:
        machine = factory_machine(place, loader)
        machine.power_on()
        machine.power_off()
        recorder = Recorder(machine.board.disk)
        machine.after_start = lambda boot: [
            recorder.look(machine.board.disk / n, flushed=True) for n in loader.files
        ]  # type: ignore[assignment]
        with recorder.recording():
            daemon = machine.run(machine.power_on())
            assert machine.at_goal(daemon)
            machine.power_off()
        disk = Disk.holding(recorder.before)
        for operation in recorder.operations:
            disk.do(operation)
        assert disk.content([choice - 1 for choice in disk.choices()]) == read_content(machine.board.disk)
    kinds = {type(operation) for operation in recorder.operations}
    assert {Write, Flush, FlushNames, Link, Rename, Unlink} <= kinds


def test_a_recording_is_the_same_each_time() -> None:
    """A crash state that was found could not be found again."""
    assert record(FileLoader()).operations == record(FileLoader()).operations


FILE = {"f": b"a" * 1024}
A, B = b"A" * 512, b"B" * 512


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ([], {b"aa"}),
        ([Write(0, 0, A + A)], {b"aa", b"Aa", b"aA", b"AA"}),
        ([Write(0, 0, A + A), Flush(0)], {b"AA"}),
        ([Write(0, 0, A), Write(0, 512, B)], {b"aa", b"Aa", b"aB", b"AB"}),
        ([Write(0, 0, A), Flush(0), Write(0, 512, B)], {b"Aa", b"AB"}),
        ([Write(0, 0, A), Write(0, 0, B)], {b"aa", b"Aa", b"Ba"}),
        ([Write(0, 1024, A)], {b"aa", b"aaA"}),
        ([Write(0, 1024, A + B)], {b"aa", b"aaA", b"aa\0B", b"aaAB"}),
        ([Truncate(0, 512)], {b"aa", b"a"}),
        ([Truncate(0, 512), Flush(0)], {b"a"}),
    ],
)
def test_a_power_cut_leaves_any_of_the_sectors_that_were_not_flushed(
    operations: list[Operation], found: set[bytes]
) -> None:
    """States that a disk can be left in would not be looked at. Written out here sector by sector, a letter for each."""
    disk = Disk.holding(FILE)
    for operation in operations:
        disk.do(operation)
    states = {bytes(state["f"][::512]) for state in disk.states(1000, random.Random(1))}
    assert states == found


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ([Link("g", 1), Write(1, 0, A)], [{}, {"g": b""}, {"g": A}]),
        ([Link("g", 1), Write(1, 0, A), Flush(1)], [{"g": A}]),
        ([Link("g", 1), Write(1, 0, A), Flush(1), Rename("g", "f")], [{"g": A}, {"f": A}]),
        ([Link("g", 1), Write(1, 0, A), Rename("g", "f"), FlushNames()], [{"f": b""}, {"f": A}]),
        ([Unlink("f"), Link("g", 1), Write(1, 0, A), Flush(1)], [{"f": None, "g": A}]),
    ],
)
def test_names_become_durable_in_order(
    operations: list[Operation], found: list[dict[str, bytes | None]]
) -> None:
    """A rename without a flush before it would pass for safe. `f` holds what it held, where nothing is said of it."""
    disk = Disk.holding({"f": b"f"})
    for operation in operations:
        disk.do(operation)
    expected = [{"f": b"f"} | state for state in found]
    wanted = {tuple(sorted((n, d) for n, d in state.items() if d is not None)) for state in expected}
    assert {tuple(sorted(state.items())) for state in disk.states(1000, random.Random(1))} == wanted


def test_where_there_are_too_many_the_plainest_states_are_among_those_tried() -> None:
    """Luck would decide whether the disk with nothing lost, or all of it, is looked at."""
    disk = Disk.holding({"f": bytes(100 * 512)})
    disk.do(Write(0, 0, b"x" * 100 * 512))
    states = [state["f"] for state in disk.states(50, random.Random(1))]
    assert len(states) == 50
    assert states[0] == bytes(100 * 512)
    assert states[1] == b"x" * 100 * 512
    assert len(set(states)) > 40


def test_the_bound_follows_what_is_asked_for() -> None:
    """Nobody could look further than CI does."""
    recording = record(FileLoader())
    bounds = [bound_for(recording, states) for states in (100, 1000, 5000)]
    assert all(less < more for less, more in itertools.pairwise(bounds))


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """A researcher could not use it."""
    assert main(["--backend", "file", "--states", "150", "--processes", "1"]) == 0
    assert "file: " in (said := capsys.readouterr().out)
    assert "0 do not" in said
    assert main(["--backend", "floppy"]) == 2
    assert "allowed: file, grub, uboot, tryboot" in capsys.readouterr().err
