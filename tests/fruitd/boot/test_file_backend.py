"""If one of these failed, a node on the `file` backend would brick or forget; it keeps the suite of every backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fruitd.boot.chooser import choose
from fruitd.boot.environment import COPY_BYTES, encode_copy
from fruitd.boot.file_backend import (
    ID_VARIABLE,
    SLOT_VARIABLE,
    FileBackend,
    create_environment,
    read_environment,
    write_environment,
)
from fruitd.boot.port import BootBackend
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.contract import BootContract


class FileBench:
    """The chooser's choice on a real file, without its processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        create_environment(path, "a")
        self.boots = 0
        self.active = ""
        self.power_cycle()

    def backend(self) -> BootBackend:
        """See `BootBench`."""
        return FileBackend(self.path, {SLOT_VARIABLE: self.active, ID_VARIABLE: f"boot-{self.boots}"})

    def power_cycle(self, bootable: str = "ab") -> None:
        """See `BootBench`."""
        environment = read_environment(self.path).environment
        if environment.armed is not None:
            write_environment(self.path, environment.default, None)
        choice = choose(environment, lambda slot: slot in bootable)
        assert choice.slot is not None
        self.active = choice.slot
        self.boots += 1

    def restart(self, bootable: str = "ab") -> None:
        """See `BootBench`: to the chooser it is the same."""
        self.power_cycle(bootable)

    def tear(self) -> None:
        """See `BootBench`: half of the copy that is written next is rubbish."""
        spare = 1 - read_environment(self.path).copy
        with self.path.open("r+b") as file:
            file.seek(spare * COPY_BYTES)
            file.write(os.urandom(COPY_BYTES // 2))
        self.power_cycle()


class TestFileBackend(BootContract):
    """The contract, on a file."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> FileBench:
        return FileBench(tmp_path / "boot.env")


def test_a_bad_copy_is_mended_at_the_next_write(tmp_path: Path) -> None:
    """One worn sector would stay unnoticed until the second one fails too."""
    path = tmp_path / "boot.env"
    create_environment(path, "a")
    for index in (0, 1):
        with path.open("r+b") as file:
            file.seek(index * COPY_BYTES)
            file.write(b"\xff" * COPY_BYTES)
        assert read_environment(path).other_bad
        write_environment(path, "a", "b" if index else None)
        assert not read_environment(path).other_bad
    assert read_environment(path).environment.armed == "b"


def test_the_copy_that_counts_is_never_written_over(tmp_path: Path) -> None:
    """A power cut in the middle of a write would leave no good copy."""
    path = tmp_path / "boot.env"
    create_environment(path, "a")
    for default, armed in (("a", "b"), ("a", None), ("b", None), ("b", "a")) * 3:
        before, good = path.read_bytes(), read_environment(path)
        write_environment(path, default, armed)
        kept = slice(good.copy * COPY_BYTES, (good.copy + 1) * COPY_BYTES)
        assert path.read_bytes()[kept] == before[kept] == encode_copy(good.environment)


def test_a_write_that_does_not_reach_the_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node would restart for a trial that the loader does not know of, again and again."""
    path = tmp_path / "boot.env"
    create_environment(path, "a")
    monkeypatch.setattr(os, "pwrite", lambda _d, data, _o: len(data))
    with pytest.raises(RetryError, match="reads back wrong"):
        write_environment(path, "a", "b")


def test_a_node_that_no_chooser_started_is_told_so(tmp_path: Path) -> None:
    """A node would guess which slot runs, and write the wrong one."""
    create_environment(tmp_path / "boot.env", "a")
    for process in ({}, {SLOT_VARIABLE: "c", ID_VARIABLE: "1"}, {SLOT_VARIABLE: "a"}):
        with pytest.raises(SlotError, match="chooser"):
            FileBackend(tmp_path / "boot.env", process)


def test_a_missing_environment_and_a_second_one_are_told(tmp_path: Path) -> None:
    """A new environment would be made in place of one that names the good slot."""
    process = {SLOT_VARIABLE: "a", ID_VARIABLE: "1"}
    with pytest.raises(SlotError, match="cannot be read"):
        FileBackend(tmp_path / "none", process).facts()
    create_environment(tmp_path / "boot.env", "b")
    with pytest.raises(RetryError, match="cannot be made"):
        create_environment(tmp_path / "boot.env", "a")
    assert read_environment(tmp_path / "boot.env").environment.default == "b"


def test_only_the_two_slots_can_be_armed(tmp_path: Path) -> None:
    """A slot that does not exist would be written into the environment, which then cannot be read."""
    create_environment(tmp_path / "boot.env", "a")
    backend = FileBackend(tmp_path / "boot.env", {SLOT_VARIABLE: "a", ID_VARIABLE: "1"})
    with pytest.raises(SlotError):
        backend.arm("c")
    with pytest.raises(SlotError):
        backend.commit("")
