"""The owner's knowledge of who sits where: nodes are looked for, and what is believed is looked at again with each sweep.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fruitd.power.effects import PowerEffect, Say, Tell
from fruitd.power.fellow import Fellow
from fruitd.power.learning import Learning
from fruitd.power.seating import Seating
from fruitd.power.seen import BaySeen
from fruitd.power.settings import PowerSettings
from swarm.power import Beat, PauseAsked, Place, held

SEEK_AGAIN_S = 660.0
"""A node that was not found in any bay is sought again after so long: its heart pauses no more often (`own.PAUSE_EVERY_S`)."""
OFF_AND_HEARD_S = 120.0
"""A node that is heard so long after its bay lost power sits somewhere else."""


class Placing:
    """Of one stack."""

    def __init__(self, settings: PowerSettings, learned: Mapping[Place, bytes]) -> None:
        self._settings = settings
        self.seating = Seating(settings.bays, learned)
        self.fellows: Mapping[bytes, Fellow] = {}
        self._learning: Learning | None = None
        self._wanted: list[bytes] = []
        self._sought_s: dict[bytes, float] = {}
        self._seen_once: dict[bytes, Place] = {}

    @property
    def learning(self) -> bytes | None:
        """Whose heart is asked to pause now."""
        return self._learning.node_id if self._learning is not None else None

    def hear(self, fellows: Mapping[bytes, Fellow]) -> None:
        """What nodes of the stack say of themselves now."""
        self.fellows = fellows
        self.seating.hear((node_id, f.health) for node_id, f in fellows.items() if f.health is not None)
        learning = self._learning
        fellow = fellows.get(learning.node_id) if learning is not None else None
        if learning is not None and fellow is not None and fellow.health is not None:
            learning.paused = learning.paused or fellow.health.beat is Beat.PAUSED

    def want(self, node_ids: Iterable[bytes]) -> list[bytes]:
        """Find out where these sit, one after the other; who is waited for now."""
        self._wanted += [n for n in node_ids if n not in self._wanted and n != self.learning]
        return list(self._wanted)

    def look(
        self,
        bays: list[BaySeen],
        off_since_s: Mapping[Place, float],
        *,
        busy: bool,
        now_s: float,
        wall_s: float,
    ) -> Iterator[PowerEffect]:
        """What a sweep found. `off_since_s`: since when bays have no power; `busy`: something is being done to one of them."""
        yield from self._check(bays, off_since_s, now_s)
        self._seek(now_s)
        if self._learning is not None:
            ended = self._learning.look(bays, now_s)
            if ended is None:
                return
            self._learning = None
            if ended.place is None:
                yield Tell("stack map", f"where {self.name(ended.node_id)} sits was not found: {ended.why}")
            else:
                yield from self._learned(ended.node_id, ended.place)
        beating = frozenset(seen.place for seen in bays if seen.heartbeat)
        if self._wanted and beating and not busy:
            node_id, pause_s = self._wanted.pop(0), self._settings.pause_s
            self._learning = Learning(node_id, now_s, pause_s, beating)
            yield Say(PauseAsked(held(wall_s), self._settings.stack, node_id, pause_s))

    def name(self, node_id: bytes) -> str:
        """For people."""
        fellow = self.fellows.get(node_id)
        return fellow.name if fellow is not None and fellow.name else node_id.hex()[:8]

    def _seek(self, now_s: float) -> None:
        """Nodes that beat on this stack and whose bay is not known are looked for by themselves, now and then."""
        for node_id, fellow in sorted(self.fellows.items()):
            beats = fellow.health is not None and fellow.health.beat is Beat.BEATING
            known = self.seating.place_of(node_id) is not None and node_id not in self._seen_once
            if beats and not known and now_s >= self._sought_s.get(node_id, float("-inf")) + SEEK_AGAIN_S:
                self._sought_s[node_id] = now_s
                self.want([node_id])

    def _learned(self, node_id: bytes, place: Place) -> Iterator[PowerEffect]:
        """One bay fell silent with this heart. What speaks against something that was known has to be seen twice."""
        name, before = self.name(node_id), self.seating.at(place)
        other = before.node_id not in (b"", node_id)
        moved = other or self.seating.place_of(node_id) not in (None, place)
        if moved and self._seen_once.get(node_id) != place:
            self._seen_once[node_id] = place
            why = f"bay {place} fell silent when {name} was asked to pause; this is looked at once more"
            yield Tell("stack map", why)
            return
        self._seen_once.pop(node_id, None)
        self.seating.learn(node_id, place)
        yield Tell(
            "stack map",
            f"{name} sits in bay {place}"
            + (f", and not {self.name(before.node_id)} as was thought" if other else ""),
        )

    def _check(
        self, bays: list[BaySeen], off_since_s: Mapping[Place, float], now_s: float
    ) -> Iterator[PowerEffect]:
        """What is believed of who sits where is looked at again."""
        for seen in bays:
            seat, off_s = self.seating.at(seen.place), off_since_s.get(seen.place)
            fellow = self.fellows.get(seat.node_id)
            if not seat.node_id or fellow is None:
                continue
            late_s = None if off_s is None else off_s + OFF_AND_HEARD_S / 2
            if (
                late_s is not None
                and now_s > late_s + OFF_AND_HEARD_S / 2
                and fellow.heard_since(late_s, now_s)
            ):
                why = f"{self.name(seat.node_id)} is heard although this bay has no power"
                if self.seating.doubt(seen.place, why):
                    yield Tell("stack map", f"bay {seen.place}: {why}")
            elif seat.doubt and seen.heartbeat and off_s is None:
                self.seating.settle(seen.place)
