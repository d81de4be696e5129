"""The service files: a node's system must accept them as they are."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[3] / "packaging"
UNITS = PACKAGING / "systemd"
OPENRC = PACKAGING / "openrc"
EXPOSURE_MAX = 3.0
"""Of 10; systemd-analyze(1) calls what is below 4 "OK"."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def service(name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((UNITS / name).read_text(encoding="utf-8"))
    return dict(parser["Service"])


def test_the_unit_and_the_daemon_agree() -> None:
    """systemd would wait for a word that never comes, or a node would stay down after a crash."""
    keys = service("fruitd.service")
    assert keys["Type"] == "notify"
    assert keys["Restart"] == "always"
    assert keys["RestartPreventExitStatus"] == "2"
    assert float(keys["WatchdogSec"]) >= 30
    assert keys["ExecStart"] == "/usr/bin/fruitd --config /etc/fruitd/fruitd.toml"
    assert "PrivateDevices" not in keys


def test_the_daemon_has_no_privilege_and_the_keeper_no_network() -> None:
    """Whoever takes over the part that speaks with strangers could write the boot environment."""
    daemon, keeper = service("fruitd.service"), service("fruitd-keeper.service")
    assert (daemon["User"], daemon["CapabilityBoundingSet"], daemon["AmbientCapabilities"]) == (
        "fruitd",
        "",
        "",
    )
    assert "ReadWritePaths" not in daemon
    assert keeper["PrivateNetwork"] == "yes"
    assert keeper["RestrictAddressFamilies"] == "AF_UNIX"


def test_a_keeper_that_refuses_to_run_does_not_take_its_socket_down() -> None:
    """systemd gives a socket up whose service failed five times in ten seconds: the node would never install anything again."""
    assert "\nStartLimitIntervalSec=0\n" in (UNITS / "fruitd-keeper.service").read_text(encoding="utf-8")
    assert "\nFlushPending=yes\n" in (UNITS / "fruitd-keeper.socket").read_text(encoding="utf-8")


GUARD = (UNITS / "fruitd-trial-guard.service").read_text(encoding="utf-8").replace("\\\n", "")
OPENRC_GUARD = OPENRC / "fruitd-trial-guard"


def _systemd_guard(watchdog: Path, _socket: Path, times: int) -> tuple[str, dict[str, str]]:
    """What systemd's unit runs, and with which environment."""
    line = next(line for line in GUARD.splitlines() if line.startswith("ExecStart="))
    script = line.partition("-c ")[2].strip("'").replace("$$", "$")
    return script, {"TIMES": str(times), "WATCHDOG": str(watchdog)}


def _openrc_guard(watchdog: Path, socket: Path, times: int) -> tuple[str, dict[str, str]]:
    """What OpenRC's script runs: OpenRC reads its settings as shell, and evaluates the line once more."""
    settings = {"fruitd_socket": str(socket), "watchdog": str(watchdog), "times": str(times)}
    script = f'. "{OPENRC_GUARD}"; eval "exec $command $command_args"'
    return script, settings


GUARDS = pytest.mark.parametrize("guard", [_systemd_guard, _openrc_guard], ids=["systemd", "openrc"])
Guard = Callable[[Path, Path, int], tuple[str, dict[str, str]]]


def _guarded(guard: Guard, tmp_path: Path, active_at: int, watchdog: Path, times: int = 4) -> list[str]:
    """What the guard does where fruitd is up when it is looked at for that time; every program is another one."""
    socket = tmp_path / "api.sock"
    (tmp_path / "systemctl").write_text(f"""#!/bin/sh
if [ "$1" = is-active ]; then [ -S {socket} ]; else echo restarted >> {tmp_path}/did; fi
""")
    (tmp_path / "reboot").write_text(f"#!/bin/sh\necho restarted >> {tmp_path}/did\n")
    # Time passes: the daemon comes up while somebody sleeps.
    (tmp_path / "sleep").write_text(f"""#!/bin/sh
echo slept >> {tmp_path}/did
if [ "$(wc -l < {tmp_path}/did)" -ge {active_at} ]; then
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("{socket}")'
fi
""")
    for name in ("systemctl", "reboot", "sleep"):
        (tmp_path / name).chmod(0o755)
    script, settings = guard(watchdog, socket, times)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}
    subprocess.run(["sh", "-c", script], env=environment, check=False, timeout=60)
    return (tmp_path / "did").read_text(encoding="utf-8").splitlines()


@GUARDS
def test_the_trial_guard_pets_the_watchdog_until_fruitd_runs(guard: Guard, tmp_path: Path) -> None:
    """A trial that starts slowly would be cut off."""
    watchdog = tmp_path / "watchdog"
    watchdog.write_bytes(b"")
    assert _guarded(guard, tmp_path, 2, watchdog) == ["slept", "slept"]
    assert watchdog.read_bytes() == b".."


@GUARDS
@pytest.mark.parametrize("device", ["watchdog", "none", "folder"])
def test_a_trial_whose_fruitd_never_comes_up_is_ended(guard: Guard, tmp_path: Path, device: str) -> None:
    """Without a watchdog, or with one that somebody else holds, the node would run the bad release until somebody comes."""
    watchdog = tmp_path / device
    if device == "folder":
        watchdog.mkdir()
    elif device == "watchdog":
        watchdog.write_bytes(b"")
    assert _guarded(guard, tmp_path, 99, watchdog) == ["slept"] * 4 + ["restarted"]


def test_openrc_can_start_and_stop_the_trial_guard_whatever_starts_its_processes(tmp_path: Path) -> None:
    """Debian's start-stop-daemon knows no --no-new-privs: nobody would watch over trials there. One that ended could not stop."""
    assert "\nno_new_privs=" not in OPENRC_GUARD.read_text(encoding="utf-8")
    pidfile = tmp_path / "pid"
    stop = ["sh", "-c", f'. "{OPENRC_GUARD}"; pidfile={pidfile}; stop']
    subprocess.run(stop, check=True)
    with subprocess.Popen(["sleep", "1000"]) as guard:
        pidfile.write_text(f"{guard.pid}\n")
        subprocess.run(stop, check=True)
        assert guard.wait(timeout=10) == -signal.SIGTERM
        pidfile.write_text(f"{guard.pid}\n")
    subprocess.run(stop, check=True)
    assert not pidfile.exists()


def test_every_loader_tells_the_trial_guard_of_a_trial() -> None:
    """On that loader's boards nobody would watch over the start of a new system."""
    assert "fruit.trial" in (PACKAGING / "grub/grub.cfg").read_text(encoding="utf-8")
    assert "fruit.trial" in (PACKAGING / "uboot/boot.cmd").read_text(encoding="utf-8")
    condition = next(line for line in GUARD.splitlines() if line.startswith("ExecCondition="))
    for text in (condition, OPENRC_GUARD.read_text(encoding="utf-8")):
        assert "fruit.trial /proc/cmdline" in text
        assert "/proc/device-tree/chosen/bootloader/tryboot" in text


def _installed(folder: Path) -> list[Path]:
    """The units as systemd would find them; their programs have to exist to be accepted."""
    for unit in (*UNITS.glob("fruitd*.service"), *UNITS.glob("fruitd*.socket")):
        text = unit.read_text(encoding="utf-8")
        text = text.replace("/usr/bin/fruitd-keeper", "/bin/sh").replace("/usr/bin/fruitd", "/bin/sh")
        (folder / unit.name).write_text(text, encoding="utf-8")
    return sorted(folder.glob("fruitd*"))


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """systemd would ignore a misspelt key, and the daemon run without that protection."""
    units = _installed(tmp_path)
    assert {"fruitd.service", "fruitd-keeper.service", "fruitd-keeper.socket"} <= {
        unit.name for unit in units
    }
    found = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if "fruitd" in line]
    assert (found.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", ["fruitd.service", "fruitd-keeper.service", "fruitd-trial-guard.service"])
def test_systemd_finds_little_exposed(tmp_path: Path, name: str) -> None:
    """A unit could lose its protection line by line, and nobody notice."""
    _installed(tmp_path)
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={EXPOSURE_MAX * 10:.0f}",
        str(tmp_path / name),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:] + found.stderr


@pytest.mark.parametrize("name", ["fruitd", "fruitd-keeper"])
def test_the_openrc_script_is_a_shell_script(name: str) -> None:
    """A node on Alpine would not start its daemon."""
    path = OPENRC / name
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/sbin/openrc-run\n")
    subprocess.run(["sh", "-n", str(path)], check=True)
    script = f'. "{path}"; echo "$supervisor|$command $command_args"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == f"supervise-daemon|/usr/bin/{name} --config /etc/fruitd/fruitd.toml\n"
