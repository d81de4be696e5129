"""What every handler of the updater builds on: the journal, timers, and the few moves between states they share."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from attrs import evolve

from fruitd.boot_facts import BootFacts
from fruitd.errors import BugError
from fruitd.updater import effects as do
from fruitd.updater.journal import Journal, Quarantine, SlotContent, State, Target, other_slot
from fruitd.updater.offers import Answer, judge, named, with_quarantine
from fruitd.updater.settings import UpdateSettings
from fruitd.updater.trial_clock import TrialClock

_UNKNOWN = (None, "not told yet")
UNTRIED: dict[str, Any] = {"attempts": 0, "cut_off": 0, "seen_well": None, "starts": 0}
"""Changes to the journal that forget how often the target was tried."""
SPARED_WHY = (
    "look at the machine and its card, then: fruit quarantine lift; a newer release is taken by itself"
)
SAVES_REMEMBERED = 64
"""Saves that may be asked for before the first of them is carried out, as when an answer comes at once. Fewer: one that
fails would not be known any more."""


class Life:
    """The state of an `Updater` and its shared moves. Handlers append effects in the order they must be carried out."""

    def __init__(
        self, journal: Journal, settings: UpdateSettings, rng: random.Random, *, strict: bool = False
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._rng = rng
        self._strict = strict
        self._boot: BootFacts | None = None
        self._now_s = 0.0
        self._out: list[do.Effect] = []
        self._saves: deque[tuple[Journal, Journal]] = deque(maxlen=SAVES_REMEMBERED)
        self._seeding: tuple[Target | None, str | None] = _UNKNOWN
        self._clock: TrialClock | None = None
        self._again_at_s: float | None = None
        self._again_tries = 0
        self._read_backs_failed = 0
        self._refused: Target | None = None
        self._stuck = False
        self._lost_offer: Target | None = None
        self._unsaved_tries = 0
        self._unsaved_s = 0.0
        self._resume_at_s: float | None = None
        self._noted: tuple[str, str] | None = None
        self._signers: frozenset[str] | None = None
        self._held_back: str | None = None

    # -- small words ---------------------------------------------------------------------------------------------

    @property
    def _facts(self) -> BootFacts:
        if self._boot is None:
            raise BugError("the updater has not been told which boot this is")
        return self._boot

    @property
    def _target(self) -> Target:
        if self._journal.target is None:
            raise BugError(f"no target in state {self._journal.state}")
        return self._journal.target

    @property
    def _target_slot(self) -> str:
        if self._journal.target_slot is None:
            raise BugError(f"no target slot in state {self._journal.state}")
        return self._journal.target_slot

    def _do(self, effect: do.Effect) -> None:
        self._out.append(effect)

    def _note(self, what: str, why: str, target: Target | None = None) -> None:
        release, version = (target.release, target.version) if target else (None, None)
        self._do(do.Note(what, why, release, version))

    def _note_once(self, what: str, why: str, target: Target | None) -> None:
        """For facts that may be repeated to us at every round of gossip."""
        if self._noted != (what, why):
            self._noted = (what, why)
            self._note(what, why, target)

    def _bug(self, text: str) -> None:
        if self._strict:
            raise BugError(text)
        self._note("bug", text)

    # -- the journal ---------------------------------------------------------------------------------------------

    def _go(self, state: State | None = None, why: str | None = None, **changes: Any) -> None:
        """Change the journal and ask for it to be saved; nothing is asked for where nothing changes."""
        old = self._journal
        if state is not None and state is not old.state:
            changes.update(state=state, since_s=self._now_s)
        if why is not None:
            changes["why"] = why
        new = evolve(old, **changes)
        if new != old:
            self._journal = new
            self._save(old, new)
        self._reseed()

    def _save(self, old: Journal, new: Journal) -> None:
        """Ask for a save; one asked for a moment ago, that nothing relies on by itself, gives way to it (SD cards wear)."""
        for index in range(len(self._out) - 1, -1, -1):
            effect = self._out[index]
            if isinstance(effect, do.SaveJournal):
                self._out[index] = do.SaveJournal(new)
                self._saves[-1] = (self._saves[-1][0], new)
                return
            if not isinstance(effect, do.Note | do.Seed):
                break
        self._saves.append((old, new))
        self._do(do.SaveJournal(new))

    def _slots_with(self, slot: str, content: SlotContent | None) -> dict[str, SlotContent | None]:
        return {**self._journal.slots, slot: content}

    def _reseed(self) -> None:
        """Tell which slot to serve from, where that has changed; always behind the save that made it true."""
        choice = self._seed_choice()
        if choice != self._seeding:
            self._seeding = choice
            self._do(do.Seed(*choice))

    def _seed_choice(self) -> tuple[Target | None, str | None]:
        j = self._journal
        active = self._facts.active
        for slot in (j.target_slot if j.holds_target() else None, active, other_slot(active)):
            content = j.slots[slot] if slot is not None else None
            if content is not None and j.quarantine_of(content.target.infohash) is None:
                return content.target, slot
        return None, None

    # -- time ----------------------------------------------------------------------------------------------------

    def _pause_s(self, failures: int) -> float:
        """Exponential, with jitter so that a site does not come back as one crowd."""
        s = self._settings
        longest = min(s.retry_max_s, s.retry_min_s * 2.0 ** min(max(failures - 1, 0), 30))
        return longest * self._rng.uniform(0.5, 1.0)

    def _again(self, pause_s: float | None = None) -> None:
        """Set the timer of this daemon run: not durable, because starting again does the same."""
        self._again_tries += 1
        self._again_at_s = self._now_s + (self._pause_s(self._again_tries) if pause_s is None else pause_s)

    def _again_due(self) -> bool:
        if self._again_at_s is None or self._now_s < self._again_at_s:
            return False
        self._again_at_s = None
        return True

    def _restart(self, why: str) -> None:
        """Ask for a restart, and ask again should it not come."""
        self._do(do.RestartNode(why))
        patience_s = self._settings.restart_patience_s * 2.0 ** min(self._again_tries, 30)
        self._again(min(patience_s, max(self._settings.retry_max_s, self._settings.restart_patience_s)))

    # -- beginning -----------------------------------------------------------------------------------------------

    def _wait_why(self) -> str | None:
        """Why nothing may be begun, written or armed now; None where it may."""
        j, boot = self._journal, self._facts
        if boot.active != boot.default:
            return f"slot {boot.active} runs but slot {boot.default} is the default; slot {boot.active} is made the default first"
        if boot.armed is not None:
            return f"the boot environment still says to try slot {boot.armed}; that is taken back first"
        if j.rollback:
            return None
        if j.held_why is not None:
            return f"held by the operator: {j.held_why}"
        if j.disputed_why is not None:
            return f"disputed: {j.disputed_why}"
        return self._held_back

    def _consider(self, target: Target) -> None:
        """Judge an offer while nothing is under way, and begin if it is good."""
        j = self._journal
        verdict = judge(target, j, self._facts.active, self._signers)
        match verdict.answer:
            case Answer.ACCEPTED if target == j.target and (why := self._spent_why()) is not None:
                self._refuse(target, f"{why}; {SPARED_WHY}")
            case Answer.ACCEPTED:
                self._begin(target)
            case Answer.UP_TO_DATE:
                if j.state is State.COMMITTED and j.target == target:
                    self._go(disputed_why=None, **self._released_again(target))
                else:
                    self._up_to_date(target, verdict.why)
            case Answer.QUARANTINED:
                self._note_once("quarantined", verdict.why, target)
                self._go(
                    State.QUARANTINED,
                    verdict.why,
                    target_slot=None,
                    disputed_why=None,
                    **self._retarget(target),
                )
            case Answer.REFUSED:
                self._refuse(target, verdict.why)

    def _refuse(self, target: Target, why: str) -> None:
        self._refused = target
        self._note_once("refused", why, target)
        self._go(State.REFUSED, why, disputed_why=None, **self._retarget(target))

    def _up_to_date(self, target: Target, why: str) -> None:
        active = self._facts.active
        again = self._released_again(target)
        self._go(State.IDLE, why, target_slot=active, disputed_why=None, **self._retarget(target), **again)

    def _released_again(self, target: Target) -> dict[str, Any]:
        """What runs was released once more, perhaps by others after a key was taken away: from now on it has their word, and its
        number is a floor again."""
        j, active = self._journal, self._facts.active
        content = j.running(active)
        if content is None or content.target == target:
            return {}
        changes: dict[str, Any] = {"slots": {**j.slots, active: evolve(content, target=target)}}
        if target.release >= j.highest_release:
            changes |= {"highest_release": target.release, "highest_signer": target.signer}
        return changes

    def _retarget(self, target: Target | None) -> dict[str, Any]:
        """Changes that put another target in the journal. One that was tried and never committed is done with: should it be
        offered again later, its tries would otherwise be forgotten."""
        j = self._journal
        if j.target is None or (target is not None and j.target.infohash == target.infohash):
            return {"target": target}
        changes: dict[str, Any] = {"target": target, "trial_passed": False, "rollback": False, **UNTRIED}
        spared = j.target.infohash in j.succeeded
        if j.attempts and not spared and j.quarantine_of(j.target.infohash) is None:
            why = f"left after {j.attempts} trial boots that came to nothing"
            changes["quarantined"] = with_quarantine(j, self._quarantine(j.target, why, j.attempts))
        return changes

    def _consider_pending(self) -> None:
        target = self._journal.pending
        if target is not None:
            self._go(pending=None)
            self._consider(target)

    def _begin(self, target: Target) -> None:
        """Make this release the target. One that was tried before keeps its count."""
        j = self._journal
        slot = other_slot(self._facts.active)
        again = j.target is not None and j.target.infohash == target.infohash and not j.trial_passed
        changes: dict[str, Any] = self._retarget(target) | {
            **({} if again else UNTRIED),
            "target_slot": slot,
            "starts": 0,
            "armed_boot_id": None,
            "retry_at_s": 0.0,
            "failures": 0,
            "highest_release": max(j.highest_release, target.release),
            "highest_signer": target.signer if target.release >= j.highest_release else j.highest_signer,
            "disputed_why": None,
            "trial_passed": False,
            "rollback": False,
        }
        content = j.slots[slot]
        if content is not None and content.target == target and not again:
            changes["slots"] = self._slots_with(slot, None)  # whatever it held, it has to be read back anew
        self._read_backs_failed = 0
        self._note("offered", f"{named(target)} is offered and will go into slot {slot}", target)
        self._go(State.WAITING, self._wait_why() or "about to begin", **changes)
        self._proceed()

    def _proceed(self) -> None:
        """Go on with the target from where the journal says it stands, unless something forbids it."""
        why = self._wait_why()
        if why is not None:
            self._go(State.WAITING, why, retry_at_s=0.0)
            if not self._default_is_set() and self._again_at_s is None:
                self._again()
            return
        if self._journal.holds_target():
            self._arm()
            return
        self._go(State.OFFERED, f"getting the torrent of {named(self._target)} from peers", retry_at_s=0.0)
        self._do(do.FetchTorrent(self._target))

    def _proceed_if_due(self) -> None:
        early_s = self._journal.retry_at_s - self._now_s
        clock_went_back = early_s > self._settings.retry_max_s
        if self._wait_why() is None and (early_s <= 0 or clock_went_back):
            self._proceed()

    def _wait(self, why: str) -> None:
        """A step failed: pause, longer each time."""
        failures = self._journal.failures + 1
        pause_s = self._pause_s(failures)
        self._do(do.StopWork(self._target.infohash))
        self._note_once("waiting", why, self._target)
        words = f"{why}; trying again after {pause_s:.0f} s (failed {failures} times)"
        self._go(State.WAITING, words, failures=failures, retry_at_s=self._now_s + pause_s)

    # -- arming and giving up ------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Count the trial boot, then ask for it. Only a slot that was read back whole for this target gets here."""
        j, boot = self._journal, self._facts
        if not j.holds_target() or self._target_slot == boot.active or self._wait_why() is not None:
            self._bug(
                f"slot {j.target_slot} must not be armed: {self._wait_why() or 'it does not hold the target'}"
            )
            return
        if (why := self._spent_why()) is not None:
            self._give_up(why)
            return
        self._again_at_s, self._again_tries = None, 0
        attempts = j.attempts + 1
        self._go(
            State.ARMED,
            f"trial boot {attempts} of {named(self._target)} is being armed",
            attempts=attempts,
            seen_well=None,
            starts=0,
            armed_boot_id=boot.boot_id,
            retry_at_s=0.0,
            trial_passed=False,
        )
        self._do(do.ArmSlot(self._target_slot, self._target.infohash))

    def _spent_why(self) -> str | None:
        """Why the target gets no further trial boot; None where it may have one."""
        j, s = self._journal, self._settings
        if j.attempts - j.cut_off >= s.max_attempts:
            return f"did not come up healthy in {j.attempts} trial boots"
        if j.cut_off >= s.cut_offs_max:
            return f"{j.cut_off} trial boots of it were cut off while all was well"
        return None

    def _quarantine(self, target: Target, why: str, attempts: int) -> Quarantine:
        return Quarantine(
            target.infohash, target.release, target.version, why, self._now_s, attempts, target.signer
        )

    def _end_badly(self, state: State, why: str, *, spare: bool = True) -> None:
        """Journal that the slot is not to be kept, and that the target is never to be tried again by itself.

        A release that was healthy on this node before is spared, unless `spare` is False: what ails then is the slot or the
        machine. Its tries count.
        """
        j, target = self._journal, self._target
        spared = spare and target.infohash in j.succeeded
        quarantined, words, content = j.quarantined, "rolled back", None
        if not spared:
            quarantined = with_quarantine(j, self._quarantine(target, why, j.attempts))
            words, content = "quarantined", SlotContent(target, committed=False)
        self._note("rolled back", f"{named(target)} is {words}: {why}", target)
        self._go(
            state,
            f"{named(target)} is {words}: {why}",
            quarantined=quarantined,
            slots=self._slots_with(self._target_slot, content),
            armed_boot_id=self._facts.boot_id,
            retry_at_s=0.0,
            failures=0,
            rollback=j.rollback and spared and state is State.ROLLED_BACK,
        )

    def _give_up(self, why: str) -> None:
        """The old slot runs already: quarantine the target, and make sure that it is not tried at the next boot."""
        if self._target.infohash in self._journal.succeeded:
            self._end_badly(State.REFUSED, f"{why}, though it was healthy here before; {SPARED_WHY}")
            self._refused = self._journal.target
        else:
            self._end_badly(State.QUARANTINED, why)
        self._set_default()
        self._consider_pending()

    def _right_default(self) -> str:
        """The slot that should boot by default now: the running one, unless it is not to be kept."""
        boot = self._facts
        return boot.active if self._journal.known_good(boot.active) else boot.default

    def _default_is_set(self) -> bool:
        return self._facts.default == self._right_default() and self._facts.armed is None

    def _set_default(self) -> None:
        """Make the right slot the default with nothing armed, if it is not so."""
        if not self._default_is_set():
            self._do(do.CommitSlot(self._right_default()))
