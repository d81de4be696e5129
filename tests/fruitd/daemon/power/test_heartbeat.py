"""The daemon at its board's lines: if it failed, a sick node would look well, or a board cut its Pi off at the wrong moment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import fruitd.daemon.power.heartbeat as heartbeat
from fruitd.daemon.power.heartbeat import HeartbeatTask, wanted_lines
from fruitd.power.heart import BAD_LOOKS
from hw.emulator.board import Bay, Board
from hw.emulator.gpio import EmulatedGpio
from hw.emulator.stack import EmulatedStack
from hw.gpio import HEARTBEAT_LINE
from hw.gpio.lines import PiLines

NOBODY: Any = object()
"""A daemon that is not asked anything."""


class Seat:
    """A bay whose Pi is this process."""

    def __init__(self) -> None:
        self.board = Board(0, bays=(Bay(), Bay()))
        EmulatedStack([self.board]).advance(0.0)
        self.port = EmulatedGpio(self.board, 0)
        self.lines = PiLines(self.port, time.monotonic)
        self.task = HeartbeatTask(NOBODY, "gpio")

    def beat_once(self) -> bool:
        """Whether the line went high."""
        before = self.board.bays[0].beat_s
        self.board.now_s += 10.0
        trio.run(self.task._beat_once, self.lines, clock=trio.testing.MockClock(autojump_threshold=0))
        return self.board.bays[0].beat_s != before


def test_the_heart_beats_while_the_machine_is_well_and_not_when_it_is_sick() -> None:
    """A node with a dead disk would look alive on the bus, and never be power-cycled."""
    assert Seat().beat_once()
    sick = Seat()
    for _ in range(BAD_LOOKS):
        sick.task._heart.look([("memory", False, "3 MiB available")], on_trial=False)
    assert not sick.beat_once()
    assert not sick.port.driven.get(HEARTBEAT_LINE, False)


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ("7 poweroff.target start running", True),
        ("7 halt.target   start   waiting", True),
        ("7 reboot.target start running", False),
        ("7 fruitd.service stop running", False),
        ("", False),
        (None, False),
    ],
)
def test_a_board_is_told_of_a_power_off_and_of_nothing_else(
    jobs: str | None, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board would take the power of a Pi that only starts again; or leave a halted one powered for ever."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(heartbeat, "ANNOUNCE_S", 0.0)
    if jobs is not None:
        (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho '{jobs}'\n")
        (tmp_path / "systemctl").chmod(0o755)
    seat = Seat()
    trio.run(seat.task._announce, seat.lines)
    assert (seat.board.bays[0].off_at_s is not None) is told


@pytest.mark.parametrize(
    ("product", "lines"),
    [(b"Pi Stack\0", "gpio"), (b"Pi stack v2\0", "gpio"), (b"Sense HAT\0", "none"), (None, "none")],
)
def test_the_heart_beats_by_itself_on_a_board_and_nowhere_else(
    product: bytes | None, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pi on a board would need a line in its configuration; or one with another HAT have its pins driven."""
    hat = tmp_path / "product"
    if product is not None:
        hat.write_bytes(product)
    monkeypatch.setattr(heartbeat, "HAT_PRODUCT", hat)
    assert wanted_lines("auto") == lines
    assert wanted_lines("none") == "none"
    assert wanted_lines("/run/bay") == "/run/bay"
