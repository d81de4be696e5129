"""If one of these failed, a boot environment would be said to be written that is not, or another be written in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fruitd.boot.medium import FileMedium, overwrite, overwrite_sectors, read_whole
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.media import Recorder, crash_states


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    path.write_bytes(b"." * 2048)
    return path


def test_bytes_are_changed_in_place(file: Path) -> None:
    """GRUB reads the sectors it remembers, not the name: a new file would never be seen."""
    inode = file.stat().st_ino
    overwrite(FileMedium(file, 512), 10, b"new")
    assert file.read_bytes() == b"." * 522 + b"new" + b"." * 1523
    assert file.stat().st_ino == inode


def test_a_file_never_becomes_longer(file: Path) -> None:
    """On FAT, another length is another write, of the folder, that can be torn apart from the first."""
    with pytest.raises(RetryError, match="is only 2048 bytes long"):
        overwrite(FileMedium(file, 1024), 1022, b"new")
    assert file.stat().st_size == 2048


def test_what_is_there_already_is_not_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts again and again would wear out the sector on which the machine depends."""
    monkeypatch.setattr(os, "pwrite", lambda *_: pytest.fail("written"))
    overwrite(FileMedium(file), 0, b"...")


@pytest.mark.parametrize("broken", ["pwrite", "fsync", "short"])
def test_an_error_of_the_medium_is_told(file: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worn card would be believed."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    medium = FileMedium(file)
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "pwrite" if broken == "short" else broken, (lambda *_: 1) if broken == "short" else fail
        )
        with pytest.raises(RetryError, match=r"env cannot be written: (Input/output error|took 1 of 3)"):
            overwrite(medium, 0, b"new")
    overwrite(medium, 0, b"new")
    assert file.read_bytes().startswith(b"new.")


def test_a_write_that_reads_back_otherwise_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worn cards accept writes and keep what they had."""
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, data, _offset: len(data))
    with pytest.raises(RetryError, match="reads back wrong"):
        overwrite(FileMedium(file), 0, b"new")


def test_a_medium_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A node would end without a word, or make a file that no loader reads."""
    medium = FileMedium(tmp_path / "none")
    with pytest.raises(RetryError, match="cannot be written: No such file"):
        overwrite(medium, 0, b"new")
    with pytest.raises(SlotError, match="cannot be read: No such file"):
        read_whole(medium, 10)
    medium.flush()
    assert not (tmp_path / "none").exists()


def test_sectors_that_differ_are_written_last_one_first_each_with_a_flush() -> None:
    """The sector that says a block is valid would be there before what it vouches for."""
    recorder = Recorder()
    (medium,) = recorder.media((b"a" * 2048,))
    new = b"b" * 512 + b"a" * 512 + b"c" * 1024
    overwrite_sectors(medium, b"a" * 2048, new)
    assert bytes(medium.content) == new
    assert [offset for _, offset, _ in recorder.events] == [1536, None, 1024, None, 0, None]


def test_the_crash_states_are_all_there_are() -> None:
    """The checker of power cuts would miss the one that bricks."""
    events = [(0, 0, b"x" * 512), (0, 512, b"y" * 512), (0, None, b""), (0, 0, b"z" * 512)]
    seen = {
        tuple(content[0][at : at + 1] for at in (0, 512)) for content in crash_states((b"." * 1024,), events)
    }
    assert seen == {(b".", b"."), (b"x", b"."), (b".", b"y"), (b"x", b"y"), (b"z", b"y")}
    lost = {
        tuple(c[0][at : at + 1] for at in (0, 512))
        for c in crash_states((b"." * 1024,), events[:2] + events[3:])
    }
    assert (b"z", b".") in lost, "a write without the flush before it may overtake it"


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_written_and_not_flushed_is_not_taken_for_written(
    file: Path, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a flush that failed, or a kill before it, the page cache says what the card does not: a commit would be believed
    that a power cut takes back, and the slot that boots then may have been written meanwhile."""
    happened: list[str] = []
    fsync, fadvise, pread = os.fsync, os.posix_fadvise, os.pread

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        if killed:
            FileMedium(file).write(0, b"new")
        else:
            with pytest.raises(RetryError):
                overwrite(FileMedium(file), 0, b"new")
    monkeypatch.setattr(os, "fsync", lambda fd: (happened.append("flushed"), fsync(fd))[1])
    monkeypatch.setattr(os, "posix_fadvise", lambda *a: (happened.append("dropped"), fadvise(*a))[1])
    monkeypatch.setattr(os, "pread", lambda *a: (happened.append("read"), pread(*a))[1])
    overwrite(FileMedium(file), 0, b"new")
    assert happened[:3] == ["flushed", "dropped", "read"]
