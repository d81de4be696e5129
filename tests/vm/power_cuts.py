"""Takes the power from a machine at random moments of an update, and looks whether it starts again.

Two ways. A *cut* is kill -9 of QEMU, and then QEMU is started again on the same disk; the update goes on from there. A *copy* is
the disk as it is at a moment, with the machine running on; another machine is started from it, and its writes are thrown away.
The disk's content is the same; copies are cheaper, since the update does not begin anew each time.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.vm.fleet import PATIENCE_S, Workshop
from tests.vm.machine import Machine, Network

PHASES: Mapping[str, float] = {
    "reusing": 20.0, "fetching": 2.0, "verifying": 8.0, "starting": 15.0, "trial": 4.0, "committed": 4.0,
}  # fmt: skip
"""What the machine is at -> power fails within so many seconds of it. `starting` is a trial, from the loader to the first word of
fruitd; arming and restarting lie between `verifying` and `starting`, and within the seconds of the former."""
COPIES_WAITING_MAX = 6
COPY_PAUSE_S = 8.0
WRITES_DATA = "for i in $(seq 300); do mountpoint -q /var && exec touch /var/there; sleep 0.2; done; exit 1"
"""The door answers before the data partition is mounted, where the host has time for the machine."""
FRUITD_EVERY = 4
"""Of so many copies, one is watched until its fruitd answers, the others until their init runs and they say what they are."""


def gave_up(status: dict[str, Any], release: int) -> bool:
    """Whether the node will not try the release again."""
    return any(entry["release"] == release for entry in status["quarantined"])


def kept(status: dict[str, Any], release: int) -> bool:
    """Whether the release was healthy for long enough."""
    return bool(status["update"]["state"] == "committed" and status["update"]["release"] == release)


class Copies:
    """Starts machines from copies of a disk, a few at a time, each on a network of its own."""

    def __init__(self, machine: Machine, rng: random.Random, at_once: int) -> None:
        self.found: Counter[str] = Counter()
        """What fruitd was at, and where the copy came up."""
        self._machine, self._rng = machine, rng
        self._pool = ThreadPoolExecutor(at_once)
        self._going: list[Future[str]] = []
        self._next_s = 0.0

    @property
    def taken(self) -> int:
        """How many so far."""
        return len(self._going)

    def take(self, phase: str, releases: Sequence[str]) -> None:
        """Copy the disk now, unless enough copies wait or the last one is too young."""
        waiting = sum(not future.done() for future in self._going)
        if waiting >= COPIES_WAITING_MAX or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + self._rng.uniform(0, 2 * COPY_PAUSE_S)
        frozen, number = self._machine.freeze(), self.taken
        self._going.append(self._pool.submit(self._start, frozen, number, phase, (*releases,)))

    def _start(self, frozen: Path, number: int, phase: str, releases: Sequence[str]) -> str:
        folder = self._machine.folder.parent / f"copy-{number}"
        folder.mkdir()
        network = Network(30_000 + number)
        machine = Machine(f"copy-{number}", folder, frozen, network, self._machine.number, scratch=True)
        machine.accelerator = self._machine.accelerator
        machine.start()
        try:
            if number % FRUITD_EVERY == 0:
                machine.wait("fruitd answers", lambda status: True, timeout_s=PATIENCE_S)
            else:
                machine.wait_for_door(timeout_s=PATIENCE_S)
            release, slot = machine.release(), machine.slot()
            assert release in releases, f"{machine.name} runs {release}"
            assert machine.ask(run=WRITES_DATA)[0] == 0, f"{machine.name} has no /var"
        finally:
            machine.cut_power()
        shutil.rmtree(folder)
        print(f"copy {number}, {phase}: runs release {release} in slot {slot}", flush=True)
        return f"{phase}, then release {'old' if release == releases[-2] else 'new' if release == releases[-1] else release}"

    def close(self) -> None:
        """Wait for all; raises what went wrong with one."""
        self._pool.shutdown()
        for future in self._going:
            self.found[future.result()] += 1


class PowerCuts:
    """Power cuts of one machine, again and again, while releases are published for it.

    The disk is never mended and never set back: a machine that one of the cuts bricks does not come up any more.
    """

    def __init__(
        self,
        workshop: Workshop,
        machine: Machine,
        rng: random.Random,
        releases: list[int],
        copies: Copies | None = None,
    ) -> None:
        self._workshop, self._machine, self._rng, self._copies = workshop, machine, rng, copies
        self._releases = releases
        self._published: list[int] = []
        self.found: Counter[str] = Counter()
        """What the machine was at when its power failed."""
        self._starts_seen = self._starts() - 1
        """Starts that the serial line told of before the one that is known of."""

    def run(self, phases: Sequence[str], copies: int = 0) -> str:
        """Cut the power once in each of these phases, in this order.

        In the end the machine is left alone, and the release is returned that it has kept.
        """
        self._next()
        for number, phase in enumerate(phases, 1):
            self._cut(phase, f"cut {number}")
        if self._copies is not None:
            self._machine.step_back()  # what is left to do is done by its copies
            while self._copies.taken < copies:
                self._look("idle")
        return self._left_alone()

    def _cut(self, wanted: str, name: str) -> None:
        machine = self._machine
        while not self._reached(phase := self._look(wanted), wanted):
            pass
        time.sleep(self._rng.uniform(0, PHASES[wanted]))
        machine.cut_power()
        self.found[phase] += 1
        print(f"{name} of {machine.name}: {phase}", flush=True)
        self._starts_seen = self._starts()
        machine.start()

    @staticmethod
    def _reached(phase: str, wanted: str) -> bool:
        """Whether it is at that phase, or the phase has slipped by unseen."""
        order = list(PHASES)
        return phase in order and order.index(phase) >= order.index(wanted)

    def _left_alone(self) -> str:
        machine = self._machine
        status = machine.wait("the release is kept or given up", self._settled, timeout_s=PATIENCE_S)
        release = self._published[-1]
        if gave_up(status, release):
            # Too many trials were cut off; the next release finds a machine as good as new.
            assert self._releases, f"{machine.name}: every release was given up"
            release = self._next()
            machine.wait(f"release {release} is kept", lambda s: kept(s, release), timeout_s=PATIENCE_S)
        assert machine.release() == str(release)
        return machine.release()

    def _next(self) -> int:
        self._published.append(self._releases.pop(0))
        self._workshop.publish(self._published[-1])
        return self._published[-1]

    def _settled(self, status: dict[str, Any]) -> bool:
        return gave_up(status, self._published[-1]) or kept(status, self._published[-1])

    def _look(self, wanted: str) -> str:
        """What the machine is at. An update that has ended is followed by the next, unless its end is what is waited for."""
        machine = self._machine
        status = machine.get("/v1/status", timeout_s=3.0 if wanted == "starting" else 15.0)
        if status is None:
            # Restarted since it last answered, or not yet up.
            phase = "starting" if self._starts() > self._starts_seen + 1 else "coming up"
        else:
            self._starts_seen = self._starts() - 1
            phase = self._phase(status, wanted)
        if self._copies is not None:
            self._copies.take(phase, ["1", *map(str, self._published)])
        time.sleep(0.3)
        return phase

    def _phase(self, status: dict[str, Any], wanted: str) -> str:
        if not self._settled(status):
            state = str(status["update"]["state"])
            return "idle" if state == "committed" else state  # of the release before
        if kept(status, self._published[-1]) and wanted == "committed":
            return "committed"
        if not self._releases and wanted == "idle":
            return "idle"  # copies are left to take, and nothing waits for an update
        assert self._releases, f"{self._machine.name}: there is no release left to wait for {wanted} with"
        self._next()
        return "idle"

    def _starts(self) -> int:
        """How often the loader has started a slot, as the serial line tells."""
        console = self._machine.console
        return console.read_bytes().count(b"fruit: starting slot") if console.exists() else 0
