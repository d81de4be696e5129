"""What the power part asks for, carried out with the help of swarm and updater; and what they tell it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fruitd.node.installing import Effects, Installing
from fruitd.node.library import Library
from fruitd.power import effects as asked
from fruitd.power.part import HEARD_KINDS, PowerPart
from fruitd.updater import effects as update_effects
from fruitd.updater import events as update_events
from fruitd.updater.journal import Journal, State
from fruitd.updater.machine import Updater
from fruitd.updater.table import RESTING
from swarm import effects as swarm_effects
from swarm.core import SwarmCore
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.power import Said, key_of, kind_of, said_record
from swarm.trust.keys import SecretKey
from swarm.trust.trusted_set import TrustedSet

PowerCall = Callable[[PowerPart, float], Iterable[asked.PowerEffect]]
"""What the host tells the part, given the calendar time."""
_ENVIRONMENT = (update_effects.ArmSlot, update_effects.CommitSlot)
_WRITTEN = (update_events.SlotArmed, update_events.SlotCommitted, update_events.StepFailed)


class Powering(Installing):
    """Joins one power part (None: a node of a world without power) with the rest of the node."""

    def __init__(
        self,
        swarm: SwarmCore,
        trusted: TrustedSet,
        updater: Updater | None,
        library: Library,
        store: RecordStore,
        identity: SecretKey,
        power: PowerPart | None,
    ) -> None:
        super().__init__(swarm, trusted, updater, library)
        self.store = store
        self.power = power
        self.wall_offset_s = 0.0
        self._identity = identity
        if power is not None and updater is not None:
            updater.begin_held_back(power.own.hold_back)

    def _counts(self) -> bool:
        """Whether other nodes take what this one says of itself."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the host calls these

    def tell_power(self, call: PowerCall, now_s: float) -> Effects:
        """Something about power has happened: `call` tells the part, what it answers is carried out."""
        if self.power is None:
            return []
        wall_s = now_s + self.wall_offset_s
        return [made for effect in call(self.power, wall_s) for made in self._from_power(effect, now_s)]

    def journal_not_saved(self, journal: Journal, why: str, now_s: float) -> Effects:
        """See `Installing.journal_not_saved`: the update may not be over after all."""
        return super().journal_not_saved(journal, why, now_s) + self._wish(now_s)

    # ------------------------------------------------------------------ what it asks for

    def _from_power(self, effect: asked.PowerEffect, now_s: float) -> Effects:
        match effect:
            case asked.Say(said=said):
                return self._say(said, now_s)
            case asked.HoldBack(why=why):
                held = update_events.FreeAgain() if why is None else update_events.HeldBack(why)
                return self._update(held, now_s)
            case asked.Tell(what=what, why=why):
                return [update_effects.Note(what, why)]
            case (
                asked.KeepPower() | asked.KeepEnergy() | asked.UpdateUsed() | asked.SwitchBay()
                | asked.PauseHeartbeat()
            ):  # fmt: skip
                return [effect]

    def _say(self, said: Said, now_s: float) -> Effects:
        if not self._counts():
            if self.power is not None:
                self.power.unsaid(now_s)
            return []
        wall_s = now_s + self.wall_offset_s
        held = self.store.get(kind_of(said), key_of(said, self._identity.node_id))
        record = said_record(said, self._identity, wall_s, held.sequence if held is not None else 0)
        try:
            return self._from_swarm(self.swarm.publish(record, now_s), now_s)
        except RefusedError as error:
            return [swarm_effects.Refused("power", str(error), "this node", error.reason)]

    # ------------------------------------------------------------------ what it is told

    def _power_hears(self, record: Record, now_s: float) -> Effects:
        if record.kind not in HEARD_KINDS:
            return []
        return self.tell_power(lambda part, wall_s: part.heard(record, now_s, wall_s), now_s)

    def _update(self, event: update_events.Event, now_s: float) -> Effects:
        """As `Installing._update`; whoever could cut the power hears of it before the boot environment is written, and after."""
        effects = super()._update(event, now_s)
        if self.power is None or not self.power.settings.stack:
            return effects
        if any(isinstance(effect, _ENVIRONMENT) for effect in effects):
            effects = _before(effects, self._writing(True, now_s), *_ENVIRONMENT)
        elif isinstance(event, _WRITTEN):
            effects = [*self._writing(False, now_s), *effects]
        if any(isinstance(effect, update_effects.RestartNode) for effect in effects):
            kept = self.tell_power(lambda part, _: part.keep_energy(now_s), now_s)
            effects = _before(effects, kept, update_effects.RestartNode)
        return effects + self._wish(now_s)

    def _power_forgets(self, kind: str, key: bytes) -> None:
        if self.power is not None:
            self.power.forgotten(kind, key)

    def _writing(self, writing: bool, now_s: float) -> Effects:
        return self.tell_power(lambda part, wall_s: part.own.writing(writing, now_s, wall_s), now_s)

    def _wish(self, now_s: float) -> Effects:
        """Whether there is something to install, for which a turn is needed; what others hold back needs none."""
        journal = self.updater.journal if self.updater is not None else None
        if journal is None:
            return []
        stopped = journal.held_why is not None or journal.disputed_why is not None
        waits = journal.state is State.WAITING and stopped
        wants = journal.state not in RESTING and not waits
        return self.tell_power(lambda part, wall_s: part.own.updating(wants, now_s, wall_s), now_s)


def _before(effects: Effects, told: Effects, *kinds: type) -> Effects:
    """`told` put before the first effect of these kinds, such as those that touch the boot environment."""
    place = next(i for i, effect in enumerate(effects) if isinstance(effect, kinds))
    return [*effects[:place], *told, *effects[place:]]
