"""When to introduce ourselves on the LAN.

A few beacons soon after the start, then a steady beat with jitter so that nodes which got power at the same
moment drift apart. News about ourselves brings the next beacon forward, within an allowance. The beat slows
as the site grows: what each node hears stays about the same, as in RTCP (RFC 3550, section 6.2).
"""

from __future__ import annotations

import random

JITTER = 0.25
"""Share of an interval by which beacons wander. Less lets nodes beat together; more makes silence harder to
judge."""
START_PAUSES_S = (1.0, 3.0, 8.0)
"""After the first beacon: repeats for listeners that lost it or start at the same moment."""
SECONDS_PER_NEIGHBOUR = 1.5
"""At 165 bytes a beacon every node then hears at most 110 bytes/s, whatever the size of the site."""
SILENT_INTERVALS = 4
"""Beacons that may be lost in a row before a neighbour is asked directly. Fewer: needless questions on bad
Wi-Fi."""
ALLOWANCE_MAX = 4.0
ALLOWANCE_EVERY_S = 15.0
"""Extra beacons: four at once, then one every 15 s. More would let a node that changes often disturb its
whole site."""


def interval_s(base_s: float, neighbours: int) -> float:
    """Seconds between two beacons of one node of a site in which it hears `neighbours` others."""
    return max(base_s, SECONDS_PER_NEIGHBOUR * neighbours)


def silence_s(base_s: float, neighbours: int) -> float:
    """Silence after which a neighbour may be gone."""
    return SILENT_INTERVALS * interval_s(base_s, neighbours)


class Beacon:
    """The beacon's timetable. `due_s` is the time of the next one."""

    def __init__(self, base_s: float, rng: random.Random, now_s: float) -> None:
        self._base_s = base_s
        self._rng = rng
        self._start_pauses = list(START_PAUSES_S)
        self._allowance = ALLOWANCE_MAX
        self._allowance_s = now_s
        self.due_s = now_s + rng.uniform(0.02, 0.25)

    def sent(self, now_s: float, neighbours: int) -> None:
        """A beacon has left; sets the time of the next."""
        pause = self._start_pauses.pop(0) if self._start_pauses else interval_s(self._base_s, neighbours)
        self.due_s = now_s + pause * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def announce(self, now_s: float) -> None:
        """Something about this node changed: send the next beacon soon, as far as the allowance goes."""
        earned = (now_s - self._allowance_s) / ALLOWANCE_EVERY_S
        self._allowance = min(ALLOWANCE_MAX, self._allowance + max(0.0, earned))
        self._allowance_s = now_s
        soon_s = now_s + self._rng.uniform(0.05, 0.4)
        wait_s = max(0.0, 1.0 - self._allowance) * ALLOWANCE_EVERY_S
        if self._allowance < 0.0 or self.due_s <= soon_s + wait_s:
            return  # one is on its way already
        self._allowance -= 1.0
        self.due_s = soon_s + wait_s
