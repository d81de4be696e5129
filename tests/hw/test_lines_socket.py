"""Lines of an emulated bay that another process plays: without them the demo would show a board that no daemon drives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hw.emulator.board import Bay, Board
from hw.emulator.gpio import EmulatedGpio
from hw.emulator.lines_socket import LinesServer
from hw.errors import PortError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE
from hw.gpio.lines import PiLines
from hw.gpio.socket_port import SocketGpio

PATIENCE_S = 60.0


class Socket:
    """A board with one bay behind a socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.board = Board(0, bays=(Bay(None), Bay(None)))
        self.board.advance(1.0, 12.0)
        self.gpio = EmulatedGpio(self.board, 0)
        self.lock = threading.Lock()
        self.server = LinesServer(self.lock)
        self.server.add(path, self.gpio)


@pytest.fixture
def bay(tmp_path: Path) -> Iterator[Socket]:
    made = Socket(tmp_path / "bay.sock")
    thread = threading.Thread(target=made.server.run, daemon=True)
    thread.start()
    yield made
    made.server.stop()
    thread.join()
    made.server.close()


def until(reached: Callable[[], bool]) -> None:
    """Another thread needs a moment; on a busy machine a long one."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_heart_beats_through_the_socket_and_stops_with_its_process(bay: Socket) -> None:
    """The board would see no beat, or see one for ever."""
    port = SocketGpio(str(bay.path))
    with PiLines(port, lambda: 100.0) as lines:
        lines.heartbeat.healthy(100.0)
        lines.advance()
        until(lambda: bay.gpio.driven.get(HEARTBEAT_LINE) is True)
        assert bay.board.bays[0].beat_s == 1.0
    until(lambda: not bay.gpio.driven)


def test_a_process_that_is_killed_lets_go_of_its_lines(bay: Socket) -> None:
    """A dead Pi would hold its lines, and the next one could not beat."""
    port = SocketGpio(str(bay.path))
    port.output(HEARTBEAT_LINE, True)
    until(lambda: bay.gpio.driven.get(HEARTBEAT_LINE) is True)
    port._socket.shutdown(2)  # as the kernel does for a process that is gone
    until(lambda: not bay.gpio.driven)
    again = SocketGpio(str(bay.path))
    again.output(HEARTBEAT_LINE, True)
    until(lambda: bay.gpio.driven.get(HEARTBEAT_LINE) is True)
    again.release()


def test_a_board_is_heard_and_told_of_a_shutdown(bay: Socket) -> None:
    """Pis would lose their power without having shut down, or keep it when they have."""
    heard: list[bool] = []
    port = SocketGpio(str(bay.path))
    port.watch(SIGNAL_LINE, heard.append)
    until(lambda: bay.path in bay.server._pis)
    with bay.lock:
        bay.server.pull(bay.path, low=True)
    until(lambda: False in heard)
    assert port.level(SIGNAL_LINE) is False
    with bay.lock:
        bay.server.pull(bay.path, low=False)
    until(lambda: port.level(SIGNAL_LINE))
    port.output(SIGNAL_LINE, False)
    until(lambda: bay.board.bays[0].off_at_s is not None)
    port.release()


def test_nobody_there_is_an_error_of_ours(tmp_path: Path) -> None:
    """A daemon would end in a traceback where its demo has gone."""
    with pytest.raises(PortError):
        SocketGpio(str(tmp_path / "nothing.sock"))
