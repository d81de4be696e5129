"""Records every write, flush and change of names below a folder, while real code runs on real files.

Writes by position, flushes and names are overheard at Python's door to the system, SQLite's at its own; what is written in other
ways, as by a loader's own tool, is found by looking at the file before the next of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from simulations.crash.disk import (
    SECTOR_BYTES,
    Content,
    Flush,
    FlushNames,
    Link,
    Milestone,
    Operation,
    Rename,
    Truncate,
    Unlink,
    Write,
)
from simulations.crash.sqlite_writes import overheard

VOLATILE = ("lock", "reserve", "state.db-shm")
"""A lock and shared memory are of the running machine only; the reserve holds nothing but room."""


def read_content(folder: Path) -> dict[str, bytes]:
    """What a folder holds, less what does not count."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in VOLATILE)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class Recorder:
    """What happened below one folder, from its making on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.before: Content = read_content(folder)
        self.operations: list[Operation] = []
        self._files = {name: number for number, name in enumerate(self.before)}
        self._known = {number: bytearray(self.before[name]) for name, number in self._files.items()}
        self._next = len(self._files)
        self._pwrite, self._fsync = os.pwrite, os.fsync
        self._replace, self._unlink = Path.replace, Path.unlink

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record what this process does. For one thread, and one recorder at a time."""
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(os, "pwrite", self._on_pwrite))
            stack.enter_context(mock.patch.object(os, "fsync", self._on_fsync))
            stack.enter_context(mock.patch.object(Path, "replace", _as_method(self._on_replace)))
            stack.enter_context(mock.patch.object(Path, "unlink", _as_method(self._on_unlink)))
            stack.enter_context(overheard(self))
            yield self

    def milestone(self, word: str, number: int) -> None:
        """Something that whoever judges has to know."""
        self.operations.append(Milestone(word, number))

    def look(self, path: Path, *, flushed: bool = False) -> None:
        """Something else may have written this file: what differs was written now."""
        name = self._name(path)
        if name is None or path.name in VOLATILE:
            return
        file = self._file(name)
        known, found = self._known[file], path.read_bytes()
        for at in range(0, len(found), SECTOR_BYTES):
            sector = found[at : at + SECTOR_BYTES]
            if known[at : at + SECTOR_BYTES] != sector:
                self._wrote(file, at, sector)
        if len(found) < len(known):
            self._shortened(file, len(found))
        if flushed:
            self.operations.append(Flush(file))

    # ------------------------------------------------------------------ names

    def _name(self, path: Path) -> str | None:
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else None

    def _file(self, name: str) -> int:
        if name not in self._files:
            self._files[name], self._next = self._next, self._next + 1
            self._known[self._files[name]] = bytearray()
            self.operations.append(Link(name, self._files[name]))
        return self._files[name]

    def _path_of(self, descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def _wrote(self, file: int, offset: int, data: bytes) -> None:
        known = self._known[file]
        if len(known) < offset:
            known.extend(bytes(offset - len(known)))
        known[offset : offset + len(data)] = data
        self.operations.append(Write(file, offset, data))

    def _shortened(self, file: int, size_bytes: int) -> None:
        del self._known[file][size_bytes:]
        self.operations.append(Truncate(file, size_bytes))

    # ------------------------------------------------------------------ Python

    def _on_pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        count = self._pwrite(descriptor, data, offset)
        name = self._name(self._path_of(descriptor))
        if name is not None:
            self._wrote(self._file(name), offset, bytes(data[:count]))
        return count

    def _on_fsync(self, descriptor: int) -> None:
        path = self._path_of(descriptor)
        if self._name(path) is None:
            self._fsync(descriptor)
        elif path.is_dir():
            self.operations.append(FlushNames())
        else:
            self.look(path, flushed=True)

    def _on_replace(self, path: Path, new: str | Path) -> Path:
        names = self._name(path), self._name(Path(new))
        if names[0] is not None and names[1] is not None:
            self.look(path)
            self._files[names[1]] = self._files.pop(names[0])
            self.operations.append(Rename(names[0], names[1]))
        return self._replace(path, new)

    def _on_unlink(self, path: Path, missing_ok: bool = False) -> None:
        self._unlink(path, missing_ok)
        self.removed(path, flushed=False)

    # ------------------------------------------------------------------ SQLite: `sqlite_writes.Listener`

    def opened(self, path: Path) -> None:
        """See `Listener`."""
        name = self._name(path)
        if name is not None and path.exists():
            self._file(name)

    def written(self, path: Path, offset: int, data: bytes) -> None:
        """See `Listener`."""
        name = self._name(path)
        if name is not None:
            self._wrote(self._file(name), offset, data)

    def shortened(self, path: Path, size_bytes: int) -> None:
        """See `Listener`."""
        name = self._name(path)
        if name is not None:
            self._shortened(self._file(name), size_bytes)

    def flushed(self, path: Path) -> None:
        """See `Listener`."""
        name = self._name(path)
        if name is not None:
            self.operations.append(Flush(self._file(name)))

    def removed(self, path: Path, *, flushed: bool) -> None:
        """See `Listener`."""
        name = self._name(path)
        if name is not None and self._files.pop(name, None) is not None:
            self.operations.append(Unlink(name))
            if flushed:
                self.operations.append(FlushNames())


def _as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A bound method in a class would not be given the object it is called on."""

    def method(path: Path, *arguments: Any, **named: Any) -> Any:
        return function(path, *arguments, **named)

    return method
