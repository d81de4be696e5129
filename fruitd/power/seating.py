"""Which node sits in which bay, who says so, and whether it can still be true.

What its owner configured at the node that has the bus counts first, then what was learned by a heart that paused, then what a
node claims of itself, where no other claims the same bay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from swarm.power import NodeHealth, Place

CONFIGURED, LEARNED, CLAIMED = "configured", "learned", "claimed"


@frozen
class Seat:
    """What is known of one bay's node."""

    node_id: bytes = b""
    known_by: str = ""
    doubt: str = ""
    """Why it may not be true any more; "" where nothing speaks against it."""


class Seating:
    """Of one stack."""

    def __init__(
        self, configured: Mapping[Place, bytes], learned: Mapping[Place, bytes] | None = None
    ) -> None:
        self.configured = dict(configured)
        self.learned: dict[Place, bytes] = dict(learned or {})
        self._claims: dict[bytes, Place] = {}
        self._doubts: dict[Place, str] = {}

    def hear(self, claims: Iterable[tuple[bytes, NodeHealth]]) -> None:
        """What nodes of this stack say of themselves now."""
        self._claims = {node_id: health.place for node_id, health in claims if health.place is not None}

    def learn(self, node_id: bytes, place: Place) -> None:
        """A heart that paused was this bay's: whatever else was learned of both is forgotten."""
        self.learned = {p: n for p, n in self.learned.items() if p != place and n != node_id}
        self.learned[place] = node_id
        self._doubts.pop(place, None)

    def doubt(self, place: Place, why: str) -> bool:
        """Something speaks against it; True where that is new."""
        new = self._doubts.get(place) != why
        self._doubts[place] = why
        return new

    def settle(self, place: Place) -> None:
        """What spoke against it is over."""
        self._doubts.pop(place, None)

    def at(self, place: Place) -> Seat:
        """Who sits there."""
        for known, by in ((self.configured, CONFIGURED), (self.learned, LEARNED)):
            if place in known:
                return Seat(
                    known[place], by, self._doubts.get(place, "") or self._other_claim(known[place], place)
                )
        claiming = [node_id for node_id, where in self._claims.items() if where == place]
        if len(claiming) > 1:
            return Seat(doubt=f"{len(claiming)} nodes say that they sit here")
        if not claiming or self._elsewhere(claiming[0]) is not None:
            return Seat()
        return Seat(claiming[0], CLAIMED, self._doubts.get(place, ""))

    def place_of(self, node_id: bytes) -> Place | None:
        """Where it sits; None where that is not known."""
        known = self._elsewhere(node_id)
        if known is not None:
            return known
        claim = self._claims.get(node_id)
        return claim if claim is not None and self.at(claim).node_id == node_id else None

    def _elsewhere(self, node_id: bytes) -> Place | None:
        for known in (self.configured, self.learned):
            for place, who in known.items():
                if who == node_id:
                    return place
        return None

    def _other_claim(self, node_id: bytes, place: Place) -> str:
        claim = self._claims.get(node_id)
        return f"its node says that it sits in {claim}" if claim is not None and claim != place else ""
