"""Which bay a node sits in: it is asked to pause its heartbeat, and one bay falls silent and beats again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen

from fruitd.power.seen import BaySeen
from swarm.power import Place

RETURN_S = 60.0
"""After the pause, a bay has so long to beat again. Shorter: a slow sweep misses it. Longer: mapping a stack takes longer."""


@frozen
class Learned:
    """How it ended."""

    node_id: bytes
    place: Place | None
    why: str
    """In words, where nothing was learned."""


@define
class Learning:
    """One node's pause."""

    node_id: bytes
    asked_s: float
    for_s: float
    beating: frozenset[Place] = frozenset()
    """When it was asked. What is silent already can tell nothing."""
    paused: bool = False
    """It has said that it pauses. Otherwise whatever fell silent did so for reasons of its own."""
    _silent: set[Place] = field(factory=set)
    _back: set[Place] = field(factory=set)

    def look(self, bays: Iterable[BaySeen], now_s: float) -> Learned | None:
        """What a sweep found; how it ended, once it has."""
        for seen in bays:
            if seen.place in self.beating and seen.heartbeat is False:
                self._silent.add(seen.place)
            elif seen.place in self._silent and seen.heartbeat:
                self._back.add(seen.place)
        over_s = now_s - self.asked_s - self.for_s
        if over_s < 0:
            return None
        if not self.paused:
            return (
                Learned(self.node_id, None, "it did not say that it paused") if over_s >= RETURN_S else None
            )
        if len(self._silent) == 1 and self._back == self._silent:
            return Learned(self.node_id, next(iter(self._silent)), "")
        if over_s < RETURN_S:
            return None
        fell = ", ".join(map(str, sorted(self._silent)))
        why = f"fell silent: {fell}; not exactly one of them beats again" if fell else "no bay fell silent"
        return Learned(self.node_id, None, why)
