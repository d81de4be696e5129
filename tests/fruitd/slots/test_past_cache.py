"""What a card failed to keep would be read from memory, where it is still right; or a slot on an odd medium not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
from pathlib import Path

import pytest

from fruitd.slots.past_cache import aligned_buffer, past_cache, read_whole, write_whole

_CACHESTAT = 451
"""The number of the system call, on all architectures."""
CONTENT = random.Random(1).randbytes(5 * mmap.PAGESIZE + 77)


def _cached_pages(path: Path) -> int:
    """Of a file, in the page cache: by cachestat(2) where the kernel has it."""
    whole, found = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    with path.open("rb") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(_CACHESTAT, file.fileno(), whole, found, 0):
            pytest.skip(f"no cachestat here: {os.strerror(ctypes.get_errno())}")
    return found[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def _flushed(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_nothing_of_what_is_read_stays_in_memory(path: Path) -> None:
    _flushed(path)
    if _cached_pages(path):
        pytest.skip("this file system keeps everything in memory")
    buffer = aligned_buffer(len(CONTENT))
    with path.open("rb", buffering=0) as file:
        before = fcntl.fcntl(file.fileno(), fcntl.F_GETFL)
        with past_cache(file.fileno()):
            if not fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_DIRECT:
                pytest.skip("this file system has no way past the cache")
            assert read_whole(file.fileno(), buffer, len(CONTENT), 0)
        assert fcntl.fcntl(file.fileno(), fcntl.F_GETFL) == before
    assert buffer[: len(CONTENT)] == CONTENT
    assert not _cached_pages(path)
    path.read_bytes()
    assert _cached_pages(path), "this test could not have failed"


@pytest.mark.parametrize("length_bytes", [1, mmap.PAGESIZE, mmap.PAGESIZE + 1, len(CONTENT)])
def test_as_much_as_was_asked_for(path: Path, length_bytes: int) -> None:
    """The last block of an image is short, and what lies behind it is not the image's."""
    buffer = aligned_buffer(len(CONTENT))
    with path.open("rb", buffering=0) as file, past_cache(file.fileno()):
        assert read_whole(file.fileno(), buffer, length_bytes, 0)
        assert buffer[:length_bytes] == CONTENT[:length_bytes]
        assert read_whole(file.fileno(), buffer, 77, 5 * mmap.PAGESIZE)
        assert buffer[:77] == CONTENT[-77:]
        assert not read_whole(file.fileno(), buffer, 78, 5 * mmap.PAGESIZE)


def test_a_file_system_in_memory() -> None:
    """It may have no way past the cache."""
    descriptor = os.memfd_create("slot")
    try:
        os.write(descriptor, CONTENT)
        buffer = aligned_buffer(len(CONTENT))
        with past_cache(descriptor):
            assert read_whole(descriptor, buffer, len(CONTENT), 0)
        assert buffer[: len(CONTENT)] == CONTENT
    finally:
        os.close(descriptor)


def test_a_medium_with_larger_sectors_than_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no part as small as ours past the cache."""
    real = os.preadv

    def picky(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", picky)
    buffer = aligned_buffer(len(CONTENT))
    with path.open("rb", buffering=0) as file, past_cache(file.fileno()):
        assert read_whole(file.fileno(), buffer, len(CONTENT), 0)
    assert buffer[: len(CONTENT)] == CONTENT


def test_a_medium_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector would end the daemon."""

    def failing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    with path.open("rb", buffering=0) as file, past_cache(file.fileno()):
        assert not read_whole(file.fileno(), aligned_buffer(1), 1, 0)


def test_nothing_of_what_is_written_stays_in_memory(path: Path) -> None:
    """A small node would keep a GiB of its card in memory in place of what it needs."""
    pages = 4 * mmap.PAGESIZE
    buffer = aligned_buffer(pages)
    buffer[:] = CONTENT[77 : 77 + pages]
    _flushed(path)
    if _cached_pages(path):
        pytest.skip("this file system keeps everything in memory")
    with path.open("r+b", buffering=0) as file, past_cache(file.fileno()):
        if not fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_DIRECT:
            pytest.skip("this file system has no way past the cache")
        write_whole(file.fileno(), buffer[: 2 * mmap.PAGESIZE], mmap.PAGESIZE)
    assert not _cached_pages(path)
    written = CONTENT[77 : 77 + 2 * mmap.PAGESIZE]
    assert path.read_bytes() == CONTENT[: mmap.PAGESIZE] + written + CONTENT[3 * mmap.PAGESIZE :]


@pytest.mark.parametrize("length_bytes", [1, mmap.PAGESIZE + 1, 2 * mmap.PAGESIZE])
def test_an_image_that_does_not_end_with_a_page_is_written_too(path: Path, length_bytes: int) -> None:
    """Its last block would be missing for ever."""
    buffer = aligned_buffer(2 * mmap.PAGESIZE)
    buffer[:length_bytes] = bytes(length_bytes)
    with path.open("r+b", buffering=0) as file, past_cache(file.fileno()):
        write_whole(file.fileno(), buffer[:length_bytes], 0)
        write_whole(file.fileno(), buffer[:length_bytes], 2 * mmap.PAGESIZE)
    rest = CONTENT[length_bytes : 2 * mmap.PAGESIZE] + bytes(length_bytes)
    assert path.read_bytes() == bytes(length_bytes) + rest + CONTENT[2 * mmap.PAGESIZE + length_bytes :]


def test_a_medium_that_takes_nothing_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not tried again for ever."""

    def refusing(descriptor: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "pwrite", refusing)
    with path.open("r+b", buffering=0) as file, past_cache(file.fileno()), pytest.raises(OSError, match="no"):
        write_whole(file.fileno(), aligned_buffer(mmap.PAGESIZE), 0)
