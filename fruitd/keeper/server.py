"""The keeper's process: one request at a time over a Unix socket, from the daemon's user or root alone.

It opens no network socket, starts no program but the restart command, and ends by itself when nobody has asked for a while and
something else listens for it (systemd's socket activation): a node that has nothing to install keeps its memory.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from pathlib import Path

from fruitd.errors import BugError, FruitError, RetryError, UsageError
from fruitd.keeper import wire
from fruitd.keeper.service import Keeper
from fruitd.logs import get_logger

IDLE_S = 60.0
"""Longer than a boot backend's calls lie apart; shorter only starts the process more often."""
TURN_AWAY_S = 1.0
"""For a request to come whole: its sender has begun already."""
LISTEN_FDS_START = 3
"""sd_listen_fds(3)."""
log = get_logger(room="keeper")


def listen(path: Path, group: int | None) -> socket.socket:
    """Listen on `path`, for root and the group. Raises `UsageError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise UsageError(f"[keeper] socket {path} cannot be listened on: {error.strerror}") from error
    return listener


def inherited() -> socket.socket | None:
    """The socket that systemd listens on for this process, if it does."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=LISTEN_FDS_START)


def turn_away(listener: socket.socket, why: str) -> None:
    """Tell those who wait why there is no keeper. Left waiting, they would have the service manager start us again at once."""
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, BugError):
                connection.settimeout(TURN_AWAY_S)
                wire.receive(connection)
                wire.send(connection, wire.encode_failed(RetryError(f"the keeper refuses to run: {why}")))


def serve(keeper: Keeper, listener: socket.socket, user: int, *, idle_s: float | None) -> None:
    """Answer until idle for `idle_s` seconds (None: for ever). `user`: the daemon's; root may ask too."""
    while True:
        ready, _, _ = select.select([listener], [], [], idle_s)
        if not ready:
            return
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(wire.TIMEOUT_S)
            if _peer_user(connection) in (0, user):
                _answer(keeper, connection)
            else:
                log.warning("refused", why="somebody else than the daemon asked", user=_peer_user(connection))


def _answer(keeper: Keeper, connection: socket.socket) -> None:
    try:
        data = wire.receive(connection)
        if not data:
            return
        request = wire.decode_request(data)
        log.info("asked", what=type(request).__name__, slot=getattr(request, "slot", None))
        value = keeper.handle(request, lambda leaves: wire.send(connection, wire.encode_leaves(leaves)))
        reply = wire.encode_done(value)
    except FruitError as error:
        log.log(40 if isinstance(error, BugError) else 30, "refused", why=str(error))
        reply = wire.encode_failed(error)
    wire.send(connection, reply)


def _peer_user(connection: socket.socket) -> int:
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])
