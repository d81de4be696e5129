"""The boot chooser: stands in for firmware and init where the `file` boot backend is used (demos, tests, containers).

    python -m fruitd.boot.chooser --env FILE --slot-a PATH --slot-b PATH -- fruitd --config FILE

It picks a slot as firmware does: an armed slot once, with the try used up on disk *before* anything is started; otherwise the
default. A slot that holds nothing bootable falls back, as firmware does after a panic. Each boot has a new boot id. Within a
boot it acts as an init would: a daemon that crashes is started again after a pause. Signals: TERM or INT end it, USR1 is a
power cut (everything is killed at once, and the chooser boots anew). Says on stderr what it does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from fruitd.boot.environment import SLOTS, BootEnvironment
from fruitd.boot.file_backend import (
    EXIT_RESTART,
    ID_VARIABLE,
    SLOT_VARIABLE,
    create_environment,
    read_environment,
    write_environment,
)
from fruitd.errors import FruitError

PAUSE_MIN_S = 0.2
PAUSE_MAX_S = 5.0
"""Pauses before a crashed daemon is started again. Longer: a crash costs more time. Shorter: a crash loop burns a core."""
QUICK_CRASH_S = 2.0
QUICK_CRASHES_MAX = 10
"""So many crashes in a row, each sooner than this after its start, count as a panic: the chooser boots anew, and a trial
is over. Fewer: kills from outside end trials. More: a release whose daemon cannot start is left later."""
STOP_PATIENCE_S = 10.0
"""Time the daemon has to end by itself when the chooser is told to end. Less: it is killed in the middle of a write."""

_EXT_MAGIC = (
    1024 + 56,
    b"\x53\xef",
)  # s_magic of the ext4 superblock, little-endian: kernel docs, ext4/super
_SQUASHFS_MAGIC = (0, b"hsqs")  # s_magic of the squashfs superblock


def bootable(path: Path) -> bool:
    """True if the slot begins like a file system that a kernel could mount as its root."""
    try:
        with path.open("rb") as slot:
            head = slot.read(_EXT_MAGIC[0] + 2)
    except OSError:
        return False
    return any(head[at : at + len(magic)] == magic for at, magic in (_EXT_MAGIC, _SQUASHFS_MAGIC))


@frozen
class Choice:
    """Which slot to boot (None: none can), and what to say about it."""

    slot: str | None
    words: str


def choose(environment: BootEnvironment | None, is_bootable: Callable[[str], bool]) -> Choice:
    """Pick the slot as firmware would. `environment` None: it cannot be read, and any slot that looks bootable will do."""
    if environment is None:
        order, words = list(SLOTS), "boot environment lost"
    elif environment.armed is not None:
        others = [environment.default, *(s for s in SLOTS if s != environment.default)]
        order, words = [environment.armed, *others], "armed for one try"
    else:
        order, words = [environment.default, *(s for s in SLOTS if s != environment.default)], "default"
    for slot in order:
        if is_bootable(slot):
            return Choice(
                slot, f"slot {slot} ({words})" if slot == order[0] else f"slot {slot} ({words}, fallback)"
            )
        words = f"{words}; slot {slot} holds nothing bootable"
    return Choice(None, words)


def _say(words: str) -> None:
    sys.stderr.write(f"chooser: {words}\n")
    sys.stderr.flush()


class Chooser:
    """One machine: its boot environment, its two slots, and the daemon that runs in place of a system."""

    def __init__(self, env: Path, slots: dict[str, Path], command: Sequence[str]) -> None:
        self._env = env
        self._slots = slots
        self._command = list(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._signals, self._signals_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Boot until told to end; the exit status for the caller."""
        if not self._env.exists() and bootable(self._slots["a"]):
            with contextlib.suppress(FruitError):  # said when it is read
                create_environment(self._env, "a")
                _say(f"boot environment {self._env} made: slot a is the default")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._signals_in)
        while True:
            slot = self._pick()
            if slot is None:
                return 1
            status = self._one_boot(slot)
            if status is not None:
                return status

    def _pick(self) -> str | None:
        environment = None
        try:
            environment = read_environment(self._env).environment
            if environment.armed is not None:
                write_environment(self._env, environment.default, None)
        except FruitError as error:
            _say(str(error))
            if environment is not None:  # the try could not be used up, so it must not begin
                environment = BootEnvironment(environment.default, None)
        choice = choose(environment, lambda slot: bootable(self._slots[slot]))
        _say(f"booting {choice.words}" if choice.slot else f"nothing to boot: {choice.words}")
        return choice.slot

    def _one_boot(self, slot: str) -> int | None:
        """Run the daemon in this boot; None to boot anew, otherwise the status to end with."""
        process = os.environ | {SLOT_VARIABLE: slot, ID_VARIABLE: os.urandom(16).hex()}
        pause_s, quick = PAUSE_MIN_S, 0
        while True:
            started_s = time.monotonic()
            try:
                self._child = subprocess.Popen(self._command, env=process, start_new_session=True)
            except OSError as error:
                _say(f"{self._command[0]} cannot be started: {error.strerror}")
                return 1
            told = self._wait(None)
            status = self._child.poll()
            if told == signal.SIGUSR1:
                self._kill()
                _say("power cut")
                return None
            if told is not None:
                self._stop()
                return 0
            if status == EXIT_RESTART:
                _say("restart")
                return None
            if status == 0:
                return 0
            lived_s = time.monotonic() - started_s
            quick, pause_s = (quick + 1, pause_s) if lived_s < QUICK_CRASH_S else (0, PAUSE_MIN_S)
            if quick >= QUICK_CRASHES_MAX:
                _say(f"panic: {quick} crashes in a row")
                return None
            _say(f"the daemon ended with status {status}; starting it again in {pause_s:g} s")
            self._kill()  # what it left running
            told = self._wait(pause_s)
            if told is not None:
                return None if told == signal.SIGUSR1 else 0
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _wait(self, pause_s: float | None) -> int | None:
        """Wait for the child's end (`pause_s` None) or for a time; returns the number of a signal that came first."""
        deadline_s = None if pause_s is None else time.monotonic() + pause_s
        while True:
            if deadline_s is None and self._child is not None and self._child.poll() is not None:
                return None
            left_s = None if deadline_s is None else max(deadline_s - time.monotonic(), 0.0)
            ready, _, _ = select.select([self._signals], [], [], left_s)
            if not ready:
                return None
            for number in os.read(self._signals, 4096):
                if number != signal.SIGCHLD:
                    return number

    def _kill(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                _say("the daemon did not end in time; killing it")
            self._kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fruitd.boot.chooser",
        description="Boots one of two slots and runs a daemon in place of the system in it.",
        epilog="example: python -m fruitd.boot.chooser --env boot.env --slot-a a.img --slot-b b.img -- fruitd --config node.toml",
    )
    parser.add_argument("--env", type=Path, required=True, help="boot environment file")
    parser.add_argument("--slot-a", type=Path, required=True, help="file or block device of slot a")
    parser.add_argument("--slot-b", type=Path, required=True, help="file or block device of slot b")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    options = parser.parse_args(arguments)
    return Chooser(options.env, {"a": options.slot_a, "b": options.slot_b}, options.command).run()


if __name__ == "__main__":
    sys.exit(main())
