"""A bay that has fallen silent is power-cycled, by rules. Pure: one look a sweep, at one bay after the other.

    watched ── silent for long, nothing speaks against it ──> turning off ── no power ──> off ──> booting ── it beats ──> watched
       ^                                                                                            |
       └── it beats ── given up <── too many tries ─────────────── still silent ────────────────────┘

What never happens: both bays of a board without power at once by this; a bay that beats, or that nobody could read, is cycled;
more than `tries_max` tries in a row. What else speaks against a cycle is told from outside (`why_not`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from attrs import define, field

from fruitd.power.effects import PowerEffect, Step, SwitchBay, Tell
from fruitd.power.seen import BaySeen
from fruitd.power.settings import RecoveryLimits
from swarm.power import Place
from swarm.switching import Action

LOST_SWEEPS_MIN = 2
"""One reply garbled at random can pass for a lost heartbeat (docs/hardware.md); two in a row do not."""


class Phase(StrEnum):
    """What is being done to a bay."""

    WATCHED = ""
    TURNING_OFF = "turning off"
    OFF = "off for a moment"
    BOOTING = "booting"
    GIVEN_UP = "given up"
    HELD_OFF = "off"
    """By an operator: it stays so."""


UNDER_WAY = frozenset({Phase.TURNING_OFF, Phase.OFF, Phase.BOOTING})


@define
class BayCare:
    """What is remembered of one bay. Times are steady seconds."""

    phase: Phase = Phase.WATCHED
    why: str = ""
    since_s: float = 0.0
    tries: int = 0
    next_try_s: float = float("-inf")
    lost_since_s: float | None = None
    beating_since_s: float | None = None
    _lost_sweeps: int = 0
    off_once: bool = False
    """It has been seen without power since it came to this phase."""
    resumed: bool = False
    """Its power was to be taken for its silence, before this node had the bus, or had it again: what holds now comes first."""
    _cut: bool = False
    _told: str = ""

    def to(self, phase: Phase, now_s: float, why: str | None = None) -> None:
        """Go there."""
        self.phase, self.since_s, self.off_once, self._cut, self._told = phase, now_s, False, False, ""
        self.resumed = False
        if why is not None:
            self.why = why

    def new(self, words: str) -> bool:
        """True the first time in a row that this is said."""
        said, self._told = self._told == words, words
        return not said

    def seen(self, heartbeat: bool | None, now_s: float) -> None:
        """The heartbeat as it was read; None leaves everything as it is."""
        if heartbeat is True:
            self.lost_since_s, self._lost_sweeps = None, 0
            self.beating_since_s = now_s if self.beating_since_s is None else self.beating_since_s
        elif heartbeat is False:
            self._lost_sweeps += 1
            self.beating_since_s = None
            self.lost_since_s = now_s if self.lost_since_s is None else self.lost_since_s

    def forget_beats(self) -> None:
        """There is no power: nobody can beat."""
        self.lost_since_s, self._lost_sweeps, self.beating_since_s = None, 0, None

    @property
    def lost_twice(self) -> bool:
        """In two sweeps in a row, or more."""
        return self._lost_sweeps >= LOST_SWEEPS_MIN

    def cut_once(self) -> bool:
        """True the first time since it came to this phase."""
        first, self._cut = not self._cut, True
        return first


@define
class Recovery:
    """Of one stack. `limits` None: nothing is cycled by itself, and operators' commands are carried out all the same."""

    limits: RecoveryLimits | None
    cares: dict[Place, BayCare] = field(factory=dict)

    @property
    def times(self) -> RecoveryLimits:
        """The times that hold for operators' commands too."""
        return self.limits or RecoveryLimits()

    def care(self, place: Place) -> BayCare:
        """Of this bay."""
        return self.cares.setdefault(place, BayCare())

    def busy(self, place: Place) -> bool:
        """Something is being done to it; what an operator has switched off is at rest once it is without power."""
        care = self.care(place)
        return care.phase in UNDER_WAY or (care.phase is Phase.HELD_OFF and not care.off_once)

    def look(
        self, seen: BaySeen, who: str, why_not: Callable[[float], str], back: bool, now_s: float
    ) -> Iterator[PowerEffect]:
        """One bay, as one sweep found it.

        Args:
            seen: what was found.
            who: its node, for people.
            why_not: why it must not be cycled now, given since when it is silent; "" where nothing speaks against it.
            back: its node has been heard since it got power.
            now_s: steady time.
        """
        care = self.care(seen.place)
        for_s = now_s - care.since_s
        match care.phase:
            case Phase.TURNING_OFF if seen.powered is False:
                care.to(Phase.OFF, now_s)
            case Phase.TURNING_OFF if care.resumed and seen.heartbeat:
                # It came back meanwhile, and gets power if it loses it all the same.
                care.to(Phase.BOOTING, now_s)
            case Phase.HELD_OFF if seen.powered is False:
                care.off_once = True
            case Phase.HELD_OFF if seen.powered and care.off_once:
                care.to(Phase.WATCHED, now_s, "")  # somebody switched it on again
            case Phase.TURNING_OFF | Phase.HELD_OFF if seen.powered and for_s > self.times.off_wait_s:
                if care.cut_once():
                    yield SwitchBay(seen.place, Step.CUT)
                elif for_s > 2 * self.times.off_wait_s:
                    care.to(Phase.WATCHED, now_s, "its power could not be taken")
            case Phase.OFF if seen.powered:
                care.to(Phase.BOOTING, now_s)
            case Phase.OFF if for_s >= self.times.off_s:
                yield SwitchBay(seen.place, Step.ON)
            case Phase.BOOTING:
                yield from self._booting(care, seen, who, back, now_s)
            case Phase.WATCHED | Phase.GIVEN_UP:
                yield from self._watch(care, seen, who, why_not, now_s)

    def command(self, action: Action, place: Place, why: str, now_s: float) -> Iterator[PowerEffect]:
        """An operator's word, which counts as no try."""
        care = self.care(place)
        care.forget_beats()
        match action:
            case Action.ON:
                care.to(Phase.BOOTING, now_s, why)
                yield SwitchBay(place, Step.ON)
            case Action.OFF:
                care.to(Phase.HELD_OFF, now_s, why)
                yield SwitchBay(place, Step.OFF)
            case Action.CYCLE:
                care.to(Phase.TURNING_OFF, now_s, why)
                yield SwitchBay(place, Step.OFF)

    def failed(self, place: Place, step: Step, why: str) -> Iterator[PowerEffect]:
        """A board did not do it: it is asked again, at the next sweep or when its time is over."""
        if self.care(place).new(f"{step} {why}"):
            yield Tell("power", f"bay {place} could not be switched {step}: {why}")

    def _booting(
        self, care: BayCare, seen: BaySeen, who: str, back: bool, now_s: float
    ) -> Iterator[PowerEffect]:
        over = now_s - care.since_s >= self.times.boot_s
        if seen.powered is False and care.cut_once():
            yield SwitchBay(seen.place, Step.ON)  # what was asked for before got lost
            return
        # Boards report a heart as well while its Pi boots: only a word of the node itself, or time, says that it is up.
        if seen.heartbeat and (back or over):
            yield Tell("power", f"bay {seen.place}{who} beats again")
            care.to(Phase.WATCHED, now_s, "")
        elif over and seen.heartbeat is False:
            began_s = care.since_s
            care.to(Phase.WATCHED, now_s, "")
            care.seen(False, now_s)
            care.lost_since_s = began_s

    def _watch(
        self, care: BayCare, seen: BaySeen, who: str, why_not: Callable[[float], str], now_s: float
    ) -> Iterator[PowerEffect]:
        limits = self.limits
        if seen.powered is not True or limits is None:
            if seen.powered is False:
                care.forget_beats()
            return
        was_lost_s = care.lost_since_s
        care.seen(seen.heartbeat, now_s)
        if seen.heartbeat:
            if was_lost_s is not None and care.tries == 0:
                care.why = ""
            if care.beating_since_s is not None and now_s - care.beating_since_s >= limits.cool_down_s:
                care.tries = 0
            if care.phase is Phase.GIVEN_UP:
                yield Tell("power", f"bay {seen.place}{who} beats again, by itself")
                care.to(Phase.WATCHED, now_s, "")
            return
        lost_s = care.lost_since_s
        given_up = care.phase is Phase.GIVEN_UP
        if seen.heartbeat is None or lost_s is None or not care.lost_twice or given_up:
            return  # not read this time: by now it may beat
        silent_s = now_s - lost_s
        if silent_s < limits.silent_s or now_s < care.next_try_s:
            return
        if care.tries >= limits.tries_max:
            care.to(Phase.GIVEN_UP, now_s, f"silent after {care.tries} power cycles")
            yield Tell("power", f"bay {seen.place}{who} is given up: silent after {care.tries} power cycles")
            return
        why = (
            "the other bay of its board is being switched" if self.busy(seen.place.mate) else why_not(lost_s)
        )
        if why:
            care.why = f"silent, and not cycled: {why}"
            if care.new(why):
                yield Tell(
                    "power", f"bay {seen.place}{who} is silent for {silent_s:.0f} s and not cycled: {why}"
                )
            return
        care.tries += 1
        care.next_try_s = now_s + limits.cool_down_s * 2 ** (care.tries - 1)
        words = f"silent for {silent_s:.0f} s, power cycle {care.tries} of {limits.tries_max}"
        care.to(Phase.TURNING_OFF, now_s, words)
        care.forget_beats()
        yield Tell("power", f"bay {seen.place}{who}: {words}")
        yield SwitchBay(seen.place, Step.OFF)
