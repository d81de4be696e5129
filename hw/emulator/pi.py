"""A Raspberry Pi as a board sees it: current, heartbeats, and how it takes a shutdown signal."""

from __future__ import annotations

from enum import Enum

from attrs import mutable

BEAT_S = 5.2
"""High for 0.2 s, then 5 s of sleep: fruit-testbed/PiStack-daemon, stackdaemon.py at c51e1e3."""


class PiState(Enum):
    """What it does, and what it draws: about as a Pi 3B+ that does little. A model, not a measurement."""

    OFF = "off", 0.0
    BOOTING = "booting", 0.65
    UP = "up", 0.4
    HALTING = "halting", 0.5
    HALTED = "halted", 0.1
    HUNG = "hung", 0.55

    def __init__(self, label: str, amperes: float) -> None:
        self.label = label
        self.amperes = amperes


@mutable
class EmulatedPi:
    """Runs by itself once it has power. Times in seconds; what is True can be changed at any moment."""

    boot_s: float = 12.0
    halt_s: float = 4.0
    hangs: bool = False
    """It will not come up, and stops beating if it is up: as after an update that hangs."""
    extra_amperes: float = 0.0
    state: PiState = PiState.OFF
    _until_s: float = 0.0
    _next_beat_s: float = 0.0

    @property
    def amperes(self) -> float:
        """What it draws on average."""
        return self.state.amperes + (self.extra_amperes if self.state is PiState.UP else 0.0)

    def power(self, on: bool, now_s: float) -> None:
        """Given or taken away."""
        self.state = PiState.BOOTING if on else PiState.OFF
        self._until_s = now_s + self.boot_s

    def signal(self, now_s: float) -> None:
        """The board asks it to shut down."""
        if self.state is PiState.UP:
            self.state, self._until_s = PiState.HALTING, now_s + self.halt_s

    def advance(self, now_s: float) -> float | None:
        """Let time pass; when the last heartbeat was, if there was one since."""
        beat_s = None
        if self.state in (PiState.BOOTING, PiState.HALTING) and now_s >= self._until_s:
            booted = self.state is PiState.BOOTING
            self.state = PiState.UP if booted else PiState.HALTED
            self._next_beat_s = self._until_s
        if self.state is PiState.UP and self.hangs:
            self.state = PiState.HUNG
        if self.state is PiState.UP and now_s >= self._next_beat_s:
            beats = int((now_s - self._next_beat_s) // BEAT_S)
            beat_s = self._next_beat_s + beats * BEAT_S
            self._next_beat_s = beat_s + BEAT_S
        return beat_s
