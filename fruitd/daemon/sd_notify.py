"""Tells the service manager how the daemon fares: ready, its status in words, alive, stopping.

The protocol is one datagram of `KEY=value` lines to the Unix socket named in NOTIFY_SOCKET (a name that
begins with `@` is in Linux' abstract namespace). Without that variable nothing is sent. Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping

import trio

STATUS_CHARS_MAX = 200


class Notifier:
    """Speaks to the service manager, if there is one; never fails and never blocks.

    Attributes:
        watchdog_s: after so long without a sign of life the daemon is ended; None where nobody watches.
    """

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def ready(self, status: str) -> bool:
        """The daemon has started; commands are answered."""
        return self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, words: str) -> bool:
        """What the daemon is doing, shown by `systemctl status`."""
        return self._send(f"STATUS={_one_line(words)}")

    def stopping(self) -> bool:
        """The daemon is about to end, on purpose."""
        return self._send("STOPPING=1")

    def alive(self) -> bool:
        """One sign of life."""
        return self._send("WATCHDOG=1")

    async def keep_alive(self, well: Callable[[], bool] = lambda: True) -> None:
        """Give a sign of life at half the watchdog's time, as long as `well()`.

        Returns at once where nobody watches. That this task runs shows that the event loop does; `well` may add
        what else a live daemon must show.
        """
        if self.watchdog_s is None or self._socket is None:
            return
        while True:
            if well():
                self.alive()
            await trio.sleep(self.watchdog_s / 2)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, lines: str) -> bool:
        """True if the datagram was handed over. A service manager that is gone or busy stops nobody."""
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(lines.encode("utf-8"), self._address)
        except OSError:
            return False
        return True


def take_notifier(environ: MutableMapping[str, str] | None = None, pid: int | None = None) -> Notifier:
    """The notifier this process was given, taken out of the environment so that no child speaks in our name.

    Args:
        environ: None is the process's own.
        pid: whom WATCHDOG_PID has to name, where it names anybody; None is this process.
    """
    variables = os.environ if environ is None else environ
    address = variables.pop("NOTIFY_SOCKET", "")
    microseconds = variables.pop("WATCHDOG_USEC", "")
    watched = variables.pop("WATCHDOG_PID", "")
    ours = watched in ("", str(os.getpid() if pid is None else pid))
    usable = microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
    watchdog_s = int(microseconds) / 1e6 if ours and usable else None
    return Notifier(address if address.startswith(("/", "@")) else None, watchdog_s)


def _one_line(words: str) -> str:
    """Words from anywhere, which must not become a line of the protocol."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:STATUS_CHARS_MAX]
