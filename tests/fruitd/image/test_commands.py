"""A maintainer would read a traceback, or overwrite the image of last week."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fruitd.cli.image import app
from fruitd.errors import FruitError, RefusedError, UsageError
from fruitd.image import root as root_module


def invoke(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, FruitError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_every_command_has_help_with_an_example() -> None:
    """A person who makes a disk once a year would guess."""
    for command in ("root", "disk"):
        assert "Example:" in invoke(command, "--help")


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    """A disk image with a node's keys on it would be gone."""
    output = tmp_path / "disk.img"
    output.write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        invoke("disk", tmp_path / "root.img", "-o", output)
    assert output.read_text() == "precious"


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The words would not say which file is meant."""
    with pytest.raises(UsageError, match=r"nothing\.img: cannot be read"):
        invoke("disk", tmp_path / "nothing.img", "-o", tmp_path / "disk.img")


def test_a_root_image_needs_root_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of work would end in files that belong to the wrong user."""
    monkeypatch.setattr(root_module.os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match="use sudo"):
        invoke("root", "-o", tmp_path / "root.img")
    assert not list(tmp_path.iterdir())
