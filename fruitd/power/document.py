"""What the node that has the bus must remember across a power cut: who sits where, turns, and what it is in the middle of."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from fruitd.errors import RefusedError
from fruitd.power.recovery import BayCare, Phase
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.fields import number, packed, raw, text, unpacked
from swarm.power import WHY_CHARS_MAX, Place, fitting, held
from swarm.trust.keys import NODE_ID_BYTES

EVENTS_MAX = 100
"""Lines of the stack's own history: two of each bay of a full stack, and more. 128 bytes each."""
EVENT_CHARS_MAX = 200
DOCUMENT_BYTES_MAX = 64 * 1024
_BAYS_MAX = 512
_FORMAT = 1


@frozen
class Kept:
    """One bay's care, without the clock of the daemon that kept it."""

    phase: Phase
    why: str
    tries: int
    wait_s: int
    """Until the next try."""

    @classmethod
    def of(cls, care: BayCare, now_s: float) -> Kept:
        """As it is now."""
        wait_s = care.next_try_s - now_s
        return cls(care.phase, fitting(care.why), care.tries, held(wait_s) if wait_s > 0 else 0)

    def care(self, now_s: float) -> BayCare:
        """As it is after a start."""
        care = BayCare(self.phase, self.why, now_s, self.tries, now_s + self.wait_s)
        care.resumed = self.phase is Phase.TURNING_OFF and self.tries > 0
        return care


@frozen
class PowerDocument:
    """All of it."""

    cares: dict[Place, Kept] = field(factory=dict)
    learned: dict[Place, bytes] = field(factory=dict)
    turns: dict[bytes, int] = field(factory=dict)
    done: dict[Place, int] = field(factory=dict)
    """Sequence of the last command of each bay."""
    events: tuple[tuple[int, str], ...] = ()
    """(seconds since 1970, words), oldest first."""

    def encode(self) -> bytes:
        """For the state."""
        cares = [[*_pair(p), str(k.phase), k.why, k.tries, k.wait_s] for p, k in sorted(self.cares.items())]
        learned = [[*_pair(p), node_id] for p, node_id in sorted(self.learned.items())]
        turns = [[node_id, wish] for node_id, wish in sorted(self.turns.items())]
        done = [[*_pair(p), sequence] for p, sequence in sorted(self.done.items())]
        return packed(_FORMAT, [cares, learned, turns, done, [list(event) for event in self.events]])

    @classmethod
    def decode(cls, data: bytes) -> PowerDocument:
        """Raises `fruitd.errors.RefusedError` on anything that `encode` could not have written."""
        try:
            return cls._decode(data)
        except SwarmRefusedError as error:
            raise RefusedError(f"what was kept about the stack is not believed: {error}") from error

    @classmethod
    def _decode(cls, data: bytes) -> PowerDocument:
        lists = unpacked(data, "power document", _FORMAT, 5, DOCUMENT_BYTES_MAX)
        cares, learned, turns, done, events = (_rows(rows) for rows in lists)
        return cls(
            {Place.of(*row[:2]): _kept(row) for row in cares if _has(row, 6)},
            {Place.of(*row[:2]): raw(row[2], "node", NODE_ID_BYTES) for row in learned if _has(row, 3)},
            {raw(row[0], "node", NODE_ID_BYTES): number(row[1], "wish") for row in turns if _has(row, 2)},
            {Place.of(*row[:2]): number(row[2], "command") for row in done if _has(row, 3)},
            tuple(
                (number(row[0], "time"), text(row[1], "event", EVENT_CHARS_MAX))
                for row in events
                if _has(row, 2)
            ),
        )


def _pair(place: Place) -> tuple[int, int]:
    return place.address, place.bay


def _rows(rows: Any) -> list[list[Any]]:
    if isinstance(rows, list) and len(rows) <= _BAYS_MAX and all(isinstance(row, list) for row in rows):
        return rows
    raise SwarmRefusedError(f"there is no list of at most {_BAYS_MAX} rows")


def _has(row: list[Any], count: int) -> bool:
    if len(row) == count:
        return True
    raise SwarmRefusedError(f"a row does not have {count} fields")


def _kept(row: list[Any]) -> Kept:
    phase = text(row[2], "phase", 24)
    if phase not in set(Phase):
        raise SwarmRefusedError("a phase is none")
    return Kept(
        Phase(phase), text(row[3], "why", WHY_CHARS_MAX), number(row[4], "tries"), number(row[5], "pause")
    )
