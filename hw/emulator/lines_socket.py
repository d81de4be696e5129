"""The lines of Pis in emulated bays behind Unix sockets, so that a program in another process plays the Pi.

One text line a message. From the Pi: `o LINE LEVEL` drives a line, `i LINE` lets go of it. To the Pi: `l LINE LEVEL`, the level
of a line it listens to, at once and whenever it changes. When the Pi's process ends, the lines are inputs again, as with a dead
Pi.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from pathlib import Path

from attrs import define

from hw.emulator.gpio import EmulatedGpio
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE

_MESSAGE_BYTES_MAX = 1024
_LINES = (HEARTBEAT_LINE, SIGNAL_LINE)


@define
class _Pi:
    """Who is connected to a bay."""

    connection: socket.socket
    kept: bytes = b""


class LinesServer:
    """The boards' side, for several bays; `run` serves until `stop`. `lock` is held while a board is touched."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._bays: dict[Path, EmulatedGpio] = {}
        self._pis: dict[Path, _Pi] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._stopping = False

    def add(self, path: Path, gpio: EmulatedGpio) -> None:
        """Listen for the Pi of this bay. Before `run`."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.fspath(path))
        listener.listen(1)
        listener.setblocking(False)
        self._bays[path] = gpio
        self._selector.register(listener, selectors.EVENT_READ, path)
        gpio.watch(SIGNAL_LINE, lambda level: self._tell(path, level))

    def pull(self, path: Path, *, low: bool) -> None:
        """The board's signal to the Pi begins or ends. The lock is held by the caller."""
        self._bays[path].board_pulls(low)

    def run(self) -> None:
        """Serve."""
        while not self._stopping:
            for key, _ in self._selector.select():
                if isinstance(key.data, Path) and isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj, key.data)
                elif isinstance(key.data, tuple):
                    self._read(*key.data)

    def stop(self) -> None:
        """From any thread."""
        self._stopping = True
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """After `run` has come back."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _accept(self, listener: socket.socket, path: Path) -> None:
        connection, _ = listener.accept()
        connection.settimeout(1.0)
        self._gone(path)
        self._pis[path] = _Pi(connection)
        self._selector.register(connection, selectors.EVENT_READ, (path, connection))
        with self._lock:
            self._tell(path, self._bays[path].level(SIGNAL_LINE))

    def _read(self, path: Path, connection: socket.socket) -> None:
        pi = self._pis.get(path)
        if pi is None or pi.connection is not connection:
            return
        try:
            data = connection.recv(_MESSAGE_BYTES_MAX)
        except OSError:
            data = b""
        if not data:
            self._gone(path)
            return
        *messages, pi.kept = (pi.kept + data).split(b"\n")
        with self._lock:
            for message in messages:
                self._heard(self._bays[path], message)

    def _heard(self, gpio: EmulatedGpio, message: bytes) -> None:
        match message.split():
            case [b"o", line, level]:
                gpio.output(int(line), level == b"1")
            case [b"i", line]:
                gpio.input(int(line))

    def _gone(self, path: Path) -> None:
        pi = self._pis.pop(path, None)
        if pi is None:
            return
        self._selector.unregister(pi.connection)
        pi.connection.close()
        with self._lock:
            for line in _LINES:
                self._bays[path].input(line)

    def _tell(self, path: Path, level: bool) -> None:
        pi = self._pis.get(path)
        if pi is not None:
            with contextlib.suppress(OSError):
                pi.connection.sendall(f"l {SIGNAL_LINE} {int(level)}\n".encode())
