"""A node's part in power, as its core sees it: its own, and the stack's where it has the bus. Pure.

What was heard of its stack is kept here, decoded, with the time of its arrival: clocks of other nodes say nothing about age.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from fruitd.errors import RefusedError
from fruitd.power import energy
from fruitd.power.effects import HoldBack, KeepEnergy, PowerEffect, Step
from fruitd.power.energy import Used
from fruitd.power.own import FRESH_S, OwnPower
from fruitd.power.settings import PowerSettings
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.power import HEALTH_KIND, PAUSE_KIND, POWER_KIND, BayPower, NodeHealth, PauseAsked, Place, Supply
from swarm.switching import SWITCH_KIND, SwitchCommand
from swarm.trust.keys import NODE_ID_BYTES

if TYPE_CHECKING:  # loaded only where a bus is configured
    from fruitd.power.fellow import Fellow
    from fruitd.power.owner import StackOwner
    from fruitd.power.seen import BaySeen

HEARD_KINDS = frozenset({HEALTH_KIND, POWER_KIND, PAUSE_KIND, SWITCH_KIND})
TAKEOVER_S = 180.0
"""A node that shares the bus takes it when the one that had it has been silent for so long. Shorter: two masters on one bus
after a restart. Longer: nobody looks after the stack meanwhile."""
LISTEN_S = 30.0
"""Of a shared bus whoever starts hears first who has it. Shorter: on a lossy network two masters for a moment, and two turns on a
board. Longer: a stack that has just got power is looked after later."""


@frozen
class _Heard:
    """What a node said, and when it came."""

    said: NodeHealth | BayPower
    came_s: float
    of_before: bool = False
    """It was on disk when this node started."""


@frozen
class Surroundings:
    """What the part has to know of other nodes. Called at each sweep: quick."""

    heard_s: Callable[[], dict[bytes, float]]
    """Steady time at which each peer was last heard itself."""
    name_of: Callable[[bytes], str]
    signers_of: Callable[[Record], str]
    """Names of the operators who signed a record."""


class PowerPart:
    """One node's."""

    def __init__(
        self,
        settings: PowerSettings,
        node_id: bytes,
        store: RecordStore,
        around: Surroundings,
        rng: random.Random,
        now_s: float,
        document: bytes | None = None,
        energy_kept: bytes | None = None,
    ) -> None:
        self.settings = settings
        self._node_id = node_id
        self._store = store
        self._around = around
        self._started_s = now_s
        self._document = document
        self.own = OwnPower(settings, node_id, rng, now_s)
        self.owner: StackOwner | None = None
        self._healths: dict[bytes, _Heard] = {}
        self._powers: dict[bytes, _Heard] = {}
        self._accounts: dict[bytes, energy.Account] = {}
        if energy_kept is not None and settings.has_port:
            with contextlib.suppress(
                RefusedError
            ):  # for people only; what is missing is told as not measured
                self._accounts = energy.decode(energy_kept)
        self._energy_kept = frozenset(self._accounts)
        self._energy_kept_s = now_s
        self.trouble = ""
        """Why it has not the bus although it is configured to, or must not act on it; "" where it may, or need not."""
        for kind in (HEALTH_KIND, POWER_KIND):
            for entry in store.entries(kind):
                if entry.record is not None:
                    self._keep(entry.record, now_s, of_before=True)

    # ------------------------------------------------------------------ what is shown

    def healths(self) -> dict[bytes, NodeHealth]:
        """What the nodes of this stack say of themselves, by node id."""
        return {n: heard.said for n, heard in self._healths.items() if isinstance(heard.said, NodeHealth)}

    def name_of(self, node_id: bytes) -> str:
        """What that node calls itself; "" where that is not known."""
        return self._around.name_of(node_id)

    def update_used(self) -> Used | None:
        """What this node's own bay has drawn by the update that goes on; None where that is not measured, or another node has
        the bus: it tells at the end."""
        return self.owner.update_used(self._node_id) if self.owner is not None else None

    @property
    def due_s(self) -> float:
        """When `on_time` wants to be called."""
        return self.own.due_s

    # ------------------------------------------------------------------ what happens

    def on_time(self, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        """Time has passed."""
        yield from self.own.told(self._mine(now_s), self._owner_silent_s(now_s), now_s)
        yield from self.own.on_time(now_s, wall_s)

    def looked(self, supply: Supply, why: str, now_s: float) -> Iterator[PowerEffect]:
        """See `OwnPower.looked`."""
        yield from self.own.looked(supply, why, now_s)

    def heard(self, record: Record, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        """A record of `HEARD_KINDS` was accepted."""
        if record.kind == PAUSE_KIND:
            yield from self.own.pause_asked(PauseAsked.decode(record.body), record.key, now_s, wall_s)
        elif record.kind == SWITCH_KIND:
            self._command(record)
        else:
            self._keep(record, now_s)
            if record.kind == HEALTH_KIND and self.owner is not None:
                yield from self.owner.heard(self._fellows(now_s), now_s, wall_s)
                yield from self._keep_energy_when_due(now_s)
            if record.kind == POWER_KIND and self.owner is not None:
                self._heard_beside(record)
            if record.kind == POWER_KIND and self.settings.in_bay:
                yield from self.own.told(self._mine(now_s), self._owner_silent_s(now_s), now_s)

    def unsaid(self, now_s: float) -> None:
        """What was to be said could not be: it is said again."""
        self.own.unsaid(now_s)
        if self.owner is not None:
            self.owner.unsaid()

    def forgotten(self, kind: str, key: bytes) -> None:
        """A record is not held any more."""
        if kind == HEALTH_KIND:
            self._healths.pop(key, None)
        elif kind == POWER_KIND:
            self._powers.pop(key, None)

    # ------------------------------------------------------------------ the bus

    def may_have_bus(self, now_s: float) -> bool:
        """Whether this node is to sweep now. Where several may, one does: the one that has it, else the one with the lowest
        id."""
        if not self.settings.has_port:
            return False
        others = self.settings.owners - {self._node_id}
        heard = self._around.heard_s() if others else {}
        # Whoever starts has not heard anybody yet: that is no silence.
        alive = {
            n for n in others if now_s - max(heard.get(n, self._started_s), self._started_s) < TAKEOVER_S
        }
        having = {n for n in alive if n in self._healths and self._owns(n)}
        if self.own.owns:
            return not any(n < self._node_id for n in having)
        if having or (others and now_s - self._started_s < LISTEN_S):
            return False
        lower = any(n < self._node_id for n in alive)
        return not lower or now_s - self._started_s >= TAKEOVER_S

    def swept(
        self, bays: Iterable[BaySeen], now_s: float, wall_s: float, other_s_ago: float | None = None
    ) -> Iterator[PowerEffect]:
        """This node has the bus, and this is what it found; `other_s_ago`: how long ago another master was heard on it."""
        owner = self._owner(now_s)
        owner.bus.unheard = tuple(self._unheard(now_s))
        self.own.owning(True, now_s)
        other_s = None if other_s_ago is None else now_s - other_s_ago
        effects = owner.swept(bays, self._fellows(now_s), now_s, wall_s, other_s)
        self.trouble = owner.bus.trouble(now_s)
        yield from effects
        yield from self._keep_energy_when_due(now_s)

    def keep_energy(self, now_s: float) -> Iterator[PowerEffect]:
        """Have what was counted of updates under way kept, because this node is about to restart."""
        if self._accounts or self._energy_kept:
            self._energy_kept, self._energy_kept_s = frozenset(self._accounts), now_s
            yield KeepEnergy(energy.encode(self._accounts))

    def _keep_energy_when_due(self, now_s: float) -> Iterator[PowerEffect]:
        """Now and then; and once an update that was kept is over: its joules are not those of the next."""
        over = not self._energy_kept <= self._accounts.keys()
        if over or (self._accounts and now_s - self._energy_kept_s >= energy.SAVE_S):
            yield from self.keep_energy(now_s)

    def bus_lost(self, why: str, now_s: float) -> None:
        """It has not, or not any more."""
        self.trouble = why
        self.own.owning(False, now_s)
        self.owner = None

    def switched(self, place: Place, step: Step, error: str, now_s: float) -> Iterator[PowerEffect]:
        """A `SwitchBay` was carried out; `error` in words where it was not."""
        if self.owner is not None:
            yield from self.owner.switched(place, step, error, now_s)

    def _owner(self, now_s: float) -> StackOwner:
        if self.owner is None:
            from fruitd.power.document import PowerDocument
            from fruitd.power.owner import StackOwner

            document = PowerDocument()
            if self._document is not None:
                try:
                    document = PowerDocument.decode(self._document)
                except RefusedError as error:
                    self.trouble = str(error)
            self.owner = StackOwner(self.settings, self._node_id, document, now_s, self._accounts)
            others = self.settings.owners - {self._node_id}
            self.owner.adopt((power for who, power, _ in self._last_words() if who in others), now_s)
            for entry in self._store.entries(SWITCH_KIND):
                if entry.record is not None:
                    self._command(entry.record)
        return self.owner

    def kept(self, document: bytes) -> None:
        """What the owner asked to be kept: it goes on from there, should it lose the bus and get it back."""
        self._document = document

    # ------------------------------------------------------------------ inside

    def _keep(self, record: Record, now_s: float, *, of_before: bool = False) -> None:
        if record.kind == HEALTH_KIND:
            health = NodeHealth.decode(record.body)
            if self.settings.stack and health.stack == self.settings.stack:
                self._healths[record.key] = _Heard(health, now_s, of_before)
            else:
                self._healths.pop(record.key, None)
        elif record.kind == POWER_KIND:
            power = BayPower.decode(record.body)
            if self.settings.stack and power.stack == self.settings.stack and self._may_own(record.key):
                self._powers[record.key] = _Heard(power, now_s)
            else:
                self._powers.pop(record.key, None)

    def _heard_beside(self, record: Record) -> None:
        heard, who = self._powers.get(record.key), record.key[:NODE_ID_BYTES]
        if (
            self.owner is not None
            and heard is not None
            and isinstance(heard.said, BayPower)
            and who in self.settings.owners - {self._node_id}
        ):
            self.owner.beside(heard.said)

    def _unheard(self, now_s: float) -> Iterator[str]:
        """Who may have the bus too, and has not said of late that it has it not."""
        others = self.settings.owners - {self._node_id}
        heard = self._around.heard_s() if others else {}
        for node_id in sorted(others):
            silent = now_s - heard.get(node_id, float("-inf")) >= TAKEOVER_S
            if silent or node_id not in self._healths or self._owns(node_id):
                yield self._around.name_of(node_id) or node_id.hex()[:8]

    def _may_own(self, key: bytes) -> bool:
        owners = self.settings.owners
        return not owners or key[:NODE_ID_BYTES] in owners | {self._node_id}

    def _command(self, record: Record) -> None:
        if self.owner is not None:
            self.owner.commanded(
                SwitchCommand.decode(record.body), record.sequence, self._around.signers_of(record)
            )

    def _owns(self, node_id: bytes) -> bool:
        said = self._healths[node_id].said
        return isinstance(said, NodeHealth) and said.owns

    def _mine(self, now_s: float) -> Iterator[BayPower]:
        for _, power, came_s in self._last_words():
            if power.node_id == self._node_id and now_s - came_s < FRESH_S:
                yield power

    def _last_words(self) -> Iterator[tuple[bytes, BayPower, float]]:
        """Who said what was said last of each bay, and when it came. What another owner said before is not true any more, and may
        come late: after a start, from others that still had it."""
        last: dict[Place, tuple[int, float, bytes, BayPower]] = {}
        for key, heard in self._powers.items():
            power = heard.said
            if isinstance(power, BayPower):
                word = (power.at_s, heard.came_s, key[:NODE_ID_BYTES], power)
                if power.place not in last or last[power.place][:2] < word[:2]:
                    last[power.place] = word
        for _, came_s, who, power in last.values():
            yield who, power, came_s

    def _owner_silent_s(self, now_s: float) -> float:
        return now_s - max((heard.came_s for heard in self._powers.values()), default=self._started_s)

    def _fellows(self, now_s: float) -> dict[bytes, Fellow]:
        from fruitd.power.fellow import Fellow

        heard = self._around.heard_s()
        heard[self._node_id] = now_s
        known = set(self._healths) | set(self.settings.bays.values())
        if self.owner is not None:
            known |= set(self.owner.seating.learned.values())
        fellows = {}
        for node_id in known:
            at_s = heard.get(node_id, float("-inf"))
            health = self._healths.get(node_id)
            fellows[node_id] = Fellow(
                self._around.name_of(node_id),
                None if at_s == float("-inf") else now_s - at_s,
                health.said if health is not None and isinstance(health.said, NodeHealth) else None,
                0.0 if health is None else now_s - health.came_s,
                health is not None and health.of_before,
            )
        return fellows


__all__ = ["HEARD_KINDS", "HoldBack", "PowerPart", "Surroundings"]
