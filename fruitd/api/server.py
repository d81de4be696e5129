"""Serves the API on a Unix socket, beside the node's other tasks."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

import hypercorn.config
import trio
from hypercorn.trio import serve

from fruitd.api.app import node_app
from fruitd.api.port import NodeView
from fruitd.errors import UsageError
from fruitd.logs import get_logger

BACKLOG = 16
"""Commands waiting to be taken; more than one operator's terminals."""
GRACE_S = 0.5
"""How long a stopping node waits for answers under way; a watch never ends by itself."""


async def serve_api(
    view: NodeView,
    socket_path: Path,
    mode: int,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on `socket_path` until cancelled; started once it listens; removes the socket at the end.

    Args:
        view: the node.
        socket_path: made, with its folder; a socket nobody listens on any more is replaced.
        mode: permissions of the socket, set before it listens. Whoever may write to it may command the node.

    Raises:
        UsageError: another process listens there, something that is no socket is there, or it cannot be made.
    """
    listener = listen(socket_path, mode)
    inode = socket_path.lstat().st_ino
    config = hypercorn.config.Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = GRACE_S
    config.backlog = BACKLOG
    listener.listen(BACKLOG)  # and stays so while hypercorn begins anew
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, view, config, listener)
            task_status.started()
    finally:
        listener.close()
        _remove_own(socket_path, inode)


async def _serve(
    view: NodeView,
    config: hypercorn.config.Config,
    listener: socket.socket,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    app, announce = node_app(view), task_status
    while True:
        config.bind = [f"fd://{os.dup(listener.fileno())}"]  # hypercorn closes what it is given
        try:
            await serve(app, config, task_status=announce)  # type: ignore[arg-type]  # Hypercorn's own type of an app is narrower
        except* trio.BusyResourceError:
            # Hypercorn 0.18 closes a connection while it is being written to, when a client leaves at the wrong moment, and falls
            # over it with all its connections. The node must not fall with it.
            get_logger(room="api").warning("the API begins anew: a client left in the middle of an answer")
            announce = trio.TASK_STATUS_IGNORED


def listen(path: Path, mode: int) -> socket.socket:
    """A socket bound to `path` that only those whom `mode` names can reach; see `serve_api` for errors."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(os.fspath(path))
            path.chmod(mode)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        words = error.strerror or str(error)
        raise UsageError(f"[api] socket {path} cannot be made: {words}") from error
    return bound


def _remove_stale(path: Path) -> None:
    """Remove a socket whose owner is gone; a live one, or anything else, is left alone and refused."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise UsageError(
            f"[api] socket {path} is there and is no socket; move it away or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        failed = probe.connect_ex(os.fspath(path))
    if failed == errno.ECONNREFUSED:
        path.unlink()
    elif failed in (0, errno.EAGAIN):
        raise UsageError(f"[api] socket {path} is in use; is another fruitd running?")
    else:
        raise OSError(failed, os.strerror(failed))


def _remove_own(path: Path, inode: int) -> None:
    """Remove the socket at the end, unless somebody else's stands there by now."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()
