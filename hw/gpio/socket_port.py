"""A `GpioPort` behind a Unix socket: the lines of a Pi in an emulated bay (`hw.emulator.lines_socket` has the boards' side).

Apart from the emulator, so that a daemon in such a bay does not load the boards too.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from hw.errors import PortError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE

_MESSAGE_BYTES_MAX = 1024
_LINES = (HEARTBEAT_LINE, SIGNAL_LINE)


class SocketGpio:
    """A `GpioPort` on the Pi's side of such a socket."""

    def __init__(self, path: str) -> None:
        """Raises `PortError` where nobody plays a board there."""
        self._path = path
        self._levels = {SIGNAL_LINE: True, HEARTBEAT_LINE: False}
        self._changed: Callable[[bool], None] | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise PortError(f"no emulated board at {path}: {error.strerror or error}") from error
        threading.Thread(target=self._listen, name="emulated lines", daemon=True).start()

    def output(self, line: int, high: bool) -> None:
        """See `GpioPort`."""
        self._send(f"o {line} {int(high)}\n")

    def input(self, line: int) -> None:
        """See `GpioPort`."""
        self._send(f"i {line}\n")

    def level(self, line: int) -> bool:
        """See `GpioPort`."""
        return self._levels.get(line, False)

    def watch(self, line: int, changed: Callable[[bool], None]) -> bool:
        """See `GpioPort`."""
        if line == SIGNAL_LINE:
            self._changed = changed
        return True

    def release(self) -> None:
        """See `GpioPort`."""
        for line in _LINES:
            with contextlib.suppress(PortError):
                self.input(line)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _send(self, message: str) -> None:
        try:
            self._socket.sendall(message.encode())
        except OSError as error:
            raise PortError(
                f"the emulated board at {self._path} has gone: {error.strerror or error}"
            ) from error

    def _listen(self) -> None:
        kept = b""
        while True:
            try:
                data = self._socket.recv(_MESSAGE_BYTES_MAX)
            except OSError:
                return
            if not data:
                return
            *messages, kept = (kept + data).split(b"\n")
            for message in messages:
                match message.split():
                    case [b"l", line, level] if line == b"%d" % SIGNAL_LINE:
                        self._levels[SIGNAL_LINE] = level == b"1"
                        if self._changed is not None:
                            self._changed(self._levels[SIGNAL_LINE])
