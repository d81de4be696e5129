"""The `fruit` command as a whole: its help, its plug-ins, its weight."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fruitd.cli
from fruitd.cli import BUILT_IN, app, main
from fruitd.errors import RefusedError, UsageError

NODE_COMMANDS = [name for name, module in BUILT_IN.items() if module == "fruitd.cli.node"]


@pytest.mark.parametrize("command", NODE_COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    """A newcomer would have to guess how a command is called."""
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"fruit {command}" in shown.output.split("Example:")[1]
    assert "--socket PATH" in shown.output
    assert "--json" in shown.output


def test_help_and_version() -> None:
    """`fruit --help` would not tell of a command, or a bug report not of the version."""
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    assert all(f"\n  {name} " in shown.output for name in BUILT_IN)
    assert "\n  status      What this node runs, does and waits for.\n" in shown.output
    assert CliRunner().invoke(app, ["--version"]).output.startswith("fruit 0.")


def test_looking_at_a_node_stays_light() -> None:
    """`fruit status` would take seconds on a small board, loading what only other commands need."""
    heavy = [
        "libtorrent",
        "nacl",
        "msgpack",
        "starlette",
        "hypercorn",
        "fruitd.cli.release",
        "simulations",
    ]
    code = f"""
import sys
from fruitd.cli import main
sys.argv = ["fruit", "status", "--socket", "/nonexistent/api.sock"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 1
print([name for name in {heavy} if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
    assert told.stderr.startswith("fruit: nothing listens on")


def test_plug_ins_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fruit sim` would not exist, or one broken plug-in would take every command with it."""
    (tmp_path / "fruit_extra.py").write_text(
        'import typer\napp = typer.Typer()\n'
        '@app.command()\ndef run(n: int) -> None:\n    "Run it."\n    print("ran", n)\n'
        '@app.command()\ndef replay() -> None:\n    "Again."\n',
        encoding="utf-8",
    )  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("extra", "fruit_extra:app", fruitd.cli.PLUG_INS),
        EntryPoint("broken", "fruit_missing:app", fruitd.cli.PLUG_INS),
        EntryPoint("status", "fruit_extra:app", fruitd.cli.PLUG_INS),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    run = CliRunner().invoke(app, ["extra", "run", "3"])
    assert (run.exit_code, run.output) == (0, "ran 3\n")
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    assert "(this command cannot be loaded: No module named" in shown.output
    broken = CliRunner().invoke(app, ["broken"])
    assert broken.exit_code == 1
    own = CliRunner().invoke(app, ["status", "--socket", str(tmp_path / "none")])
    assert isinstance(own.exception, RefusedError)


@pytest.mark.parametrize(("error", "code"), [(RefusedError("no\nway"), 1), (UsageError("no\nway"), 2)])
def test_our_errors_are_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal would be shown as a traceback, or exit as a success."""

    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(fruitd.cli, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr().err == "fruit: no way\n"


def test_a_terminal_that_cannot_show_everything() -> None:
    """A name from Lisbon would end the command on an old terminal."""
    code = "import fruitd.cli as c; c.app = lambda **_: print('S\\xe3o \\u2588'); c.main()"
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    assert told.stdout == b"S\xe3o ?\n"
