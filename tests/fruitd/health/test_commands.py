"""If one of these failed, a node would keep a release that is not well, roll back one that is, or hang in a trial.

Real commands, as short as they can be; what waits, waits for a file that another line writes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fruitd.health.commands import (
    CHECKS_MAX,
    OUTPUT_BYTES_MAX,
    WHY_CHARS_MAX,
    CommandCheck,
    checks_in,
    last_line,
)
from fruitd.health.verdict import OK_WHY, Result


def _look(command: list[str], timeout_s: float = 20.0) -> Result:
    check = CommandCheck("test", command, timeout_s, "b", "/dev/slot-b")
    return trio.run(check.look)


def _told(result: Result) -> tuple[bool, str]:
    assert (result.name, result.patient) == ("test", False)
    return result.ok, result.why


def _python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def test_the_exit_status_decides_and_the_last_line_is_the_reason() -> None:
    """People would see a number where the owner's command gave a reason."""
    assert _told(_look(_python("print('checking'); print('all is well')"))) == (True, "all is well")
    assert _told(_look(_python("import sys; print('x'); print('no camera'); print(); sys.exit(3)"))) == (
        False,
        "no camera",
    )
    assert _told(_look(_python("import sys; sys.stderr.write('from stderr'); sys.exit(1)"))) == (
        False,
        "from stderr",
    )


def test_a_command_that_says_nothing_is_spoken_for() -> None:
    """A rollback would have no reason."""
    assert _told(_look(["true"])) == (True, OK_WHY)
    assert _told(_look(["false"])) == (False, "ended with status 1 and said nothing")
    assert "signal 9" in _look(_python("import os; os.kill(os.getpid(), 9)")).why


def test_the_command_knows_which_slot_it_judges() -> None:
    """A check could not look at the slot that runs."""
    program = "import os; print(os.environ['FRUIT_BOOT_SLOT'], os.environ['FRUIT_SLOT_PATH'])"
    assert _look(_python(program)).why == "b /dev/slot-b"


def test_no_shell_reads_the_command() -> None:
    """A file name with a semicolon would be run."""
    assert _look(["echo", "$HOME; false"]).why == "$HOME; false"


def test_a_command_that_cannot_be_run_is_a_bad_sample(tmp_path: Path) -> None:
    """A release that lacks the owner's check would be kept, or would crash the daemon."""
    for command in ("/no/such/command", str(tmp_path)):
        sample = _look([command])
        assert not sample.ok
        assert command in sample.why


def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """Every look at a broken release would leave a process behind, until memory is full."""
    pids = tmp_path / "pids"
    program = (
        "import os, sys, time, subprocess\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    sample = _look(_python(program), timeout_s=5.0)  # it has to have begun by then
    assert _told(sample) == (False, "did not end within 5 s")
    _assert_dead(pids.read_text())


def _assert_dead(pids: str) -> None:
    """A killed process dies a moment later: give it that moment, but not its ten minutes."""
    end_s = time.monotonic() + 20.0
    while any(_alive(int(pid)) for pid in pids.split()):
        assert time.monotonic() < end_s
        os.sched_yield()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_a_command_that_leaves_something_behind_is_judged_by_its_own_end(tmp_path: Path) -> None:
    """A check that starts a helper would always time out, and every good release be rolled back."""
    pids = tmp_path / "pids"
    program = (
        "import sys, subprocess\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(str(child.pid))\n"
        "print('well')\n"
    )
    assert _told(_look(_python(program), timeout_s=60.0)) == (True, "well")
    _assert_dead(pids.read_text())


def test_a_look_that_is_cancelled_ends_its_command(tmp_path: Path) -> None:
    """A daemon that is told to end would leave its check running."""
    started = tmp_path / "started"
    program = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(CommandCheck("test", _python(program), 60.0, "a", "/a").look)
            with trio.fail_after(20):
                while not started.exists() or not started.read_text():
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    _run(main)
    _assert_dead(started.read_text())


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    trio.run(main)


def test_a_flood_of_output_costs_no_memory_and_does_not_block() -> None:
    """A chatty check would eat a small node's memory, or hang when its pipe is full."""
    program = f"import sys; sys.stdout.write('x' * {20 * OUTPUT_BYTES_MAX}); print(); print('the end')"
    assert _told(_look(_python(program))) == (True, "the end")


@given(st.binary(max_size=400))
def test_the_reason_is_one_printable_bounded_line(output: bytes) -> None:
    """A check's output would break the table that people read."""
    line = last_line(output)
    assert len(line) <= WHY_CHARS_MAX
    assert line == "" or line.isprintable()


@pytest.mark.parametrize("output", [b"", b"\n\n", b"  \r\n"])
def test_nothing_said_is_nothing(output: bytes) -> None:
    """An empty line would be shown as the reason."""
    assert last_line(output) == ""


def test_the_daemon_keeps_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check would not find its programs."""
    monkeypatch.setenv("FRUIT_TEST_OF_HEALTH", "seen")
    before = dict(os.environ)
    assert _look(_python("import os; print(os.environ['FRUIT_TEST_OF_HEALTH'])")).why == "seen"
    assert dict(os.environ) == before


def _program(folder: Path, name: str, mode: int = 0o755) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\necho well\n")
    path.chmod(mode)
    return path


def test_a_folder_of_checks_is_run_in_order_of_names(tmp_path: Path) -> None:
    """An owner's check would not be run, or an editor's backup of one would be."""
    folder = tmp_path / "health.d"
    assert checks_in(folder) == [], "no folder, no checks"
    for name in ("50-camera", "10_disk", "90-net.bak", "20-sensor~", ".hidden", "README.md"):
        _program(folder, name)
    assert checks_in(folder) == [
        ("health.d/10_disk", folder / "10_disk"),
        ("health.d/50-camera", folder / "50-camera"),
    ]


def test_what_others_may_write_is_not_run(tmp_path: Path) -> None:
    """Any user of the machine could run programs as the daemon, or decide which release is kept."""
    folder = tmp_path / "health.d"
    _program(folder, "a", 0o777)
    _program(folder, "b", 0o775)
    _program(folder, "c", 0o644)
    (folder / "d").mkdir()
    words = {name: str(found) for name, found in checks_in(folder)}
    assert "can be written by others" in words["health.d/a"]
    assert "can be written by others" in words["health.d/b"]
    assert "is not executable; chmod +x it" in words["health.d/c"]
    assert "is not a file" in words["health.d/d"]
    folder.chmod(0o777)
    assert "can be written by others" in str(checks_in(folder)[0][1])


@pytest.mark.root
def test_what_belongs_to_another_user_is_not_run(tmp_path: Path) -> None:
    """As above."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = _program(tmp_path / "health.d", "a")
    os.chown(path, 12345, 12345)
    assert "belongs to another user and is not run; chown root it" in str(checks_in(path.parent)[0][1])


def test_a_crowd_of_checks_is_bounded_and_said(tmp_path: Path) -> None:
    """A trial would look at its first sample for hours."""
    for number in range(CHECKS_MAX + 1):
        _program(tmp_path / "health.d", f"{number:03}")
    found = checks_in(tmp_path / "health.d")
    assert len(found) == CHECKS_MAX + 1
    assert "65 checks, the limit is 64" in str(found[-1][1])
