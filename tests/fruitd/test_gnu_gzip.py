"""What a node packs has to be what the maintainer packed, bit for bit; and a node has to know whether it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fruitd import gnu_gzip


def test_this_machines_gzip_is_known_to_be_the_right_one() -> None:
    """Every node would be told to install what it has."""
    assert gnu_gzip.fault() == ""


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(None, "no gzip", id="none"),
        pytest.param("exec cat", "otherwise", id="does-not-pack"),
        pytest.param("exit 1", "otherwise", id="fails"),
        pytest.param("exec gzip -1n", "otherwise", id="packs-otherwise"),
        pytest.param("/usr/bin/gzip -9n; exit 1", "otherwise", id="fails-at-the-end"),
        pytest.param("/usr/bin/gzip -9n; echo more", "otherwise", id="says-more"),
    ],
)
def test_another_program_of_that_name_is_found_out(
    script: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node with busybox would make blocks that nobody signed, and fetch them again each time."""
    path = None
    if script is not None:
        program = tmp_path / "gzip"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        path = os.fspath(program)
    monkeypatch.setattr(gnu_gzip, "program", lambda: path)
    assert words in gnu_gzip.fault()
