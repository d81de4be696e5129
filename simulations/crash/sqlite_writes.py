"""Overhears what SQLite writes: a VFS of our own around the one that SQLite has, for as long as it is wanted.

SQLite's own extension point (https://www.sqlite.org/vfs.html), reached through ctypes; everything is done by the real one.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

_Pointer = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, _Pointer, _Pointer, _Pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
"""The name goes through as the pointer it is: SQLite keeps it for as long as the file is open."""
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int)
_RANDOMNESS = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int, _Pointer)
_OK = 0


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("path_bytes_max", ctypes.c_int),
        ("next", _Pointer),
        ("name", ctypes.c_char_p),
        ("data", _Pointer),
        ("open", _Pointer),
        ("delete", _Pointer),
        ("others", _Pointer * 6),
        ("randomness", _Pointer),
        ("more", _Pointer * 7),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("close", _Pointer),
        ("read", _Pointer),
        ("write", _Pointer),
        ("truncate", _Pointer),
        ("sync", _Pointer),
        ("others", _Pointer * 13),
    ]


class Listener(Protocol):
    """Who hears of it; called after it was done."""

    def opened(self, path: Path) -> None:
        """A database or its log is open; it may have been made."""

    def written(self, path: Path, offset: int, data: bytes) -> None:
        """Bytes were written."""

    def shortened(self, path: Path, size_bytes: int) -> None:
        """The file ends here now."""

    def flushed(self, path: Path) -> None:
        """fsync of the file."""

    def removed(self, path: Path, *, flushed: bool) -> None:
        """The name is gone; `flushed`: and its folder was synced."""


@contextmanager
def overheard(listener: Listener) -> Iterator[None]:
    """Every connection opened inside is overheard. They have to be closed inside too.

    SQLite's random numbers, which salt its log, begin anew from nothing, so that the same work writes the same bytes.
    """
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = _Pointer
    address = library.sqlite3_vfs_find(None)
    ear = _Ear(listener, address)
    library.sqlite3_vfs_register(ctypes.byref(ear.vfs), 1)
    library.sqlite3_randomness(0, None)
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(ear.vfs))
        library.sqlite3_vfs_register(_Pointer(address), 1)
        library.sqlite3_randomness(0, None)


class _Ear:
    """Holds everything that SQLite has a pointer to."""

    def __init__(self, listener: Listener, address: int) -> None:
        self._listener = listener
        self._address = address
        self._real = _Vfs.from_address(address)
        self._real_open, self._real_delete = _OPEN(self._real.open), _DELETE(self._real.delete)
        self._paths: dict[int, Path] = {}
        self._methods: dict[int, _Methods] = {}
        self._kept: list[Any] = [_OPEN(self._open), _DELETE(self._delete), _RANDOMNESS(_no_randomness)]
        self.vfs = _Vfs.from_buffer_copy(self._real)
        self.vfs.next = None
        self.vfs.name = b"overheard"
        functions = (ctypes.cast(function, _Pointer).value for function in self._kept)
        self.vfs.open, self.vfs.delete, self.vfs.randomness = functions

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out_flags: Any) -> int:
        result = int(self._real_open(self._address, name, file, flags, out_flags))
        if result == _OK and name is not None:
            self._paths[file] = _path(name)
            place = _Pointer.from_address(file)
            if place.value is not None:
                place.value = ctypes.addressof(self._listening(place.value))
            self._listener.opened(self._paths[file])
        return result

    def _delete(self, _vfs: int, name: int, sync_folder: int) -> int:
        result = int(self._real_delete(self._address, name, sync_folder))
        if result == _OK:
            self._listener.removed(_path(name), flushed=bool(sync_folder))
        return result

    def _listening(self, address: int) -> _Methods:
        """The methods of an open file, three of them ours."""
        if address in self._methods:
            return self._methods[address]
        real = _Methods.from_address(address)
        mine = self._methods[address] = _Methods.from_buffer_copy(real)
        write, truncate, sync = _WRITE(real.write), _TRUNCATE(real.truncate), _SYNC(real.sync)
        told, paths = self._listener, self._paths

        def on_write(file: int, data: int, count: int, offset: int) -> int:
            return _then(
                write(file, data, count, offset),
                lambda: told.written(paths[file], offset, ctypes.string_at(data, count)),
            )

        def on_truncate(file: int, size_bytes: int) -> int:
            return _then(truncate(file, size_bytes), lambda: told.shortened(paths[file], size_bytes))

        def on_sync(file: int, flags: int) -> int:
            return _then(sync(file, flags), lambda: told.flushed(paths[file]))

        functions = (_WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync))
        self._kept += functions
        mine.write, mine.truncate, mine.sync = (ctypes.cast(f, _Pointer).value for f in functions)
        return mine


def _no_randomness(_vfs: int, count: int, out: int) -> int:
    ctypes.memset(out, 0, count)
    return count


def _path(name: int) -> Path:
    return Path(ctypes.string_at(name).decode())


def _then(result: int, tell: Callable[[], None]) -> int:
    if result == _OK:
        tell()
    return result
