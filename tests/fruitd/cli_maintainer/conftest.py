"""The `fruit` command as a maintainer runs it, in a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from fruitd.cli import main


@frozen
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Fruit = Callable[..., Answer]


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fruit:
    """Run `fruit` with these words, in `tmp_path`, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FRUIT_SOCKET", raising=False)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["fruit", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return run


@pytest.fixture
def swarm(fruit: Fruit, tmp_path: Path) -> Path:
    """Two root keys, three release keys of which two must sign, a trust root and an image."""
    for name in ("ann", "ben", "cora", "dan", "eve", "mallory"):
        assert fruit("key", "new", name, "--no-passphrase").code == 0
    roots = ["--root-key", "ann.key", "--root-key", "ben.key"]
    releasers = [word for name in ("cora", "dan", "eve") for word in ("--release-key", f"{name}.pub")]
    assert fruit("trust", "init", "--swarm", "orchard", *roots, *releasers).code == 0
    (tmp_path / "image").write_bytes(IMAGE)
    return tmp_path


IMAGE = bytes(1080) + b"\x53\xef" + (bytes(range(256)) * 4000)[1082:]
"""Bears ext4's magic number."""
BUILD = ("--resource", "org.fruit-testbed.os/rootfs", "--version", "1.0", "--trust", "root.fruit")


@pytest.fixture
def built(swarm: Path, fruit: Fruit) -> Path:
    """A release in `release-1`, not signed."""
    answer = fruit(
        "release", "build", "image", *BUILD, "--release", 1, "--compatible", "pi4", "-o", "release-1"
    )
    assert answer.code == 0, answer.err
    return swarm


@pytest.fixture
def signed(built: Path, fruit: Fruit) -> Path:
    """The same, signed by two."""
    assert fruit("release", "sign", "release-1", "--key", "cora.key", "--key", "dan.key").code == 0
    return built
