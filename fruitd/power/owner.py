"""The part of the node that has the bus of a stack: from sweeps to records, cycles, turns and history. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, field, mutable

from fruitd.power.bus_watch import BusWatch
from fruitd.power.document import EVENT_CHARS_MAX, EVENTS_MAX, Kept, PowerDocument
from fruitd.power.effects import KeepPower, PowerEffect, Say, Step, Tell, UpdateUsed
from fruitd.power.energy import Account, Idle, Meter, Used
from fruitd.power.fellow import Fellow
from fruitd.power.placing import Placing
from fruitd.power.recovery import UNDER_WAY, Phase, Recovery
from fruitd.power.seating import LEARNED
from fruitd.power.seen import BaySeen
from fruitd.power.settings import PowerSettings
from fruitd.power.turns import Turn, Turns
from swarm.fields import cut
from swarm.power import BayPower, Beat, Place, fitting, held
from swarm.switching import Action, SwitchCommand

WRITING_S_MAX = 600.0
"""A node that said it writes its boot environment, and nothing since, is taken for hung in the middle of it after so long: there
are two copies of it, so that even then one of them counts."""
ALIVE_S = 240.0
"""A node that runs is heard so often, in a large site too. Longer: one that came up for a moment and hung again waits longer.
Shorter: a sound node with a broken heartbeat wire loses its power."""
SAY_EVERY_S = 1800.0
"""An unchanged bay is told so often. Shorter: fresher figures elsewhere, at 400 bytes a bay to every node."""
SAY_FIGURES_S = 300.0
"""And one whose power has changed by `SAY_WATTS`."""
SAY_WATTS = 1.0
BAY_V_MIN = 4.63
"""A Raspberry Pi calls this undervoltage."""


@mutable
class _Bay:
    """What is remembered of a bay between sweeps."""

    seen: BaySeen
    meter: Meter = field(factory=Meter)
    idle: Idle = field(factory=Idle)
    off_since_s: float | None = None
    used: Used | None = None
    """By the last update of its node; None where that was not measured."""
    said: BayPower | None = None
    said_s: float = float("-inf")


@mutable
class _Asked:
    """An operator's command that waits."""

    sequence: int
    command: SwitchCommand
    by: str
    told: bool = False
    """That it waits for another master."""


class StackOwner:
    """One stack's. `document`: what was kept, `me`: the node that has the bus, `accounts`: of updates under way, by node; they
    outlive this owner, which changes them."""

    def __init__(
        self,
        settings: PowerSettings,
        me: bytes,
        document: PowerDocument,
        now_s: float,
        accounts: dict[bytes, Account],
    ) -> None:
        self._settings = settings
        self._me = me
        self._placing = Placing(settings, document.learned)
        self.seating = self._placing.seating
        self.recovery = Recovery(
            settings.recovery, {p: kept.care(now_s) for p, kept in document.cares.items()}
        )
        self.bus = BusWatch(settings.quiet_s, now_s)
        self._taken_over = set(document.cares)
        """Bays at which something was begun before this node had the bus: another may still be about it."""
        self.turns = Turns({node_id: Turn(wish, now_s) for node_id, wish in document.turns.items()})
        self._done = dict(document.done)
        self._events: deque[tuple[int, str]] = deque(document.events, maxlen=EVENTS_MAX)
        self._bays: dict[Place, _Bay] = {}
        self._asked: dict[Place, _Asked] = {}
        self._accounts = accounts
        for node_id in [n for n in accounts if n not in self.turns.held]:
            del accounts[node_id]
        self._kept = document
        self._wall_s = 0.0

    # ------------------------------------------------------------------ what is shown

    @property
    def events(self) -> tuple[tuple[int, str], ...]:
        """The stack's own history, oldest first: (seconds since 1970, words)."""
        return tuple(self._events)

    @property
    def learning(self) -> bytes | None:
        """Whose heart is asked to pause now."""
        return self._placing.learning

    def bays(self, now_s: float) -> list[BayPower]:
        """Every bay as it is now, ordered."""
        return [self._bay_power(place, now_s) for place in sorted(self._bays)]

    # ------------------------------------------------------------------ what happens

    def adopt(self, others: Iterable[BayPower], now_s: float) -> None:
        """Go on where another node, which had this bus before, has left off."""
        for other in others:
            place, care = other.place, self.recovery.care(other.place)
            self._done[place] = max(self._done.get(place, 0), other.done)
            if other.doing in set(Phase) and other.doing != care.phase:
                # All of it: what this node was about before, such as holding a bay off, may have been undone since.
                care.to(Phase(other.doing), now_s, other.why)
            care.resumed = care.phase is Phase.TURNING_OFF
            self._taken_over.add(place)
            if other.known_by == LEARNED and other.node_id:
                self.seating.learn(other.node_id, place)
            # What this node gave and counted before the other had the bus is over.
            self.turns.held.pop(other.node_id, None)
            self._accounts.pop(other.node_id, None)
            if other.turn and other.node_id:
                self.turns.held[other.node_id] = Turn(other.turn, now_s)

    def beside(self, other: BayPower) -> None:
        """Another node that may have this bus says this of it, while this node has it: what it did and gave counts."""
        self._done[other.place] = max(self._done.get(other.place, 0), other.done)
        asked = self._asked.get(other.place)
        if asked is not None and asked.sequence <= other.done:
            del self._asked[other.place]
        self.turns.beside[other.place] = other.node_id, other.turn

    def swept(
        self,
        bays: Iterable[BaySeen],
        fellows: Mapping[bytes, Fellow],
        now_s: float,
        wall_s: float,
        other_s: float | None = None,
    ) -> list[PowerEffect]:
        """A sweep has ended. `fellows`: by node id, those that say they belong to this stack, and those known to sit in it;
        `other_s`: when another master was last heard on the bus."""
        self._wall_s = wall_s
        self.bus.swept(other_s, now_s)
        self._placing.hear(fellows)
        effects = list(self.bus.news(now_s))
        found = [seen for seen in bays if seen.present or seen.place in self._bays]
        for seen in found:
            self._see(seen, now_s)
        busy = bool(self.busy_places() or self.bus.why(now_s))
        effects += self._placing.look(found, self._off_since_s(), busy=busy, now_s=now_s, wall_s=wall_s)
        effects += self._give_turns(now_s)
        effects += self._carry_out_commands(now_s)
        for seen in found:
            effects += self._look(seen, now_s)
        return self._finished(effects, now_s)

    def heard(self, fellows: Mapping[bytes, Fellow], now_s: float, wall_s: float) -> list[PowerEffect]:
        """A node of the stack has said something: a turn that is given or given back does not wait for the next sweep."""
        self._wall_s = wall_s
        self._placing.hear(fellows)
        return self._finished(list(self._give_turns(now_s)), now_s)

    def switched(self, place: Place, step: Step, error: str, now_s: float) -> list[PowerEffect]:
        """A `SwitchBay` was carried out, or was not."""
        return self._finished(list(self.recovery.failed(place, step, error)) if error else [], now_s)

    def commanded(self, command: SwitchCommand, sequence: int, by: str) -> None:
        """An operator's command has come; it is carried out with the next sweep. `by`: names of those who signed."""
        place = command.place
        if command.stack != self._settings.stack or sequence <= self._done.get(place, 0):
            return
        waiting = self._asked.get(place)
        if waiting is None or waiting.sequence < sequence:
            self._asked[place] = _Asked(sequence, command, by)

    def unsaid(self) -> None:
        """Nobody heard it: all is said again with the next sweep."""
        for bay in self._bays.values():
            bay.said = None

    def learn(self, node_ids: Iterable[bytes]) -> list[bytes]:
        """Find out where these sit, one after the other; the ones that are waited for now."""
        return self._placing.want(node_ids)

    # ------------------------------------------------------------------ one bay

    def _off_since_s(self) -> dict[Place, float]:
        return {place: bay.off_since_s for place, bay in self._bays.items() if bay.off_since_s is not None}

    def _see(self, seen: BaySeen, now_s: float) -> None:
        bay = self._bays.setdefault(seen.place, _Bay(seen))
        bay.seen = seen
        if seen.powered is False:
            bay.off_since_s = now_s if bay.off_since_s is None else bay.off_since_s
            watts: float | None = 0.0
        else:
            bay.off_since_s = None if seen.powered else bay.off_since_s
            watts = seen.figures[2].good if seen.powered else None
        bay.meter.read(watts, now_s)
        account = self._accounts.get(self.seating.at(seen.place).node_id)
        if account is not None:
            account.meter.read(watts, now_s)
        else:
            bay.idle.read(watts, now_s)

    def _look(self, seen: BaySeen, now_s: float) -> Iterator[PowerEffect]:
        place = seen.place
        seat = self.seating.at(place)
        fellow = self._placing.fellows.get(seat.node_id)
        care = self.recovery.care(place)
        if place in self._taken_over:
            if self.bus.why(now_s):
                care.since_s = now_s
                return
            self._taken_over.discard(place)
        back = fellow is not None and fellow.heard_since(care.since_s, now_s)
        yield from self.recovery.look(
            seen, self._who(place), lambda lost_s: self._why_not(place, lost_s, now_s), back, now_s
        )

    def _why_not(self, place: Place, lost_s: float, now_s: float) -> str:
        """Why this bay, silent since `lost_s`, must not be cycled now."""
        own = self.seating.place_of(self._me)
        if place == own:
            return "it is the bay of the node that has the bus"
        if self._settings.in_bay and own is None:
            return "it is not known in which bay the node sits that has the bus"
        if held_back := self.bus.why(now_s):
            return held_back
        if self._placing.learning is not None:
            return "who sits where is being learned"
        seat = self.seating.at(place)
        if not seat.node_id:
            return seat.doubt or "it is not known who sits there"
        if seat.doubt:
            return seat.doubt
        return self._alive(self._placing.fellows.get(seat.node_id), lost_s, now_s)

    def _alive(self, fellow: Fellow | None, lost_s: float, now_s: float) -> str:
        if fellow is None or fellow.health is None:
            return ""
        if fellow.health.writing and fellow.health_age_s < WRITING_S_MAX:
            return "its node is writing its boot environment"
        heard = fellow.heard_since(max(lost_s, now_s - ALIVE_S), now_s)
        if fellow.health.beat is Beat.BEATING and heard:
            return "its node is heard and says that it beats: a wire, or who sits here, is wrong"
        return ""

    def _who(self, place: Place) -> str:
        node_id = self.seating.at(place).node_id
        return f" ({self._placing.name(node_id)})" if node_id else ""

    # ------------------------------------------------------------------ turns

    def _give_turns(self, now_s: float) -> Iterator[PowerEffect]:
        # What was on disk may be minutes older than what was said last, so it ends no turn: the node may have got it since.
        wishes = {
            node_id: f.health.wish
            for node_id, f in self._placing.fellows.items()
            if f.health is not None and (f.health.wish or not f.of_before)
        }
        for node_id in [n for n in wishes if self.seating.place_of(n) is None and n not in self.turns.held]:
            del wishes[node_id]  # a turn is given to a bay: it has to be known which
        given, _ = self.turns.step(wishes, self.seating.place_of, now_s, give=not self.bus.why(now_s))
        for node_id in [n for n in self._accounts if n not in self.turns.held]:
            yield from self._over(node_id, given_back=wishes.get(node_id) == 0, now_s=now_s)
        for node_id in self.turns.held:
            if node_id not in self._accounts:
                self._begin_account(node_id, new=node_id in given, now_s=now_s)

    def _begin_account(self, node_id: bytes, *, new: bool, now_s: float) -> None:
        """Of an update that begins now or, where the turn is not `new`, of what is left of one."""
        account = self._accounts[node_id] = Account()
        bay = self._bay_of(node_id)
        if bay is not None:
            account.idle_w = bay.idle.mean_w if new else None
            account.meter.read(bay.meter.watts, now_s)

    def _over(self, node_id: bytes, *, given_back: bool, now_s: float) -> Iterator[PowerEffect]:
        """A turn has ended; an update with it, where it was given back."""
        account, bay = self._accounts.pop(node_id), self._bay_of(node_id)
        if bay is None:
            return
        account.meter.read(bay.meter.watts, now_s)
        bay.used, bay.idle = account.used if given_back else None, Idle()
        if bay.used is None:
            return
        why = f"the update of {self._placing.name(node_id)} took {bay.used.words}"
        if node_id == self._me:
            self._event(why)  # its history says so with the release
            yield UpdateUsed(bay.used)
        else:
            yield Tell("energy", why)

    def _bay_of(self, node_id: bytes) -> _Bay | None:
        place = self.seating.place_of(node_id)
        return self._bays.get(place) if place is not None else None

    def update_used(self, node_id: bytes) -> Used | None:
        """By the update of this node that goes on; None where there is none, or nothing was measured of it."""
        account = self._accounts.get(node_id)
        return account.used if account is not None else None

    # ------------------------------------------------------------------ operators

    def _carry_out_commands(self, now_s: float) -> Iterator[PowerEffect]:
        for place, asked in list(self._asked.items()):
            command, held_back = asked.command, self.bus.why(now_s)
            if self._wall_s < command.expires_at_s and (held_back or self._waits(place)):
                if held_back:
                    self.recovery.care(place).why = why = fitting(f"{command.action} waits: {held_back}")
                if held_back and not asked.told:
                    asked.told = True
                    yield Tell("power", f"bay {place}{self._who(place)}: {why}; by {asked.by}")
                continue
            del self._asked[place]
            self._done[place] = asked.sequence
            why = self._refusal(asked, now_s)
            words = f"{command.action} of bay {place}{self._who(place)} by {asked.by}: {command.why or 'no reason given'}"
            if why:
                self.recovery.care(place).why = fitting(f"not done: {why}")
                yield Tell("power refused", f"{words}; not done: {why}")
            else:
                yield Tell("power", words)
                yield from self.recovery.command(
                    command.action, place, fitting(f"by {asked.by}: {command.why}"), now_s
                )

    def _waits(self, place: Place) -> bool:
        """Not at this moment: the board is being worked at, or the node writes what it boots by."""
        fellow = self._placing.fellows.get(self.seating.at(place).node_id)
        writing = fellow is not None and fellow.health is not None and fellow.health.writing
        late = fellow is None or fellow.health_age_s >= WRITING_S_MAX
        return self.recovery.busy(place.mate) or self.recovery.busy(place) or (writing and not late)

    def _refusal(self, asked: _Asked, now_s: float) -> str:
        """Why an operator's command is not carried out."""
        command, place = asked.command, asked.command.place
        if self._wall_s >= command.expires_at_s:
            held_back = self.bus.why(now_s)
            return "it has expired" + (f": {held_back}" if held_back else "")
        if place not in self._bays:
            return "no board with this bay answers"
        if command.node_id and command.node_id != self.seating.at(place).node_id:
            return "another node sits there, or nobody knows who"
        own = self.seating.place_of(self._me)
        if command.action is not Action.ON and (place == own or (self._settings.in_bay and own is None)):
            return "it is, or may be, the bay of the node that has the bus"
        return ""

    # ------------------------------------------------------------------ what others are told

    def _supply_why(self, seen: BaySeen) -> str:
        bay_v, input_v = seen.figures[0].good, seen.figures[3].good
        if seen.powered and bay_v is not None and bay_v < BAY_V_MIN:
            return f"the bay gets {bay_v:.2f} V, less than {BAY_V_MIN} V"
        if input_v is not None and input_v < self._settings.input_v_min:
            return f"the board gets {input_v:.1f} V, less than {self._settings.input_v_min:.1f} V"
        return ""

    def _bay_power(self, place: Place, now_s: float) -> BayPower:
        bay, care, seat = self._bays[place], self.recovery.care(place), self.seating.at(place)
        seen = bay.seen
        silent_s = now_s - care.lost_since_s if care.lost_since_s is not None else 0.0
        return BayPower(
            at_s=held(self._wall_s),
            stack=self._settings.stack,
            place=place,
            present=seen.present,
            powered=seen.powered,
            heartbeat=seen.heartbeat,
            silent_s=held(silent_s),
            figures=seen.figures,
            node_id=seat.node_id,
            known_by="in doubt" if seat.doubt else seat.known_by,
            doing=str(care.phase),
            why=fitting(seat.doubt or care.why),
            supply_why=fitting(self._supply_why(seen)),
            turn=self.turns.of(seat.node_id) if seat.node_id else 0,
            done=self._done.get(place, 0),
            energy_j=held(bay.meter.joules),
            update_j=held(round(bay.used.joules)) if bay.used is not None else 0,
            update_s=held(round(bay.used.known_s)) if bay.used is not None else 0,
        )

    def _say(self, now_s: float) -> Iterator[PowerEffect]:
        for place, bay in self._bays.items():
            power = self._bay_power(place, now_s)
            passed_s = now_s - bay.said_s
            told = bay.said
            changed = told is None or _without_figures(told) != _without_figures(power)
            moved = told is not None and _moved(told, power) and passed_s >= SAY_FIGURES_S
            if changed or moved or passed_s >= SAY_EVERY_S:
                bay.said, bay.said_s = power, now_s
                yield Say(power)

    def _finished(self, effects: list[PowerEffect], now_s: float) -> list[PowerEffect]:
        """What has to be durable goes first, what others are told last."""
        for effect in effects:
            if isinstance(effect, Tell):
                self._event(effect.why)
        document = self._document(now_s)
        keep: list[PowerEffect] = []
        if _durable(document) != _durable(self._kept):
            keep = [KeepPower(document.encode())]
        self._kept = document if keep else self._kept
        return [*keep, *effects, *self._say(now_s)]

    def _event(self, why: str) -> None:
        self._events.append((held(self._wall_s), cut(why, EVENT_CHARS_MAX)))

    def _document(self, now_s: float) -> PowerDocument:
        cares = {
            place: Kept.of(care, now_s)
            for place, care in self.recovery.cares.items()
            if care.phase is not Phase.WATCHED or care.tries
        }
        turns = {node_id: turn.wish for node_id, turn in self.turns.held.items()}
        return PowerDocument(cares, dict(self.seating.learned), turns, dict(self._done), self.events)

    def busy_places(self) -> list[Place]:
        """Bays at which something is being done."""
        return [place for place, care in self.recovery.cares.items() if care.phase in UNDER_WAY]


def _without_figures(power: BayPower) -> BayPower:
    return evolve(
        power, at_s=0, silent_s=0, figures=(), energy_j=0, supply_why="low" if power.supply_why else ""
    )


def _moved(before: BayPower, after: BayPower) -> bool:
    was, now = before.figure("bay_w").value, after.figure("bay_w").value
    if was is None or now is None:
        return was is not now
    return abs(was - now) >= SAY_WATTS


def _durable(document: PowerDocument) -> PowerDocument:
    """Without what changes by itself, and would be written again and again."""
    cares = {place: evolve(kept, wait_s=0) for place, kept in document.cares.items()}
    return evolve(document, cares=cares)
