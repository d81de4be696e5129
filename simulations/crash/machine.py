"""One machine whose disk is a folder: the real updater, state, keeper, slots and boot backend, between a loader and the power.

What is not here is what touches no disk: peers give at once whatever is asked for, health is always good, time is a number.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from attrs import Factory, define

from fruitd.boot_facts import BootFacts
from fruitd.errors import FruitError
from fruitd.keeper.service import Keeper
from fruitd.keeper.wire import Arm, Check, Commit, Facts, Lend
from fruitd.slots.reuse import fill_blocking
from fruitd.state.node_state import NodeState
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import Journal, other_slot
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from simulations.crash.loaders import Board, Boot, Loader, OneShotFlag
from simulations.crash.releases import SLOT_BYTES, SignedRelease, all_releases, belief, images
from swarm.transfer.bitmap import has_block
from swarm.transfer.port import BLOCK_BYTES

SETTINGS = UpdateSettings(
    retry_min_s=1.0,
    retry_max_s=60.0,
    health_interval_s=1.0,
    health_sustain_s=2.0,
    health_samples=3,
    trial_deadline_s=30.0,
)
STEPS_MAX = 400
"""An update takes about fifty, and with a cut and all its tries twice that."""


class StuckError(Exception):
    """The node does not come to rest, or says that a person has to look."""


class Daemon:
    """One run of the daemon: carries out what the updater asks for, in order, on the real files."""

    def __init__(self, machine: Machine, boot: Boot) -> None:
        self.machine = machine
        self.backend = machine.loader.backend(machine.board, boot, f"boot-{machine.boots}")
        self.backend.mend()
        self.state = NodeState(machine.data)
        self.slots = machine.board.slots()
        self.found: Journal = self.state.journal()
        """As it was at the start."""
        self.keeper = Keeper(self.backend, self.slots, belief(), machine.data / "book", None)
        self.keeper.open()
        self.updater = Updater(self.found, SETTINGS, random.Random(1), strict=True)
        self.todo: list[do.Effect] = []
        self.answers: list[on.Event] = []
        self.watching = self.restarting = False
        self._present = b""
        self.feed(on.Started(self.facts()))
        self.offer()

    def offer(self) -> None:
        """Peers say again what is the newest; the manifest is kept as the store keeps it."""
        newest = self.machine.newest
        self.state.save_records([newest.manifest])
        self.feed(on.Offered(newest.target))

    def feed(self, event: on.Event) -> None:
        """Tell the updater."""
        self.todo += self.updater.handle(event, self.machine.now_s)

    def step(self) -> bool:
        """The next thing that is due; False if the node is at rest."""
        if self.todo:
            self.carry_out(self.todo.pop(0))
        elif self.answers:
            self.feed(self.answers.pop(0))
        else:
            return self._tick()
        return True

    def _tick(self) -> bool:
        due_s = self.updater.next_wakeup_s(self.machine.now_s)
        if self.watching:
            self.machine.now_s += SETTINGS.health_interval_s
            self.feed(on.Health(True, "well"))
        elif due_s is not None:
            self.machine.now_s = max(due_s, self.machine.now_s) + 0.001
            self.feed(on.Wakeup())
        return self.watching or due_s is not None

    def carry_out(self, effect: do.Effect) -> None:
        """One effect, as fruitd's daemon does it."""
        match effect:
            case do.SaveJournal(journal=journal):
                self.state.save_journal(journal)
            case do.WatchHealth(on=wanted):
                self.watching = wanted
            case do.RestartNode():
                self.restarting = True
            case do.Note(what=what, why=why):
                if what in ("bug", "stuck"):
                    raise StuckError(f"{what}: {why}")
                self.state.add_history(self.machine.now_s, what, why)
            case do.Seed() | do.StopWork():
                pass
            case _:
                self._work(effect)

    def _work(self, effect: do.Effect) -> None:
        infohash = self.machine.newest.target.infohash
        try:
            self.answers.append(self.work(effect))
        except FruitError as error:
            self.answers.append(on.StepFailed(infohash, str(error), final=False))

    def work(self, effect: do.Effect) -> on.Event:
        """One that has an answer."""
        match effect:
            case do.FetchTorrent(target=target):
                self.state.keep_torrent(
                    target.torrent_sha256, self.machine.release_of(target.infohash).torrent
                )
                return on.TorrentReady(target.infohash)
            case do.PrepareSlot(target=target, slot=slot):
                return self._fill(self.machine.release_of(target.infohash), slot)
            case do.FetchImage(target=target, slot=slot):
                self._fetch(self.machine.release_of(target.infohash), slot)
                return on.ImageArrived(target.infohash)
            case do.ReadBack(target=target, slot=slot):
                whole = self.read_back(self.machine.release_of(target.infohash), slot)
                return on.ReadBackPassed(target.infohash) if whole else on.ReadBackFailed(target.infohash, 1)
            case do.ArmSlot(slot=slot, infohash=hex_infohash):
                self.keeper.handle(Arm(slot, bytes.fromhex(hex_infohash)), _no_leaves)
                return on.SlotArmed(hex_infohash)
            case do.CommitSlot(slot=slot):
                self.keeper.handle(Commit(slot), _no_leaves)
                return on.SlotCommitted(slot)
        raise AssertionError(f"{type(effect).__name__} is not known here")

    def _fill(self, release: SignedRelease, slot: str) -> on.Event:
        self.keeper.handle(Lend(slot, len(release.image)), _no_leaves)
        sources = [self.slots[other_slot(slot)]]
        filled = fill_blocking(
            self.slots[slot], sources, release.leaves, len(release.image), lambda done: None, lambda: None
        )
        self._present = filled.present
        return on.SlotPrepared(release.target.infohash, filled.reused_bytes, filled.missing_bytes)

    def _fetch(self, release: SignedRelease, slot: str) -> None:
        """As the transfer does: block by block, in any order, without a flush."""
        blocks = [n for n in range(len(release.leaves) // 32) if not has_block(self._present, n)]
        self.machine.rng.shuffle(blocks)
        descriptor = os.open(self.slots[slot], os.O_RDWR)
        try:
            for block in blocks:
                at = block * BLOCK_BYTES
                os.pwrite(descriptor, release.image[at : at + BLOCK_BYTES], at)
        finally:
            os.close(descriptor)

    def read_back(self, release: SignedRelease, slot: str) -> bool:
        """By the keeper, which flushes."""
        return bool(self.keeper.handle(Check(slot, release.proof), _no_leaves))

    def facts(self) -> BootFacts:
        """What the loader says now."""
        facts = self.keeper.handle(Facts(), _no_leaves)
        assert isinstance(facts, list)
        return BootFacts(*facts)


def _no_leaves(_leaves: bytes) -> None:
    """Nobody watches the progress."""


@define
class Machine:
    """Everything from power to rest. `after_start` is called once for each boot, before the daemon begins."""

    board: Board
    loader: Loader
    start: Callable[[Board], Boot]
    """The loader's choice; another one than `loader.start` where answers are remembered."""
    make_daemon: Callable[[Machine, Boot], Daemon] = Daemon
    newest: SignedRelease = Factory(lambda: all_releases()[0])
    now_s: float = 1_000.0
    boots: int = 0
    trials: dict[str, int] = Factory(dict)
    """Image -> boots of it on trial."""
    rng: random.Random = Factory(lambda: random.Random(1))
    after_start: Callable[[Boot], None] = lambda boot: None
    daemon: Daemon | None = None

    @property
    def data(self) -> Path:
        """The data partition."""
        return self.board.disk / "data"

    def release_of(self, infohash: str) -> SignedRelease:
        """By its image."""
        return next(r for r in all_releases() if r.target.infohash == infohash)

    def held(self, slot: str) -> int | None:
        """Which release a slot holds whole; 0 for the factory's, None for none."""
        data = self.board.slots()[slot].read_bytes()
        return next((n for n, image in enumerate(images()) if data.startswith(image)), None)

    def power_on(self) -> Daemon:
        """Until the daemon runs. Raises `NoBootError` or `FruitError`."""
        boot = self.start(self.board)
        self.boots += 1
        if boot.trial:
            held = str(self.held(boot.slot))
            self.trials[held] = self.trials.get(held, 0) + 1
        self.after_start(boot)
        self.daemon = self.make_daemon(self, boot)
        return self.daemon

    def power_off(self) -> None:
        """Let go of the files. What a power cut leaves is somebody else's business."""
        if self.daemon is not None:
            self.daemon.state.close()

    def run(self, daemon: Daemon) -> Daemon:
        """Until nothing is due any more, through all restarts; the daemon that runs then. Raises `StuckError`."""
        for _ in range(STEPS_MAX):
            if daemon.restarting:
                daemon.state.close()
                daemon = self.power_on()
            elif not daemon.step():
                return daemon
        raise StuckError(f"not at rest after {STEPS_MAX} steps: {daemon.updater.describe()}")

    def at_goal(self, daemon: Daemon) -> bool:
        """The newest release runs, is the default and is committed."""
        journal = daemon.updater.journal
        facts = daemon.facts()
        known = journal.slots[facts.active]
        return (
            self.held(facts.active) == self.newest.target.release
            and facts.default == facts.active
            and facts.armed is None
            and known is not None
            and known.committed
            and known.target == self.newest.target
        )


def factory_machine(folder: Path, loader: Loader) -> Machine:
    """A machine as it leaves the factory, powered off, in an empty folder."""
    board = board_in(folder)
    for slot, content in (("a", images()[0]), ("b", b"")):
        board.slots()[slot].write_bytes(content.ljust(SLOT_BYTES, b"\0"))
    loader.create(board)
    return Machine(board, loader, loader.start)


def board_in(folder: Path) -> Board:
    """The folders of a machine, made."""
    disk, ram = folder / "disk", folder / "ram"
    for made in (disk, ram):
        made.mkdir(parents=True)
    return Board(disk, ram, OneShotFlag())
