"""When a node uses the table, and what for. Most nodes hardly do: it is for those who know nobody, and for those others can ask.

Of a site, those who speak to others for it do it for all.
"""

from __future__ import annotations

import random
from enum import StrEnum

from attrs import frozen

FAR_WANTED = 3
"""A node that knows fewer peers beyond its LAN is in want, and looks again soon."""
WANT_PAUSE_S_MIN = 5.0
WANT_PAUSE_S_MAX = 600.0
"""Between lookups of a node in want, doubled each time. Longer: a healed line is noticed later; each costs some 5 KiB."""
REFRESH_S = 3600.0
"""Between lookups of the newest manifest when all is well, and the age at which a range of ids is looked into again. Shorter
costs traffic (30 datagrams each time); longer keeps the dead in the table."""
JITTER = 0.25
"""Share by which every pause varies: a site that got its power back at once would otherwise look at once for ever."""


class Step(StrEnum):
    """What is due."""

    NEWEST = "look for the newest manifest, and whom else there is"
    REFRESH = "look into a range of ids that nobody was looked for in"


@frozen
class Situation:
    """What the plan goes by."""

    far_peers: int
    """Peers beyond this LAN."""
    speaks: bool
    """It speaks to others for its site."""
    beginnings: int
    """Contacts, far peers and table entries: somebody to ask at all."""
    placed: bool = True
    """Enough of them have said where they see this node."""


class Plan:
    """Tells what is due. Pure: times are steady seconds."""

    def __init__(self, rng: random.Random, now_s: float) -> None:
        self._rng = rng
        self._pause_s = WANT_PAUSE_S_MIN
        self._newest_due_s = now_s
        self._refresh_due_s = now_s + self._varied(REFRESH_S)
        self._wanted = True

    def next_s(self, situation: Situation) -> float:
        """When something will be due if nothing changes; infinity for never."""
        if not situation.speaks or not situation.beginnings:
            return float("inf")
        return min(self._newest_due_s, self._refresh_due_s)

    def due(self, situation: Situation, now_s: float) -> Step | None:
        """What to do now; it counts as done."""
        wants = situation.far_peers < FAR_WANTED or not situation.placed
        if wants and not self._wanted:
            self._pause_s = WANT_PAUSE_S_MIN
            self._newest_due_s = min(self._newest_due_s, now_s + self._varied(WANT_PAUSE_S_MIN))
        self._wanted = wants
        if not situation.speaks or not situation.beginnings:
            return None
        if self._newest_due_s <= now_s:
            self._newest_due_s = now_s + self._varied(self._pause_s if wants else REFRESH_S)
            # In a swarm of three there are never enough to say where a node stands: it must not ask for ever.
            longest_s = WANT_PAUSE_S_MAX if situation.far_peers < FAR_WANTED else REFRESH_S
            self._pause_s = min(self._pause_s * 2, longest_s)
            return Step.NEWEST
        if self._refresh_due_s <= now_s:
            self._refresh_due_s = now_s + self._varied(REFRESH_S)
            return Step.REFRESH
        return None

    def _varied(self, pause_s: float) -> float:
        return pause_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
