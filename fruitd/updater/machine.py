"""The updater: looks each event up in the table, lets its handler answer, and holds what was not saved to its word."""

from __future__ import annotations

from attrs import evolve

from fruitd.errors import BugError
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.booting import BootHandlers
from fruitd.updater.journal import Journal, State
from fruitd.updater.table import IGNORED, ILLEGAL, RESTING, TABLE
from fruitd.updater.work import WorkHandlers

UNSAVED_LEAVE_TRIES = 3
"""Failed saves after which a slot on trial is left although that cannot be recorded. It is safe, because arming again needs
a save of its own, and the tries stay counted. Fewer: a passing fault ends a trial. More: a bad release runs longer."""


class Updater(WorkHandlers, BootHandlers):
    """The life of one update at a time. Plain and deterministic: `now_s` is the node's clock, which may be set at any moment.

    The first event must be `Started`. Effects are carried out in the order given. If a `SaveJournal` cannot be made durable,
    none of the effects behind it may be done, and `journal_not_saved` must be called before the next `handle`.

    With `strict`, an event that the table calls illegal raises `BugError`; without, it is reported in a `Note` named "bug"
    and nothing changes.
    """

    @property
    def journal(self) -> Journal:
        """What was last asked to be saved."""
        return self._journal

    def begin_held_back(self, why: str | None) -> None:
        """What holds it back when it starts; before the first event."""
        self._held_back = why

    def describe(self) -> str:
        """Where the update stands and why, in one line for a person."""
        j = self._journal
        words = f"{j.state}: {j.why}"
        if j.state is State.TRIAL and self._clock is not None and not j.trial_passed:
            words += f"; {self._clock.words}"
        if j.held_why is not None and j.state is not State.WAITING:
            words += f" (held by the operator: {j.held_why})"
        return words

    def handle(self, event: on.Event, now_s: float) -> list[do.Effect]:
        """Take one event in; returns what is to be done, in order."""
        self._now_s = now_s
        self._out = []
        before = self._journal
        try:
            if self._resume_at_s is None or isinstance(event, on.Started):
                self._resume_at_s = None
                self._dispatch(event)
            else:
                self._while_unsaved(event, self._resume_at_s)
        except BugError as bug:
            if self._strict:
                raise
            self._journal = before
            self._out = [do.Note("bug", str(bug))]
        return self._out

    def _dispatch(self, event: on.Event) -> None:
        before = self._journal.state
        row = TABLE[before, type(event)]
        if self._boot is None and not isinstance(event, on.Started):
            self._bug(f"{type(event).__name__} before Started")
        elif row.handler == ILLEGAL:
            self._bug(f"{type(event).__name__} in state {before}: {event}")
        elif row.handler != IGNORED:
            getattr(self, f"_on_{row.handler}")(event)
            after = self._journal.state
            if after is not before and after not in row.follows:
                self._bug(
                    f"{type(event).__name__} led from {before} to {after}, which the table does not know"
                )

    def _while_unsaved(self, event: on.Event, resume_at_s: float) -> None:
        """What was begun behind the failed save was not done: only facts count until it is thought through again."""
        match event:
            case on.Wakeup() if self._now_s < resume_at_s:
                return
            case (
                on.Wakeup() | on.Hold() | on.Resume() | on.HeldBack() | on.FreeAgain() | on.Rollback() | on.Lift()
                | on.Disputed() | on.Settled() | on.Withdrawn() | on.ReleaseKeys()
            ):  # fmt: skip
                self._resume_at_s = None
                if isinstance(event, on.Withdrawn):
                    self._lost_offer = None
                self._dispatch(on.Started(self._facts))
                if not isinstance(event, on.Wakeup):
                    self._dispatch(event)
            case on.Offered(target):
                self._lost_offer = target
            case on.SlotArmed():
                self._boot = evolve(self._facts, armed=self._journal.target_slot)
            case on.SlotCommitted(slot):
                self._boot = evolve(self._facts, default=slot, armed=None)

    def journal_not_saved(self, journal: Journal, why: str, now_s: float) -> list[do.Effect]:
        """The `SaveJournal` with this journal could not be made durable: think again from what is on disk, after a pause."""
        self._now_s = now_s
        before = next((old for old, new in reversed(self._saves) if new is journal), None)
        if before is None:
            return [do.Note("bug", "a journal that was not asked to be saved was not saved")]
        latest, self._journal = (
            self._journal,
            before,
        )  # what came behind the failed save is taken back with it
        self._saves.clear()
        if now_s - self._unsaved_s > 2 * self._settings.retry_max_s:
            self._unsaved_tries = 0
        self._unsaved_s = now_s
        self._unsaved_tries += 1
        self._resume_at_s = now_s + self._pause_s(self._unsaved_tries)
        offer = latest.pending or latest.target
        if offer not in (before.target, before.pending) and not latest.rollback:
            self._lost_offer = offer
        effects: list[do.Effect] = [do.Note("state not saved", why)]
        on_trial = self._facts.active == journal.target_slot != self._facts.default
        if on_trial and self._unsaved_tries >= UNSAVED_LEAVE_TRIES:
            effects.append(do.RestartNode("on trial, and nothing about it can be saved"))
        return effects

    def _on_started(self, event: on.Started) -> None:
        super()._on_started(event)
        self._judge_by_keys()  # with a journal that was not saved, what the keys had changed in it was taken back
        offer, self._lost_offer = self._lost_offer, None
        if offer is None:
            return
        if self._journal.state in RESTING:
            self._consider(offer)
        else:
            self._dispatch(on.Offered(offer))

    def next_wakeup_s(self, now_s: float) -> float | None:
        """When `Wakeup` is due; None while nothing waits for time. Never earlier than `now_s`."""
        if self._boot is None:
            return None
        if self._resume_at_s is not None:
            return max(self._resume_at_s, now_s)
        j = self._journal
        times = [self._again_at_s] if self._again_at_s is not None else []
        if j.state is State.WAITING and self._wait_why() is None:
            times.append(min(j.retry_at_s, now_s + self._settings.retry_max_s))
        if j.state is State.TRIAL and not j.trial_passed:
            times.append(now_s + self._settings.health_interval_s)
        return max(min(times), now_s) if times else None
