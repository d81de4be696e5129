"""Both lines of a Pi that sits on a board: beats, hears that it shall shut down, and says that it does.

`advance` is called by whoever waits (a daemon's loop, or `python -m hw beat`), at the time it gave, or sooner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import frozen

from hw.errors import PortError
from hw.gpio import HEARTBEAT_LINE, SIGNAL_LINE
from hw.gpio.debounce import Debouncer
from hw.gpio.heartbeat import PULSE_S, Heartbeat
from hw.gpio.port import GpioPort

LOOK_S = 0.05
"""How often the signal line is looked at where edges cannot be watched. Larger misses short signals, smaller costs processor."""


@frozen
class Moment:
    """What `advance` found."""

    next_s: float
    """Call again then, at the latest."""
    shut_down: bool
    """The board pulled its line low and kept it there: the power goes when its off delay is over."""


class PiLines:
    """Use as a context: whatever ends the block, an exception too, the lines are inputs afterwards and the heart stops.

    A process that is killed outright cannot do that: lines stay as they were, so that the heart stops all the same (a board
    counts pulses), and `python -m hw release` lets go of them (`ExecStopPost=` of a systemd unit).
    """

    def __init__(
        self, port: GpioPort, clock: Callable[[], float], wake: Callable[[], None] = lambda: None
    ) -> None:
        """Lets go of what an earlier process may have left driven. Raises `PortError`.

        `wake` is called, from any thread, where `advance` should be called sooner than it said.
        """
        self._port, self._clock, self._wake = port, clock, wake
        self.heartbeat = Heartbeat()
        self._high = False
        self._announcing_until_s: float | None = None
        self._edges: deque[tuple[bool, float]] = deque(maxlen=256)
        try:
            port.input(SIGNAL_LINE)
            port.output(HEARTBEAT_LINE, False)
            self._debouncer = Debouncer(port.level(SIGNAL_LINE))
            self._watched = port.watch(SIGNAL_LINE, self._changed)
        except PortError:
            port.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._port.release()

    def announce_shutdown(self) -> None:
        """Tell the board that this Pi shuts down: it takes the power away after its signal-off delay. Raises `PortError`."""
        self.heartbeat.unhealthy()
        self._port.output(SIGNAL_LINE, False)
        self._announcing_until_s = self._clock() + PULSE_S

    def advance(self) -> Moment:
        """Do what is due. Raises `PortError`."""
        now_s = self._clock()
        high, next_s = self.heartbeat.advance(now_s)
        if high is not self._high:
            self._port.output(HEARTBEAT_LINE, high)
            self._high = high
        if self._announcing_until_s is not None:
            self._edges.clear()  # our own
            if now_s < self._announcing_until_s:
                return Moment(min(next_s, self._announcing_until_s), False)
            self._port.input(SIGNAL_LINE)
            self._announcing_until_s = None
            self._debouncer = Debouncer(self._port.level(SIGNAL_LINE))
        shut_down = self._hear(now_s)
        if not self._watched:
            next_s = min(next_s, now_s + LOOK_S)
        due_s = self._debouncer.due_s
        return Moment(next_s if due_s is None else min(next_s, due_s), shut_down)

    def _changed(self, level: bool) -> None:
        self._edges.append((level, self._clock()))
        self._wake()

    def _hear(self, now_s: float) -> bool:
        settled = []
        while self._edges:
            level, at_s = self._edges.popleft()
            settled.append(self._debouncer.edge(level, at_s))
        # The level itself has the last word: edges get lost.
        settled.append(self._debouncer.edge(self._port.level(SIGNAL_LINE), now_s))
        settled.append(self._debouncer.advance(now_s))
        return False in settled
