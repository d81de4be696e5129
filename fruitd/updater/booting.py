"""Handlers for what happens from arming to commit, and for finding out at a start where the node stands."""

from __future__ import annotations

from attrs import evolve

from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import SlotContent, State, other_slot
from fruitd.updater.life import UNTRIED, Life
from fruitd.updater.offers import named, with_quarantine, with_success
from fruitd.updater.situation import Situation, situation
from fruitd.updater.table import RESTING
from fruitd.updater.trial_clock import TrialClock


class BootHandlers(Life):
    """From a slot that was read back whole to one that is kept, or left again."""

    # -- the daemon has started ----------------------------------------------------------------------------------

    def _on_started(self, event: on.Started) -> None:
        boot = self._boot = event.boot
        self._seeding = (None, "not told yet")
        self._clock, self._stuck = None, False
        self._again_at_s, self._again_tries = None, 0
        found = situation(self._journal, boot)
        if boot.active == boot.default and self._journal.slots[boot.active] is None:
            self._go(factory_slot=boot.active)
        self._reseed()
        match found:
            case Situation.SETTLED | Situation.DISARM:
                self._set_default()
                self._settle()
            case Situation.MAKE_DEFAULT:
                dead = boot.default
                self._note(
                    "default", f"slot {dead}, the default, did not come up; slot {boot.active} becomes it"
                )
                self._go(slots=self._slots_with(dead, None))
                self._set_default()
                self._settle()
            case Situation.LEAVE:
                self._leave_again()
            case Situation.ARM_AGAIN | Situation.RESTART_AGAIN if self._too_many_starts():
                self._wait(f"the daemon was started {self._journal.starts} times before the restart came")
                self._set_default()
            case Situation.ARM_AGAIN:
                self._go(State.ARMED, f"trial boot of {named(self._target)} is being armed")
                self._do(do.ArmSlot(self._target_slot, self._target.infohash))
            case Situation.RESTART_AGAIN:
                self._restart(f"trial boot of {named(self._target)}")
            case Situation.ON_TRIAL:
                self._enter_trial()
            case Situation.TRIAL_LOST:
                self._trial_lost()
            case Situation.BACK:
                self._back()

    def _settle(self) -> None:
        """Nothing was going on in the boot environment: go on with the work, which is begun anew from the torrent."""
        j, active = self._journal, self._facts.active
        if j.state is State.ROLLED_BACK:
            self._go(State.IDLE, f"runs slot {active}", target=None, target_slot=None)
        elif j.state not in RESTING:
            if j.state is not State.WAITING and j.target is not None:
                self._do(
                    do.StopWork(j.target.infohash)
                )  # nothing runs after a start, but after a save that failed it may
            self._go(target_slot=other_slot(active))
            if j.state is not State.WAITING and self._too_many_starts():
                self._wait(f"the daemon was started {self._journal.starts} times during the work")
                return
            waiting = (
                j.state is State.WAITING and 0 < j.retry_at_s - self._now_s <= self._settings.retry_max_s
            )
            if not waiting:
                self._proceed()
            return
        self._consider_pending()

    def _too_many_starts(self) -> bool:
        """Count this start: a daemon that ends whenever it comes to this must not do so without a pause."""
        self._go(starts=self._journal.starts + 1)
        return self._journal.starts > self._settings.starts_max

    def _trial_lost(self) -> None:
        j = self._journal
        # Who was seen to be well, and by nobody to be unwell, was cut off; a release that does not come up, or is unwell, is not.
        cut_off = j.state is State.TRIAL and j.seen_well is True
        how = "was cut off while all was well" if cut_off else "did not come up"
        why = f"trial boot {j.attempts} of {named(self._target)} {how}"
        self._note("trial lost", why, self._target)
        self._go(cut_off=j.cut_off + cut_off, seen_well=None, trial_passed=False)
        if (spent := self._spent_why()) is not None:
            self._give_up(spent)
            return
        # What the slot holds is to be read back anew: it was running, perhaps writing, when the power went.
        self._go(State.WAITING, why, retry_at_s=0.0, slots=self._slots_with(self._target_slot, None))
        self._set_default()
        self._proceed()

    def _back(self) -> None:
        """In the old slot again."""
        j = self._journal
        self._set_default()
        if j.target is None:
            self._go(State.IDLE, f"runs slot {self._facts.active} again")
        elif (quarantine := j.quarantine_of(j.target.infohash)) is not None:
            self._go(State.QUARANTINED, f"{named(j.target)} is quarantined: {quarantine.why}", failures=0)
        elif (spent := self._spent_why()) is not None:
            self._give_up(spent)
            return
        else:
            slots = self._slots_with(self._target_slot, None)  # it ran: read it back before it may run again
            self._go(State.WAITING, f"runs slot {self._facts.active} again", failures=0, slots=slots)
            self._proceed()
            return
        self._consider_pending()

    # -- leaving a slot that is not to be kept -------------------------------------------------------------------

    def _leave_again(self) -> None:
        """Started in a slot that is not to be kept. Restarts are counted: where they lead nowhere, the node stays."""
        j, boot = self._journal, self._facts
        why = f"slot {boot.active} is not to be kept; slot {other_slot(boot.active)} is the way back"
        if j.state is State.ROLLED_BACK:
            failures = j.failures
            if boot.boot_id != j.armed_boot_id:
                failures += 1
                self._go(failures=failures, armed_boot_id=boot.boot_id)
                self._again(self._pause_s(failures))
            if failures > self._settings.leave_restarts_max:
                self._stay(f"slot {other_slot(boot.active)} does not come up")
            elif self._again_at_s is None:
                self._leave()
            return
        # A boot of this slot that no trial asked for; if it holds the target, it counts as one of its trial boots.
        tried = j.holds_target() and j.target_slot == boot.active
        target = None if j.state in RESTING else j.target
        self._note("leaving", why)
        self._go(
            State.ROLLED_BACK,
            why,
            target_slot=boot.active,
            armed_boot_id=boot.boot_id,
            failures=0,
            **(self._retarget(target) | ({"attempts": j.attempts + 1} if tried else {})),
        )
        self._leave()

    def _leave(self) -> None:
        """Restart into the other slot; if the boot environment would bring us back here, it is corrected first."""
        boot = self._facts
        other = other_slot(boot.active)
        if boot.default == other and boot.armed is None:
            self._restart(f"back to slot {other}")
        elif boot.default == other or self._journal.known_good(other):
            self._do(do.CommitSlot(other))
        else:
            self._stay(f"slot {other} is not known to be good")

    def _stay(self, why: str) -> None:
        """There is no way out of this slot, which is not to be kept. Making it the default would be a commit without a trial,
        and writing the other slot would be writing the default: an operator must look."""
        words = f"{why}; staying in slot {self._facts.active}, which is not to be kept: nothing is installed"
        self._stuck = True
        self._again_at_s = None
        self._note_once("stuck", words, self._journal.target)
        self._go(why=words)

    # -- arming and restarting -----------------------------------------------------------------------------------

    def _on_slot_armed(self, event: on.SlotArmed) -> None:
        if event.infohash != self._target.infohash:
            self._bug(f"{event.infohash} was armed, but the target is {self._target.infohash}")
            return
        self._boot = evolve(self._facts, armed=self._target_slot)
        self._again_at_s, self._again_tries = None, 0
        why = f"restarting for trial boot {self._journal.attempts} of {named(self._target)}"
        self._note("restarting", why, self._target)
        self._go(State.REBOOTING, why)
        self._restart(why)

    def _on_boot_step_failed(self, event: on.StepFailed) -> None:
        """Arming, committing or restarting failed: what is to be done is known from the state, only later."""
        j = self._journal
        nothing_asked = (
            (j.state is State.TRIAL and not j.trial_passed)
            or (j.state is State.ROLLED_BACK and self._stuck)
            or (j.state in (*RESTING, State.WAITING) and self._default_is_set())
        )
        if not nothing_asked:
            self._note_once("boot environment", event.why, j.target)
            self._again()

    def _on_default_set(self, event: on.SlotCommitted) -> None:
        self._boot = evolve(self._facts, default=event.slot, armed=None)
        self._again_at_s, self._again_tries = None, 0
        if self._journal.state is State.ROLLED_BACK:
            self._leave()
        elif self._journal.state is State.WAITING:
            self._proceed_if_due()

    def _on_wakeup(self, _event: on.Wakeup) -> None:
        if not self._again_due():
            return
        match self._journal.state:
            case State.ARMED:
                self._do(do.ArmSlot(self._target_slot, self._target.infohash))
            case State.REBOOTING:
                self._restart(f"trial boot of {named(self._target)}")
            case State.ROLLED_BACK:
                self._leave()
            case _:
                self._set_default()

    # -- the trial -----------------------------------------------------------------------------------------------

    def _enter_trial(self) -> None:
        j, s = self._journal, self._settings
        if j.trial_passed:
            self._go(State.TRIAL)
            self._do(do.CommitSlot(self._target_slot))
            return
        elapsed_s = 0.0
        if j.state is State.TRIAL:
            latest_s = max(s.trial_deadline_s - 2 * s.health_sustain_s, 0.0)
            elapsed_s = min(max(self._now_s - j.since_s, 0.0), latest_s)
        else:
            self._note(
                "trial",
                f"slot {self._target_slot} with {named(self._target)} has started on trial",
                self._target,
            )
        self._clock = TrialClock(s, self._now_s, elapsed_s)
        self._go(
            State.TRIAL,
            f"{named(self._target)} runs on trial in slot {self._target_slot}",
            starts=j.starts + 1 if j.state is State.TRIAL else 1,
        )
        if self._journal.starts > s.starts_max:
            self._fail_trial(f"the daemon was started {self._journal.starts} times within the trial")
            return
        self._do(do.WatchHealth(True))

    def _on_health(self, event: on.Health) -> None:
        if self._clock is None or self._journal.trial_passed:
            return
        self._clock.sample(event.ok, event.why, self._now_s, excused=event.excused)
        if event.ok is not None and self._journal.seen_well is not False:
            self._go(seen_well=event.ok)
        if event.ok and self._clock.passed:
            why = (
                f"{named(self._target)} was healthy throughout; slot {self._target_slot} becomes the default"
            )
            self._go(why=why, trial_passed=True)
            self._do(do.CommitSlot(self._target_slot))
        else:
            self._judge_trial()

    def _on_wakeup_trial(self, _event: on.Wakeup) -> None:
        if self._journal.trial_passed:
            if self._again_due():
                self._do(do.CommitSlot(self._target_slot))
        elif self._clock is not None:
            self._clock.look(self._now_s)
            self._judge_trial()

    def _judge_trial(self) -> None:
        if self._clock is not None and (why := self._clock.failed_why) is not None:
            self._fail_trial(why)
        elif self._clock is not None and (why := self._clock.undecided_why) is not None:
            self._leave_undecided(why)

    def _leave_undecided(self, why: str) -> None:
        """Nothing says that the release is bad, and nothing that it may be kept: back for now. The try counts."""
        words = f"{named(self._target)} could not be judged: {why}"
        self._note("rolled back", words, self._target)
        slots = self._slots_with(self._target_slot, None)
        self._go(State.ROLLED_BACK, words, slots=slots, armed_boot_id=self._facts.boot_id, failures=0)
        self._end_trial()
        self._leave()

    def _end_trial(self) -> None:
        self._do(do.WatchHealth(False))
        self._clock = None
        self._again_at_s, self._again_tries = None, 0

    def _fail_trial(self, why: str, *, spare: bool = True) -> None:
        self._end_badly(State.ROLLED_BACK, why, spare=spare)
        self._end_trial()
        self._leave()

    def _on_trial_committed(self, event: on.SlotCommitted) -> None:
        j, target = self._journal, self._target
        if event.slot != j.target_slot or not j.trial_passed:
            self._bug(
                f"slot {event.slot} was committed during a trial of slot {j.target_slot} that had not passed"
            )
            return
        self._boot = evolve(self._facts, default=event.slot, armed=None)
        self._note("committed", f"slot {event.slot} with {named(target)} is the default now", target)
        self._go(
            State.COMMITTED,
            f"runs {named(target)}",
            slots=self._slots_with(event.slot, SlotContent(target, committed=True)),
            succeeded=with_success(j, target.infohash),
            failures=0,
            rollback=False,
        )
        self._end_trial()
        self._consider_pending()

    # -- rollback ------------------------------------------------------------------------------------------------

    def _on_rollback(self, event: on.Rollback) -> None:
        j, boot = self._journal, self._facts
        other = other_slot(boot.active)
        content, running = j.slots[other], j.running(boot.active)
        if content is None or not content.committed:
            self._note(
                "rollback refused", f"slot {other} holds no release that was ever committed on this node"
            )
            return
        if not self._default_is_set():
            self._note("rollback refused", "the boot environment is being changed; ask again in a moment")
            return
        if j.target is not None and j.state not in RESTING:
            self._do(do.StopWork(j.target.infohash))
        quarantined = tuple(q for q in j.quarantined if q.infohash != content.target.infohash)
        if running is not None:
            entry = self._quarantine(running.target, f"rolled back by the operator: {event.why}", 0)
            quarantined = with_quarantine(evolve(j, quarantined=quarantined), entry)
        self._note(
            "rollback", f"back to {named(content.target)} in slot {other}: {event.why}", content.target
        )
        self._go(
            State.WAITING,
            f"going back to {named(content.target)}",
            target=content.target,
            target_slot=other,
            **UNTRIED,
            retry_at_s=0.0,
            failures=0,
            quarantined=quarantined,
            rollback=True,
            pending=None,
        )
        self._proceed()

    def _on_rollback_too_late(self, _event: on.Rollback) -> None:
        self._note("rollback refused", "a restart is under way; ask again when the node is up")

    def _on_rollback_trial(self, event: on.Rollback) -> None:
        if self._journal.trial_passed:
            self._on_rollback_too_late(event)
        else:
            self._fail_trial(f"rolled back by the operator: {event.why}", spare=False)

    # -- quarantine ----------------------------------------------------------------------------------------------

    def _on_lift(self, event: on.Lift) -> None:
        j, target = self._journal, self._journal.target
        lifted = [q for q in j.quarantined if q.release == event.release]
        tried = target is not None and target.release == event.release and self._spent_why() is not None
        if not lifted and not tried:
            self._note("lift refused", f"release {event.release} is not quarantined on this node")
            return
        self._note("quarantine lifted", f"release {event.release}: {event.why}")
        again = target is not None and target.release == event.release
        kept = tuple(q for q in j.quarantined if q.release != event.release)
        self._refused = None
        self._go(quarantined=kept, **(UNTRIED if again else {}))
        if again and target is not None and j.state in (State.QUARANTINED, State.REFUSED):
            # Whatever its slot holds has run since it was read back.
            self._go(slots=self._slots_with(other_slot(self._facts.active), None))
            self._consider(target)

    def _on_lift_too_late(self, _event: on.Lift) -> None:
        self._note("lift refused", "a restart or a trial is under way; ask again when it is over")
