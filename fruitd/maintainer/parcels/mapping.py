"""Images as bytes that are mapped, not read: what was looked at can be forgotten, and comes back from the system's cache."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fruitd.errors import RefusedError

Data = bytes | mmap.mmap


@contextmanager
def mapped(path: Path | None) -> Iterator[Data]:
    """The bytes of a file; none for None. Raises `RefusedError` where the file is empty."""
    if path is None:
        yield b""
        return
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise RefusedError(f"{path} is empty")
        with mapped_file(file) as data:
            yield data


@contextmanager
def mapped_file(file: IO[bytes]) -> Iterator[Data]:
    """The bytes of a file that is open; none where it is empty."""
    if not os.fstat(file.fileno()).st_size:
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def forget(*images: Data) -> None:
    """Give back the memory that looking at them took: otherwise both images would count as ours, whole."""
    for data in images:
        if isinstance(data, mmap.mmap):
            data.madvise(mmap.MADV_DONTNEED)
