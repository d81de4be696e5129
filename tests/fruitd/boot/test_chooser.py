"""If one of these failed, the machines of the demo and of the tests would not boot as real firmware does.

Real processes: a chooser that runs a small script in place of the daemon. The script writes what it sees into a log, and reads
from a file what it is to do; nothing here waits for a time, only for lines of that log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fruitd.boot.chooser import bootable, choose
from fruitd.boot.environment import BootEnvironment
from fruitd.boot.file_backend import EXIT_RESTART, create_environment, read_environment, write_environment

DAEMON = """
import os, sys, time, pathlib
folder = pathlib.Path(sys.argv[1])
orders = (folder / "orders").read_text().split()
(folder / "orders").write_text(" ".join(orders[1:]))
with open(folder / "log", "a") as log:
    log.write(os.environ["FRUIT_BOOT_SLOT"] + " " + os.environ["FRUIT_BOOT_ID"] + " " + str(os.getpid()) + "\\n")
if orders[0] != "stay":
    sys.exit(int(orders[0]))
while True:
    time.sleep(60)
"""
PATIENCE_S = 20.0


class Bench:
    """A chooser at work in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / "boot.env"
        create_environment(self.env, "a")
        for slot in "ab":
            (folder / slot).write_bytes(b"hsqs" + bytes(4096))
        (folder / "daemon.py").write_text(DAEMON)
        (folder / "orders").write_text("")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *orders: str, crashes_max: int = 10) -> None:
        (self.folder / "orders").write_text(" ".join(orders))
        program = "import sys, fruitd.boot.chooser as c\n"
        program += f"c.PAUSE_MIN_S, c.QUICK_CRASHES_MAX = 0.01, {crashes_max}\nsys.exit(c.main())"
        command = [sys.executable, "-c", program, "--env", str(self.env)]
        command += ["--slot-a", str(self.folder / "a"), "--slot-b", str(self.folder / "b"), "--"]
        command += [sys.executable, str(self.folder / "daemon.py"), str(self.folder)]
        self.process = subprocess.Popen(command, stderr=(self.folder / "said").open("wb"))

    def starts(self, count: int) -> list[list[str]]:
        """Wait for so many starts of the daemon: slot, boot id and process id of each."""
        end_s = time.monotonic() + PATIENCE_S
        log = self.folder / "log"
        while time.monotonic() < end_s:
            lines = log.read_text().splitlines() if log.exists() else []
            if len(lines) >= count and len(lines[-1].split()) == 3:
                return [line.split() for line in lines]
            assert self.process is not None
            if self.process.poll() is not None:
                break
            os.sched_yield()
        raise AssertionError(f"not started {count} times: {(self.folder / 'said').read_text()}")

    def end(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def said(self) -> str:
        return (self.folder / "said").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.terminate()
        made.process.wait(PATIENCE_S)


def test_an_armed_slot_is_tried_once_and_a_restart_is_a_new_boot(bench: Bench) -> None:
    """A trial would not happen, or happen twice."""
    write_environment(bench.env, "a", "b")
    bench.start(str(EXIT_RESTART), "0")
    assert bench.end() == 0
    first, second = _log(bench)
    assert (first[0], second[0]) == ("b", "a")
    assert first[1] != second[1]
    assert read_environment(bench.env).environment.armed is None


def _log(bench: Bench) -> list[list[str]]:
    return [line.split() for line in (bench.folder / "log").read_text().splitlines()]


def test_the_try_is_used_up_on_disk_before_anything_starts(bench: Bench) -> None:
    """A release that cuts the power as it starts would be tried for ever."""
    write_environment(bench.env, "a", "b")
    bench.start("stay")
    bench.starts(1)
    assert read_environment(bench.env).environment == BootEnvironment("a", None, 3)


def test_a_crash_is_a_new_start_within_the_same_boot(bench: Bench) -> None:
    """A daemon that crashes once would end a trial."""
    bench.start("7", "0")
    assert bench.end() == 0
    first, second = _log(bench)
    assert first[:2] == second[:2]
    assert "ended with status 7" in bench.said()


def test_a_daemon_killed_from_outside_is_started_again(bench: Bench) -> None:
    """The tests that kill daemons would kill machines."""
    bench.start("stay", "0")
    os.kill(int(bench.starts(1)[0][2]), signal.SIGKILL)
    assert bench.end() == 0
    first, second = _log(bench)
    assert first[:2] == second[:2]


def test_a_power_cut_kills_at_once_and_boots_anew(bench: Bench) -> None:
    """Power cuts in the tests would be gentler than real ones."""
    bench.start("stay", "stay")
    first = bench.starts(1)[0]
    assert bench.process is not None
    bench.process.send_signal(signal.SIGUSR1)
    second = bench.starts(2)[1]
    assert first[1] != second[1]
    with pytest.raises(ProcessLookupError):
        os.kill(int(first[2]), 0)


def test_being_told_to_end_ends_the_daemon_too(bench: Bench) -> None:
    """A demo that ends would leave daemons behind."""
    bench.start("stay")
    pid = int(bench.starts(1)[0][2])
    assert bench.process is not None
    bench.process.terminate()
    assert bench.end() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_daemon_that_only_crashes_ends_in_a_panic(bench: Bench) -> None:
    """A release whose daemon cannot start would be on trial for ever."""
    write_environment(bench.env, "a", "b")
    bench.start("1", "1", "1", "0", crashes_max=3)
    assert bench.end() == 0
    assert [line[0] for line in _log(bench)] == ["b", "b", "b", "a"]


def test_a_slot_that_holds_nothing_bootable_falls_back(bench: Bench) -> None:
    """A half-written slot would be started as if it were a system."""
    (bench.folder / "b").write_bytes(bytes(8192))
    write_environment(bench.env, "a", "b")
    bench.start("0")
    assert bench.end() == 0
    assert _log(bench)[0][0] == "a"
    assert "slot b holds nothing bootable" in bench.said()


def test_nothing_to_boot_is_said_and_is_an_error(bench: Bench) -> None:
    """A test would wait for a machine that cannot start."""
    for slot in "ab":
        (bench.folder / slot).write_bytes(b"")
    bench.start()
    assert bench.end() == 1
    assert "nothing to boot" in bench.said()


def test_bootable_knows_the_two_file_systems(tmp_path: Path) -> None:
    """Images of the demo would not boot, or rubbish would."""
    slot = tmp_path / "slot"
    assert not bootable(slot)
    slot.write_bytes(bytes(4096))
    assert not bootable(slot)
    slot.write_bytes(b"hsqs" + bytes(100))
    assert bootable(slot)
    slot.write_bytes(bytes(1080) + b"\x53\xef" + bytes(100))
    assert bootable(slot)
    slot.write_bytes(bytes(1080) + b"\x53")
    assert not bootable(slot)


@pytest.mark.parametrize(
    ("environment", "bootable_slots", "slot"),
    [
        (BootEnvironment("a", None), "ab", "a"),
        (BootEnvironment("b", None), "ab", "b"),
        (BootEnvironment("a", "b"), "ab", "b"),
        (BootEnvironment("a", "b"), "a", "a"),
        (BootEnvironment("b", None), "a", "a"),
        (BootEnvironment("a", None), "", None),
        (None, "ab", "a"),
        (None, "b", "b"),
    ],
)
def test_what_firmware_would_choose(
    environment: BootEnvironment | None, bootable_slots: str, slot: str | None
) -> None:
    """The chooser would boot what no firmware boots."""
    assert choose(environment, lambda s: s in bootable_slots).slot == slot
