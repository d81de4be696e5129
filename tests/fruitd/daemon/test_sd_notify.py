"""What the service manager hears, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from fruitd.daemon.sd_notify import Notifier, take_notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's end, and the name it gives to its services."""
    name = (
        f"@fruitd-test-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "n")
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("\0" + name[1:] if name.startswith("@") else name)
        bound.setblocking(False)
        yield bound, name


def test_the_life_of_a_service(manager: tuple[socket.socket, str]) -> None:
    """systemd would never learn that the daemon is ready, and end it."""
    heard, name = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = take_notifier(environ, pid=7)
    assert environ == {"HOME": "/"}
    assert notifier.watchdog_s == 20.0
    assert notifier.ready("3 peers\nWATCHDOG=trigger")
    assert heard.recv(500) == b"READY=1\nSTATUS=3 peers WATCHDOG=trigger"
    assert notifier.status("fetching release 2")
    assert heard.recv(500) == b"STATUS=fetching release 2"
    assert notifier.stopping()
    assert heard.recv(500) == b"STOPPING=1"
    notifier.close()
    assert not notifier.alive()


def test_signs_of_life_at_half_the_time(manager: tuple[socket.socket, str]) -> None:
    """The watchdog would end a healthy daemon, or keep one whose core hangs."""
    heard, name = manager

    async def live() -> list[int]:
        well, counts = True, []
        notifier = Notifier(name, 20.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.keep_alive, lambda: well)
            for _ in range(2):
                await trio.sleep(60.5)
                counts.append(drain(heard))
                well = False
            nursery.cancel_scope.cancel()
        notifier.close()
        return counts

    assert trio.run(live, clock=trio.testing.MockClock(autojump_threshold=0)) == [7, 0]


def drain(heard: socket.socket) -> int:
    count = 0
    while True:
        try:
            assert heard.recv(500) == b"WATCHDOG=1"
        except BlockingIOError:
            return count
        count += 1


def test_nobody_listens(tmp_path: Path) -> None:
    """A daemon started by hand, or whose service manager has gone, would fail or hang."""
    silent = take_notifier({})
    assert not silent.ready("here")
    trio.run(silent.keep_alive)
    gone = take_notifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "x"})
    assert not gone.ready("here")
    assert gone.watchdog_s is None
    gone.close()
    odd = take_notifier(
        {"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, pid=7
    )
    assert (odd.ready("here"), odd.watchdog_s) == (False, None)


def test_a_busy_manager_does_not_stop_the_daemon(manager: tuple[socket.socket, str]) -> None:
    """A full queue of the service manager would block the event loop."""
    _, name = manager
    notifier = Notifier(name, None)
    answers = [notifier.status("busy") for _ in range(5000)]
    notifier.close()
    assert answers[0]
    assert not answers[-1]
