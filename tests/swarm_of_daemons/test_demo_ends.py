"""A demo that somebody ends, at whatever step and in whatever way, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fruitd.demo.cluster import Cluster
from tests.swarm_of_daemons.looks import until

pytestmark = pytest.mark.swarm
END_S = 60.0
DEMO = [sys.executable, "-c", "from fruitd.cli import main; main()", "demo", "--nodes", "2"]


def _left_of(folder: str) -> list[str]:
    """What still runs with files below this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if folder in words:
            found.append(words)
    return found


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ("making real ext4 images", [signal.SIGINT]),
        ("are switched on", [signal.SIGTERM]),
        ("release 1 is signed", [signal.SIGINT, signal.SIGHUP]),
    ],
    ids=["making images", "starting", "twice, during an update"],
)
def test_a_demo_that_is_ended_switches_everything_off(words: str, ends: list[signal.Signals]) -> None:
    """Its daemons and its hundreds of MiB would stay on somebody's laptop until it is restarted."""
    with tempfile.TemporaryDirectory(prefix="fruit-") as folder:
        environment = {**os.environ, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(DEMO, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = ""
            for said in process.stdout:
                if words in said:
                    break
            assert words in said, "the demo ended by itself"
            assert words.startswith("making") or _left_of(folder)
            for number in ends:
                process.send_signal(number)
            process.stdout.read()
            assert process.wait(timeout=END_S) == 128 + signal.SIGINT
        assert _left_of(folder) == []
        assert list(Path(folder).iterdir()) == []


def test_a_signal_in_a_callback_of_the_interpreter_is_not_lost() -> None:
    """The demo would run on to its end, deaf to whoever wants to end it: it happened while it was importing."""
    script = """
import os, signal, time
from fruitd.cli import demo

class Fleeting:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

demo._end_with_signals()
Fleeting()
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=END_S
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_a_daemon_that_does_not_end_in_time_is_killed_with_its_boot_chooser(
    make_cluster: Callable[..., Cluster],
) -> None:
    """It has a session of its own, and would run on without anybody who knows of it: on a slow machine, while it is starting."""
    cluster = make_cluster()
    node = cluster.add("deaf")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
    node.program = (sys.executable, "-c", deaf)
    node.start()
    until(
        lambda: any(deaf in words and "chooser" not in words for words in _left_of(str(node.directory))),
        lambda: f"{_left_of(str(node.directory))}",
        END_S,
    )
    node.stop()
    # Whoever is killed is gone a moment later.
    until(lambda: not _left_of(str(node.directory)), lambda: f"{_left_of(str(node.directory))}", END_S)
