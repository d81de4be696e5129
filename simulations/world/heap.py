"""Virtual time: what happens next, and the chance behind it.

Nothing here reads a clock. Two events at the same moment happen in the order in which they were planned, so that a run
is a function of its seed alone.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
from collections.abc import Callable
from typing import Any

Action = Callable[..., object]
TICKS_PER_S = 1 << 20
"""Moments are whole ticks of about a microsecond: sums and differences of times below 2**32 s are then exact in a float, so
that a clock which starts at a machine's boot and the world's clock never disagree by a rounding."""


def tick(when_s: float) -> float:
    """The first tick that is not before this moment."""
    return math.ceil(when_s * TICKS_PER_S) / TICKS_PER_S


class Heap:
    """Events in order of virtual time.

    `now_s` never goes back; an event planned for the past happens now, after what is already planned for now.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.happened = 0
        """Events carried out so far."""
        self._serial = 0
        self._events: list[tuple[float, int, Action, tuple[Any, ...]]] = []

    def __len__(self) -> int:
        return len(self._events)

    def at(self, when_s: float, action: Action, *args: Any) -> None:
        """Plan `action(*args)` for a moment; there is no cancelling: an action that came too late looks and returns."""
        self._serial += 1
        heapq.heappush(self._events, (max(tick(when_s), self.now_s), self._serial, action, args))

    def after(self, delay_s: float, action: Action, *args: Any) -> None:
        """Plan `action(*args)` for `delay_s` from now."""
        self.at(self.now_s + delay_s, action, *args)

    def run_until(self, end_s: float, stop: Callable[[], bool] | None = None) -> None:
        """Let everything up to and including `end_s` happen; `stop` is asked after each event.

        Stopped early, `now_s` is the moment of the last event; otherwise it is `end_s`.
        """
        events = self._events
        while events and events[0][0] <= end_s:
            self.now_s, _, action, args = heapq.heappop(events)
            self.happened += 1
            action(*args)
            if stop is not None and stop():
                return
        self.now_s = max(self.now_s, tick(end_s))


class Dice:
    """Every random choice of a world, from one seed.

    Each consumer throws its own dice, named: a new consumer does not shift the throws of the others, so that a seed that
    once failed still tells the same story after code was added.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bytes_for(self, *names: str | int) -> bytes:
        """32 bytes that are a function of the seed and the names; key material of virtual nodes comes from here."""
        return hashlib.sha256(repr((self.seed, *names)).encode()).digest()

    def named(self, *names: str | int) -> random.Random:
        """A generator of its own for this consumer."""
        return random.Random(int.from_bytes(self.bytes_for(*names), "big"))
