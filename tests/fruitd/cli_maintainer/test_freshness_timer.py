"""The timer that says what is current: if it were refused by systemd or used words that the command does not know, all nodes
would come to think that they are kept in the past."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fruitd.cli.freshness import app
from fruitd.maintainer.freshness import parse_valid_for

SYSTEMD = Path(__file__).parents[3] / "packaging" / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((SYSTEMD / name).read_text(encoding="utf-8"))
    return parser


def test_the_service_says_what_the_command_understands() -> None:
    """If this failed, the timer would fail for ever, on a machine nobody looks at."""
    assert app.registered_callback is not None
    service = unit("fruit-freshness.service")["Service"]
    program, command, *options = shlex.split(service["ExecStart"])
    assert (program, command) == ("/usr/bin/fruit", "freshness")
    said = dict(zip(options[::2], options[1::2], strict=True))
    assert set(said) == {"--key", "--channel", "--valid-for"}
    day_s = 86_400
    assert parse_valid_for(said["--valid-for"]) >= 6 * day_s, (
        "half a day between two words leaves time to mend the machine"
    )
    assert unit("fruit-freshness.timer")["Timer"]["OnCalendar"] == "*-*-* 00/12:00:00"


def test_nobody_but_the_service_reads_the_key_and_it_reaches_nothing_else() -> None:
    """If this failed, an online key would lie open, or a fault in the command would reach the slots."""
    service = unit("fruit-freshness.service")["Service"]
    assert service["User"] in (SYSTEMD / "fruit-freshness.sysusers").read_text(encoding="utf-8")
    assert service["User"] != "fruitd", "the daemon, which speaks with strangers, must not read this key"
    assert (service["PrivateDevices"], service["PrivateNetwork"]) == ("yes", "yes")
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """If this failed, systemd would ignore a misspelt key, and the service run without that protection."""
    for name in ("fruit-freshness.service", "fruit-freshness.timer"):
        text = (SYSTEMD / name).read_text(encoding="utf-8").replace("/usr/bin/fruit ", "/bin/sh ")
        (tmp_path / name).write_text(text, encoding="utf-8")
    for path in tmp_path.iterdir():
        found = subprocess.run(
            ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
        )
        ours = [line for line in found.stderr.splitlines() if "fruit-freshness" in line]
        assert (found.returncode, ours) == (0, [])
