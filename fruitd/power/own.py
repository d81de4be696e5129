"""Every node's part: what it says of its own heart and supply, its wish to update, and what of all that holds an update back.
Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from attrs import evolve

from fruitd.power.effects import HoldBack, PauseHeartbeat, PowerEffect, Say, Tell, UpdateUsed
from fruitd.power.energy import Used
from fruitd.power.settings import PowerSettings
from swarm.power import PAUSE_S_MAX, BayPower, Beat, NodeHealth, PauseAsked, Supply, fitting, held

SAY_EVERY_S = 1800.0
"""As statuses: an unchanged node says so again so often."""
SAY_GAP_S = 2.0
OVER_S = 0.5
"""A turn is given back so long after the update is over. That may turn out not to be: what cannot be written down has not
happened, and the update goes on. Longer: its mate waits for longer."""
WISH_AGAIN_S = 60.0
"""A wish that is not granted is said again so often: who is new, or gives turns since a moment ago, may have missed it."""
CLEAR_S = 60.0
"""A supply counts as good again after so long without a complaint. Shorter: an update begins between two dips."""
FRESH_S = 3 * SAY_EVERY_S
"""What the owner of the bus said counts for so long; it says everything twice as often at least."""
PAUSE_EVERY_S = 600.0
"""Whoever asks, a heart pauses no more often. With `PAUSE_S_MAX` this is all that a liar can do to it."""
ASKED_S_MAX = 120.0
"""A request to pause is heeded for so long: what was recorded cannot be played again later."""
TURN_WORDS = "held back until it is this node's turn: the two Pis of a board never update at the same time"


class OwnPower:
    """One node's."""

    def __init__(self, settings: PowerSettings, node_id: bytes, rng: random.Random, now_s: float) -> None:
        self._settings = settings
        self._node_id = node_id
        self._rng = rng
        self._started_s = now_s
        self._supply = Supply()
        self._why = ""
        self._wish = 0
        self._wished_s = 0.0
        self._over_s = float("inf")
        self._granted = False
        self._had_turn = False
        """As far as the node with the bus has said, perhaps before this one was restarted."""
        self._alone = False
        self._writing = False
        self.owns = False
        self._low_s = float("-inf")
        self._low_why = ""
        self._paused_until_s = float("-inf")
        self._pause_s = float("-inf")
        self._say_s = now_s + rng.uniform(0.2, SAY_GAP_S)
        self._said_s = float("-inf")
        self.hold_back: str | None = TURN_WORDS if settings.in_bay else None
        """Why nothing is to be begun; known before the updater starts."""

    # ------------------------------------------------------------------ what is told

    def health(self, now_s: float, wall_s: float) -> NodeHealth:
        """What it says of itself now."""
        return NodeHealth(
            at_s=held(wall_s),
            stack=self._settings.stack,
            place=self._settings.place,
            beat=self._beat(now_s),
            well=not self._why,
            why=fitting(self._why),
            supply=self._supply,
            wish=self._wish,
            writing=self._writing,
            owns=self.owns,
        )

    def _beat(self, now_s: float) -> Beat:
        if not self._settings.beats:
            return Beat.NONE
        if now_s < self._paused_until_s:
            return Beat.PAUSED
        return Beat.SILENT if self._why else Beat.BEATING

    @property
    def due_s(self) -> float:
        """When `on_time` wants to be called."""
        return min(self._say_s, self._over_s)

    # ------------------------------------------------------------------ what happens

    def looked(self, supply: Supply, why: str, now_s: float) -> Iterator[PowerEffect]:
        """The machine was looked at: its supply, and why its heart does not beat ("" while it does)."""
        if supply.undervoltage:
            self._low_s, self._low_why = now_s, "the machine reports undervoltage"
        changed = _without_heat(supply) != _without_heat(self._supply) or why != self._why
        self._supply, self._why = supply, why
        if changed:
            self._say_soon(now_s)
        yield from self._judge(now_s)

    def updating(self, wants: bool, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        """Whether there is anything that it wants to install."""
        self._over_s = min(self._over_s, now_s + OVER_S) if self._wish and not wants else float("inf")
        if self._settings.in_bay and wants and not self._wish:
            yield from self._wish_anew(max(held(wall_s * 1000), 1), now_s, wall_s)

    def _wish_anew(self, wish: int, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        self._wish, self._over_s = wish, float("inf")
        self._wished_s, self._granted, self._alone = now_s, False, False
        yield from self._say(now_s, wall_s)
        yield from self._judge(now_s)

    def writing(self, writing: bool, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        """The boot environment is about to be written, or has been: whoever could cut the power hears it first."""
        if self._settings.stack and writing != self._writing:
            self._writing = writing
            yield from self._say(now_s, wall_s)

    def owning(self, owns: bool, now_s: float) -> None:
        """It has the bus, or has it no more."""
        if owns != self.owns:
            self.owns = owns
            self._say_soon(now_s)

    def pause_asked(
        self, asked: PauseAsked, asker: bytes, now_s: float, wall_s: float
    ) -> Iterator[PowerEffect]:
        """The owner of a bus wants to see which bay falls silent. Heeded within bounds, whoever asks."""
        settings = self._settings
        if asked.node_id != self._node_id or asked.stack != settings.stack or not settings.beats:
            return
        late = abs(wall_s - asked.at_s) > ASKED_S_MAX
        stranger = bool(settings.owners) and asker not in settings.owners and asker != self._node_id
        if late or stranger or now_s - self._pause_s < PAUSE_EVERY_S:
            why = (
                "it is late" if late else "it may not ask" if stranger else "another was heeded a moment ago"
            )
            yield Tell("pause refused", f"{asker.hex()[:8]} asked for a pause of the heartbeat: {why}")
            return
        self._pause_s = now_s
        self._paused_until_s = now_s + min(asked.for_s, PAUSE_S_MAX)
        yield Tell(
            "pause", f"the heartbeat pauses for {asked.for_s} s: {asker.hex()[:8]} looks which bay this is"
        )
        yield PauseHeartbeat(self._paused_until_s - now_s)
        yield from self._say(now_s, wall_s)  # whoever asked must know that it was this heart
        self._say_s = min(self._say_s, self._paused_until_s + SAY_GAP_S)

    def told(self, mine: Iterable[BayPower], owner_silent_s: float, now_s: float) -> Iterator[PowerEffect]:
        """What the owner of the bus says of this node's bay, and for how long nothing has been heard of any."""
        settings = self._settings
        said = list(mine)
        self._granted = bool(self._wish) and any(power.turn == self._wish for power in said)
        if said:
            yield from self._look_for_the_end(said)
        low = next((power.supply_why for power in said if power.supply_why), "")
        if low:
            self._low_s, self._low_why = now_s, f"the board's supply fails: {low}"
        bay = settings.place.bay if settings.place is not None else 0
        waited_s = now_s - self._wished_s if self._wish else 0.0
        alone = owner_silent_s > FRESH_S and waited_s > settings.turn_wait_s * (1 + bay)
        if alone and not self._alone:
            yield Tell("turn", f"nobody has the bus of stack {settings.stack}: it updates without a turn")
        self._alone = alone
        yield from self._judge(now_s)

    def on_time(self, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        """Time has passed."""
        if now_s >= self._over_s:
            yield from self._wish_anew(0, now_s, wall_s)
        yield from self._judge(now_s)
        if now_s >= self._say_s:
            yield from self._say(now_s, wall_s)

    def unsaid(self, now_s: float) -> None:
        """What it said counts for nobody yet: this node is no member, as far as it knows itself. It is said again."""
        self._say_s = now_s + SAY_GAP_S

    # ------------------------------------------------------------------ inside

    def _look_for_the_end(self, said: list[BayPower]) -> Iterator[PowerEffect]:
        """A turn that was given back comes with what was measured meanwhile. Whoever has the bus knows by itself."""
        had_turn, self._had_turn = self._had_turn, any(power.turn for power in said)
        used = max(said, key=lambda power: power.update_s)
        if had_turn and not self._had_turn and not self._wish and not self.owns and used.update_s:
            yield UpdateUsed(Used(float(used.update_j), float(used.update_s)))

    def _judge(self, now_s: float) -> Iterator[PowerEffect]:
        why = None
        if now_s - self._low_s < CLEAR_S:
            why = f"held back: {self._low_why}"
        elif self._settings.in_bay and not self._granted and not self._alone:
            why = TURN_WORDS
        if why != self.hold_back:
            self.hold_back = why
            yield HoldBack(why)

    def _say_soon(self, now_s: float) -> None:
        self._say_s = min(self._say_s, max(now_s + self._rng.uniform(0.2, 1.0), self._said_s + SAY_GAP_S))

    def _say(self, now_s: float, wall_s: float) -> Iterator[PowerEffect]:
        self._said_s = now_s
        waits = bool(self._wish) and not self._granted
        self._say_s = now_s + (WISH_AGAIN_S if waits else SAY_EVERY_S) * self._rng.uniform(0.85, 1.15)
        yield Say(self.health(now_s, wall_s))


def _without_heat(supply: Supply) -> Supply:
    return evolve(supply, decicelsius=None)
