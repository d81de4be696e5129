"""A testbed that is interrupted must leave nothing behind: namespaces, processes, folders."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulations.testbed.commands import inside, run
from simulations.testbed.janitor import Janitor

pytestmark = pytest.mark.root
PATIENCE_S = 60.0
PLAN = "[[sites]]\nnodes = 2\n"


def there(name: str) -> bool:
    return Path("/run/netns", name).exists()


def test_what_was_announced_is_gone_with_what_runs_in_it(tmp_path: Path) -> None:
    """Daemons of a run that failed would run on, and the next run would meet them."""
    name, folder = f"frttest{time.monotonic_ns()}", tmp_path / "folder"
    sleepers: list[subprocess.Popen[bytes]] = []
    with pytest.raises(KeyError):
        _fail_in_the_middle(name, folder, sleepers)
    assert not there(name)
    assert not folder.exists()
    assert sleepers[0].wait(timeout=PATIENCE_S) == -signal.SIGKILL


def _fail_in_the_middle(name: str, folder: Path, sleepers: list[subprocess.Popen[bytes]]) -> None:
    with Janitor() as janitor:
        janitor.will_make(namespaces=[name, f"{name}-never-made"], folders=[folder])
        run(["ip", "netns", "add", name])
        folder.mkdir()
        (folder / "file").touch()
        sleepers.append(subprocess.Popen([*inside(name), "sleep", "600"]))
        while str(sleepers[0].pid) not in run(["ip", "netns", "pids", name]).split():
            time.sleep(0.01)
        raise KeyError


def test_the_namespaces_of_others_stay(tmp_path: Path) -> None:
    """Two runs side by side would end each other: a name may begin like another."""
    name = f"frttest{time.monotonic_ns()}"
    run(["ip", "netns", "add", f"{name}-other"])
    try:
        with Janitor() as janitor:
            janitor.will_make(namespaces=[name])
            run(["ip", "netns", "add", name])
        assert not there(name)
        assert there(f"{name}-other")
    finally:
        run(["ip", "netns", "del", f"{name}-other"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_from_outside_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C, a CI that gives up and an out-of-memory killer would each fill the machine with dead networks."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    code = "import sys; from simulations.testbed.cli import app; app(sys.argv[1:])"
    began_ns = time.time_ns()
    runner = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(plan)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert runner.stderr is not None
    # "7 daemons started" and the like: by now there are namespaces, daemons and a folder.
    assert any("daemons started" in line for line in runner.stderr)
    made = [path.name for path in Path("/run/netns").glob("frt*") if path.stat().st_ctime_ns > began_ns]
    prefixes = {name.partition("-")[0] for name in made if _runs_in(name, runner.pid)}
    assert len(prefixes) == 1
    prefix = prefixes.pop()
    runner.send_signal(how)
    runner.wait(timeout=PATIENCE_S)
    deadline_s = time.monotonic() + PATIENCE_S
    while left := [
        str(path) for place in ("/run/netns", "/dev/shm", "/tmp") for path in Path(place).glob(f"{prefix}*")
    ]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)
    assert not subprocess.run(["pgrep", "-f", f"/{prefix}/"], capture_output=True, check=False).stdout


def _runs_in(namespace: str, parent: int) -> bool:
    """Whether a child of this process runs in the namespace: others may test here too."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return bool(set(children) & set(run(["ip", "netns", "pids", namespace]).split()))
