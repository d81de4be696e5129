"""The service files: a node's system must accept them as they are."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[3] / "packaging"
UNIT = PACKAGING / "systemd" / "fruitd.service"
OPENRC = PACKAGING / "openrc" / "fruitd"


def service() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    assert parser.sections() == ["Unit", "Service", "Install"]
    return dict(parser["Service"])


def test_the_unit_and_the_daemon_agree() -> None:
    """systemd would wait for a word that never comes, or a node would stay down after a crash."""
    keys = service()
    assert keys["Type"] == "notify"
    assert keys["Restart"] == "always"
    assert keys["RestartPreventExitStatus"] == "2"
    assert float(keys["WatchdogSec"]) >= 30
    assert keys["ExecStart"] == "/usr/bin/fruitd --config /etc/fruitd/fruitd.toml"
    assert keys["CapabilityBoundingSet"] == "CAP_SYS_BOOT"
    assert "PrivateDevices" not in keys


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd would ignore a misspelt key, and the daemon run without that protection."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace(
        "/usr/bin/fruitd", "/bin/sh"
    )  # has to exist to be accepted
    unit.write_text(text, encoding="utf-8")
    found = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if UNIT.name in line]
    assert (found.returncode, ours) == (0, [])


def test_the_openrc_script_is_a_shell_script() -> None:
    """A node on Alpine would not start its daemon."""
    assert os.access(OPENRC, os.X_OK)
    assert OPENRC.read_text(encoding="utf-8").startswith("#!/sbin/openrc-run\n")
    subprocess.run(["sh", "-n", str(OPENRC)], check=True)
    script = f'. "{OPENRC}"; echo "$supervisor|$command $command_args"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "supervise-daemon|/usr/bin/fruitd --config /etc/fruitd/fruitd.toml\n"
