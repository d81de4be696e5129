from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.emulator.board import Bay, Board
from hw.emulator.gpio import EmulatedGpio
from hw.emulator.stack import EmulatedStack
from hw.errors import ExtraMissingError, PortError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE
from hw.gpio.debounce import SETTLE_S, Debouncer
from hw.gpio.heartbeat import LENT_S_MAX, PAUSE_S, PULSE_S, Heartbeat
from hw.gpio.lines import PiLines
from hw.gpio.port import RpiGpioPort
from hw.pistack import commands

ROOT = Path(__file__).parents[2]


class Bench:
    """A Pi in a bay, with our own code at its lines, on virtual time."""

    def __init__(self, watches_edges: bool = True) -> None:
        self.now_s = 0.0
        self.board = Board(0, bays=(Bay(), Bay()))
        self.stack = EmulatedStack([self.board])
        self.stack.advance(0.0)
        self.port = EmulatedGpio(self.board, 0, watches_edges)
        self.woken = 0
        self.lines = PiLines(self.port, lambda: self.now_s, self._wake)
        self.told_s: list[float] = []
        self.rises: list[float] = []

    def _wake(self) -> None:
        self.woken += 1

    def run(self, until_s: float, healthy: bool = True) -> None:
        """As a daemon does: looks when told to, and when woken."""
        next_s = self.now_s
        while next_s <= until_s:
            self.now_s = next_s
            self.stack.advance(self.now_s)
            if healthy:
                self.lines.heartbeat.healthy(self.now_s)
            was_high = self.port.driven.get(HEARTBEAT_LINE, False)
            moment = self.lines.advance()
            if self.port.driven.get(HEARTBEAT_LINE, False) and not was_high:
                self.rises.append(self.now_s)
            if moment.shut_down:
                self.told_s.append(self.now_s)
            assert moment.next_s > self.now_s
            next_s = moment.next_s
        self.now_s = until_s
        self.stack.advance(self.now_s)

    def board_says_well(self) -> bool:
        return self.board.answer(b"\x0f\x00\x04\x00\x98") is not None and self.board._heartbeat_ok(
            self.board.bays[0]
        )


def test_the_heartbeat_is_what_the_board_expects() -> None:
    """The board would think that its Pi has died."""
    bench = Bench()
    bench.run(60)
    gaps = {round(b - a, 6) for a, b in zip(bench.rises, bench.rises[1:], strict=False)}
    assert gaps == {PULSE_S + PAUSE_S}
    assert bench.board_says_well()


def test_an_unhealthy_daemon_falls_silent_and_so_does_one_that_hangs() -> None:
    """A node that does nothing any more would look alive, and would never be power-cycled."""
    for told in (True, False):
        bench = Bench()
        bench.run(30)
        if told:
            bench.lines.heartbeat.unhealthy()
        beats = len(bench.rises)
        stopped_s = bench.now_s
        bench.run(120, healthy=False)
        late = [at_s for at_s in bench.rises[beats:] if at_s > stopped_s + (0 if told else LENT_S_MAX)]
        assert late == []
        assert not bench.board_says_well()
        bench.run(140)
        assert bench.board_says_well()


def test_a_pause_is_seen_and_ends() -> None:
    """Which bay a node sits in could not be learned, or learning it would get its Pi cycled."""
    bench = Bench()
    bench.run(11)
    bench.lines.heartbeat.pause(31)
    beats = len(bench.rises)
    bench.run(30.9)
    assert len(bench.rises) == beats
    bench.run(40)
    assert len(bench.rises) > beats


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=30))
def test_a_heartbeat_never_lasts_longer_than_a_pulse(steps: list[tuple[float, bool]]) -> None:
    """A line left high by a change of health would heat a resistor, and stop the edges."""
    heart, now_s, high_since_s = Heartbeat(), 0.0, None
    for wait_s, healthy in steps:
        high, next_s = heart.advance(now_s)
        assert next_s > now_s
        high_since_s = (now_s if high_since_s is None else high_since_s) if high else None
        assert high_since_s is None or now_s - high_since_s < PULSE_S
        if healthy:
            heart.healthy(now_s)
        else:
            heart.unhealthy()
        now_s = min(next_s, now_s + wait_s) if wait_s > 0 else next_s


@given(st.lists(st.floats(0.0005, 0.06), max_size=60))
def test_the_debouncer_agrees_with_a_look_at_the_whole_history(gaps_s: list[float]) -> None:
    """A relay's bounce would shut a Pi down, or a real signal would be missed."""
    debouncer, level, now_s = Debouncer(True), True, 0.0
    found, edges = [], [(0.0, True)]
    for gap_s in gaps_s:
        now_s += gap_s
        level = not level
        edges.append((now_s, level))
        settled = debouncer.edge(level, now_s)
        found += [] if settled is None else [settled]
    settled = debouncer.advance(now_s + 1)
    found += [] if settled is None else [settled]
    expected, stable = [], True
    for (at_s, is_high), (next_s, _) in zip(edges, [*edges[1:], (now_s + 1, level)], strict=True):
        if next_s >= at_s + SETTLE_S and is_high is not stable:
            stable = is_high
            expected.append(is_high)
    assert found == expected


@pytest.mark.parametrize("watches_edges", [True, False])
def test_the_boards_signal_is_heard_and_a_bounce_is_not(watches_edges: bool) -> None:
    """A Pi would lose its power while it writes to its card; or a spike would shut a healthy one down."""
    bench = Bench(watches_edges)
    bench.run(10)
    for spike_s in (10.001, 10.004, 10.009):
        bench.now_s = spike_s
        bench.port.board_pulls(low=True)
        bench.now_s = spike_s + 0.002
        bench.port.board_pulls(low=False)
    bench.run(20)
    assert bench.told_s == []
    woken = bench.woken
    bench.port.board_pulls(low=True)
    assert bench.woken == woken + watches_edges
    bench.run(20.2)
    bench.port.board_pulls(low=False)
    bench.run(30)
    assert len(bench.told_s) == 1
    assert bench.told_s[0] <= 20.2


def test_a_line_that_is_low_from_the_start_shuts_nothing_down() -> None:
    """A Pi on a board whose line is broken would shut down at each start."""
    bench = Bench()
    bench.port.board_pulls(low=True)
    bench.lines = PiLines(bench.port, lambda: bench.now_s)
    bench.run(30)
    assert bench.told_s == []


def test_a_pi_announces_its_own_shutdown_and_does_not_hear_itself() -> None:
    """The board would keep a halted Pi powered; or a Pi that says it goes would be told to go."""
    bench = Bench()
    bench.board.bays[0].settings[commands.SIGNAL_OFF_DELAY] = 8
    bench.run(10)
    beats = len(bench.rises)
    bench.lines.announce_shutdown()
    assert bench.port.driven[SIGNAL_LINE] is False
    bench.run(15, healthy=False)
    assert SIGNAL_LINE in bench.port.inputs
    assert bench.told_s == []
    assert len(bench.rises) == beats
    assert bench.board.bays[0].powered
    bench.run(19, healthy=False)
    assert not bench.board.bays[0].powered


def test_lines_are_let_go_whatever_ends_the_block() -> None:
    """A daemon that raises would leave the signal line low, and its Pi without power."""
    bench = Bench()
    bench.lines.announce_shutdown()
    with pytest.raises(ZeroDivisionError), bench.lines:
        raise ZeroDivisionError
    assert bench.port.driven == {}
    assert bench.port.inputs == {HEARTBEAT_LINE, SIGNAL_LINE}


def test_a_port_that_fails_is_our_error_and_is_let_go() -> None:
    """A machine without GPIO would end in a traceback."""
    bench = Bench()
    bench.port.broken = True
    with pytest.raises(PortError):
        bench.lines.announce_shutdown()
    with pytest.raises(PortError):
        PiLines(bench.port, lambda: 0.0)
    assert bench.port.driven == {}


_STAND_IN = """
import json, os, time
BCM, OUT, IN, PUD_OFF, BOTH = 11, 0, 1, 20, 33
_FILE = os.environ["STAND_IN_FILE"]
def _lines():
    try: return json.load(open(_FILE))
    except FileNotFoundError: return {}
def _save(lines):
    with open(_FILE + ".new", "w") as file: json.dump(lines, file)
    os.replace(_FILE + ".new", _FILE)
def setwarnings(on): pass
def setmode(mode): assert mode == BCM
def setup(line, way, pull_up_down=None, initial=None):
    lines = _lines(); lines[str(line)] = [way, 1 if way == IN else initial]; _save(lines)
def gpio_function(line): return _lines()[str(line)][0]
def output(line, level):
    lines = _lines(); assert lines[str(line)][0] == OUT; lines[str(line)][1] = int(level); _save(lines)
def input(line): return _lines().get(str(line), [IN, 1])[1]
def add_event_detect(line, edge, callback): raise RuntimeError("Failed to add edge detection")
def cleanup(line): setup(line, IN)
"""
"""RPi.GPIO as it is on a kernel from 6.6, with the chip's registers in a file: they outlive the process, as real ones do."""


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    package = tmp_path / "RPi"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "GPIO.py").write_text(_STAND_IN)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "STAND_IN_FILE": str(tmp_path / "lines.json")}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_real_process_lets_its_lines_go(stand_in: dict[str, str], end: signal.Signals) -> None:
    """A daemon that was stopped, or killed and cleaned up after, would leave its lines driven. (A real clock: half a second.)"""
    registers = Path(stand_in["STAND_IN_FILE"])
    command = [sys.executable, "-m", "hw"]
    with subprocess.Popen([*command, "beat", "--force"], env=stand_in, stderr=subprocess.PIPE) as process:
        while process.poll() is None and '"5": [0, 1]' not in (
            registers.read_text() if registers.exists() else ""
        ):
            os.sched_yield()
        process.send_signal(end)
        _, errors = process.communicate()
    assert b"Traceback" not in errors
    if end is signal.SIGKILL:
        assert '"5": [0, 1]' in registers.read_text()  # killed in the middle of a beat
        subprocess.run([*command, "release"], env=stand_in, check=True)
    else:
        assert process.returncode == 0
    assert registers.read_text() == '{"6": [1, 1], "5": [1, 1]}'


def test_without_rpi_gpio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person would see a traceback about a module they never heard of."""
    monkeypatch.setitem(sys.modules, "RPi", None)
    with pytest.raises(ExtraMissingError, match=r"fruitd\[pi\]"):
        RpiGpioPort()
