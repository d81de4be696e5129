"""Two Pis of one board never update at the same time: the node that has the bus gives turns, one for each board.

A node that wants to update says so with a number (`NodeHealth.wish`), begins nothing until that very number is granted
(`BayPower.turn`), and says when it is done. A grant of yesterday grants nothing: the number is another. Of a node whose bay is
not known nobody can say which board it shares, so it shares all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define

from swarm.power import Place

TURN_S_MAX = 6 * 3600.0
"""A turn that was not given back after this goes to whoever waits. Longer: a node that lies, or hangs where nothing can bring it
back, keeps its mate from updates for longer. Shorter: a slow download loses its turn, and both may be at it."""


@define
class Turn:
    """Given to a node."""

    wish: int
    since_s: float


class Turns:
    """Who may update, and who waits."""

    def __init__(self, held: Mapping[bytes, Turn] | None = None) -> None:
        self.held: dict[bytes, Turn] = dict(held or {})
        self._waiting: dict[bytes, float] = {}
        self.beside: dict[Place, tuple[bytes, int]] = {}
        """What another that may have the bus has granted, and to whom, by its word of each bay."""

    def of(self, node_id: bytes) -> int:
        """The number granted to this node; 0 for none."""
        turn = self.held.get(node_id)
        return turn.wish if turn is not None else 0

    def step(
        self,
        wishes: Mapping[bytes, int],
        place_of: Callable[[bytes], Place | None],
        now_s: float,
        give: bool = True,
    ) -> tuple[list[bytes], list[bytes]]:
        """Who was given a turn now, and who gave one back or lost it.

        Args:
            wishes: what nodes of the stack said last; 0 for no wish. Nodes that are not named keep what they have.
            place_of: where a node sits; None where that is not known.
            now_s: steady time.
            give: False: nothing is granted, and nobody loses a turn that was not given back.
        """
        for node_id, wish in self.beside.values():
            if wish and wishes.get(node_id) == wish:  # it goes by that word, and may be at it
                self.held.setdefault(node_id, Turn(wish, now_s))
        ended = [
            node_id
            for node_id, turn in self.held.items()
            if wishes.get(node_id) == 0 or (give and self._late(node_id, turn, place_of, now_s))
        ]
        for node_id in ended:
            del self.held[node_id]
        for node_id, wish in wishes.items():
            if not wish or node_id in self.held:
                self._waiting.pop(node_id, None)
            else:
                self._waiting.setdefault(node_id, now_s)
            if give and wish and node_id in self.held:
                self.held[node_id].wish = wish
        given: list[bytes] = []
        if not give:
            return given, ended
        for node_id in sorted(self._waiting, key=lambda n: (n in ended, self._waiting[n], n)):
            if node_id in wishes and not any(_share(node_id, other, place_of) for other in self.held):
                self.held[node_id] = Turn(wishes[node_id], now_s)
                del self._waiting[node_id]
                given.append(node_id)
        return given, ended

    def _late(
        self, node_id: bytes, turn: Turn, place_of: Callable[[bytes], Place | None], now_s: float
    ) -> bool:
        late = now_s - turn.since_s > TURN_S_MAX
        return late and any(_share(node_id, other, place_of) for other in self._waiting if other != node_id)


def _share(one: bytes, other: bytes, place_of: Callable[[bytes], Place | None]) -> bool:
    here, there = place_of(one), place_of(other)
    return here is None or there is None or here.address == there.address
