"""Handlers for what happens while a release is offered, fetched and read back. No handler here touches the boot environment."""

from __future__ import annotations

from fruitd.amounts import size
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.journal import SlotContent, State
from fruitd.updater.life import Life
from fruitd.updater.offers import Answer, judge, named, still_signs


class WorkHandlers(Life):
    """From an offer to a slot that was read back whole."""

    def _ours(self, infohash: str) -> bool:
        return self._journal.target is not None and self._journal.target.infohash == infohash

    # -- offers --------------------------------------------------------------------------------------------------

    def _on_offered(self, event: on.Offered) -> None:
        if self._journal.state is State.REFUSED and event.target == self._refused:
            self._go(disputed_why=None)
            return
        self._consider(event.target)

    def _on_offered_meanwhile(self, event: on.Offered) -> None:
        j, target = self._journal, event.target
        if target == j.target:
            if j.disputed_why is not None:
                self._go(disputed_why=None)
                if j.state is State.WAITING:
                    self._proceed()
            return
        verdict = judge(target, j, self._facts.active, self._signers)
        if verdict.answer is Answer.ACCEPTED:
            self._do(do.StopWork(self._target.infohash))
            self._begin(target)
        elif verdict.answer is Answer.UP_TO_DATE:
            why = f"{named(self._target)} was withdrawn; {verdict.why}"
            self._do(do.StopWork(self._target.infohash))
            self._note("withdrawn", why, self._target)
            self._up_to_date(target, why)
        else:
            self._note_once("refused", verdict.why, target)

    def _on_offered_too_late(self, event: on.Offered) -> None:
        j, target = self._journal, event.target
        newest = j.pending or j.target
        if newest is not None and not still_signs(newest.signer, self._signers):
            newest = None  # however high its number is
        if target in (j.target, j.pending) or (newest is not None and target.release < newest.release):
            return
        self._note("offered", f"{named(target)} is offered and waits for the end of the trial", target)
        self._go(pending=target)

    def _on_disputed(self, event: on.Disputed) -> None:
        j = self._journal
        if j.disputed_why != event.why:
            self._note("disputed", event.why)
        if j.state is State.WAITING and not j.rollback:
            self._go(State.WAITING, f"disputed: {event.why}", disputed_why=event.why)
        else:
            self._go(disputed_why=event.why)

    def _on_disputed_at_work(self, event: on.Disputed) -> None:
        self._note("disputed", event.why, self._target)
        self._do(do.StopWork(self._target.infohash))
        self._go(State.WAITING, f"disputed: {event.why}", disputed_why=event.why, retry_at_s=0.0)

    def _on_settled(self, _event: on.Settled) -> None:
        if self._journal.disputed_why is None:
            return
        self._note("settled", "the contradiction is over")
        self._go(disputed_why=None)
        if self._journal.state is State.WAITING:
            self._proceed()

    def _on_withdrawn(self, event: on.Withdrawn) -> None:
        if self._journal.rollback:
            return  # what the operator asked for needs no manifest
        self._note("withdrawn", event.why, self._target)
        self._do(do.StopWork(self._target.infohash))
        changes = self._retarget(None) | {"target_slot": self._facts.active, "pending": None}
        self._go(State.IDLE, event.why, retry_at_s=0.0, failures=0, **changes)

    def _on_withdrawn_too_late(self, event: on.Withdrawn) -> None:
        """The trial goes on: it was signed when it was begun, and a restart in the middle would prove nothing."""
        self._note("withdrawn", f"{event.why}; the trial that is under way goes on", self._journal.target)
        self._go(pending=None)

    def _on_release_keys(self, event: on.ReleaseKeys) -> None:
        if event.signers == self._signers:
            return
        self._signers = event.signers
        self._refused = None
        self._judge_by_keys()

    def _judge_by_keys(self) -> None:
        """Nothing that a key left behind which signs no more stands in the way of what others sign."""
        j = self._journal
        if j.pending is not None and not still_signs(j.pending.signer, self._signers):
            self._go(pending=None)  # set aside under a key that was taken away since: its turn must not come
            j = self._journal
        if still_signs(j.highest_signer, self._signers):
            return
        kept = [c.target for c in j.slots.values() if c is not None and c.committed]
        kept = [target for target in kept if still_signs(target.signer, self._signers)]
        highest = max(kept, key=lambda target: target.release, default=None)
        floor, signer = (highest.release, highest.signer) if highest is not None else (0, "")
        self._note(
            "floor",
            f"the key that signed release {j.highest_release} signs no more: from {floor} on all are taken",
        )
        self._go(highest_release=floor, highest_signer=signer)

    # -- work ----------------------------------------------------------------------------------------------------

    def _on_torrent_ready(self, event: on.TorrentReady) -> None:
        if self._ours(event.infohash):
            self._reuse(f"putting blocks of {named(self._target)} in place that this node already has")

    def _reuse(self, why: str) -> None:
        """From here on the slot holds nothing anyone may rely on, and the journal says so before the first byte."""
        j, slot = self._journal, self._target_slot
        if slot == self._facts.active:
            self._bug(f"slot {slot} is running and was about to be written")
            return
        factory = None if j.factory_slot == slot else j.factory_slot
        self._go(State.REUSING, why, slots=self._slots_with(slot, None), factory_slot=factory)
        self._do(do.PrepareSlot(self._target, slot))

    def _on_torrent_refused(self, event: on.TorrentRefused) -> None:
        if self._ours(event.infohash):
            self._refuse(self._target, f"the torrent of {named(self._target)} is refused: {event.why}")

    def _on_slot_prepared(self, event: on.SlotPrepared) -> None:
        if self._ours(event.infohash):
            reused, missing = event.reused_bytes, event.missing_bytes
            words = f"{size(reused)} reused, {event.way or f'{size(missing)} to fetch'}"
            self._note("reused", words, self._target)
            self._go(State.FETCHING, f"fetching {named(self._target)} into slot {self._target_slot}: {words}")
            self._do(do.FetchImage(self._target, self._target_slot))

    def _on_way_lost(self, event: on.WayLost) -> None:
        if self._ours(event.infohash):
            self._note("another way", event.why, self._target)
            self._do(do.StopWork(self._target.infohash))
            self._reuse(f"{event.why}; going on with what is in slot {self._target_slot}")

    def _on_image_arrived(self, event: on.ImageArrived) -> None:
        if self._ours(event.infohash):
            why = f"reading slot {self._target_slot} back against the signed hashes of {named(self._target)}"
            self._go(State.VERIFYING, why)
            self._do(do.ReadBack(self._target, self._target_slot))

    def _on_read_back_passed(self, event: on.ReadBackPassed) -> None:
        if not self._ours(event.infohash):
            return
        target, slot = self._target, self._target_slot
        self._note("verified", f"slot {slot} holds {named(target)}, read back whole", target)
        content = SlotContent(target, committed=False)
        self._go(State.WAITING, "ready to boot", slots=self._slots_with(slot, content), failures=0)
        self._proceed()

    def _on_read_back_failed(self, event: on.ReadBackFailed) -> None:
        if not self._ours(event.infohash):
            return
        self._read_backs_failed += 1
        why = f"slot {self._target_slot} reads back wrong: {event.bad_blocks} bad blocks"
        if self._read_backs_failed < self._settings.read_back_tries:
            self._note("read back failed", why, self._target)
            self._reuse(f"{why}; repairing them")
        else:
            self._read_backs_failed = 0
            self._wait(why)

    def _on_step_failed(self, event: on.StepFailed) -> None:
        if not self._ours(event.infohash):
            return
        if event.final:
            self._do(do.StopWork(self._target.infohash))
            self._refuse(self._target, event.why)
        else:
            self._wait(event.why)

    def _on_wakeup_waiting(self, _event: on.Wakeup) -> None:
        if self._again_due():
            self._set_default()
        self._proceed_if_due()

    # -- the operator --------------------------------------------------------------------------------------------

    def _on_hold(self, event: on.Hold) -> None:
        j = self._journal
        self._note("hold", event.why)
        if j.state is State.WAITING and not j.rollback:
            self._go(State.WAITING, f"held by the operator: {event.why}", held_why=event.why)
        else:
            self._go(held_why=event.why)

    def _on_hold_before_writing(self, event: on.Hold) -> None:
        self._note("hold", event.why)
        self._do(do.StopWork(self._target.infohash))
        self._go(State.WAITING, f"held by the operator: {event.why}", held_why=event.why)

    def _on_held_back(self, event: on.HeldBack) -> None:
        self._held_back = event.why
        j = self._journal
        if j.state is State.WAITING and self._wait_why() == event.why and j.why != event.why:
            self._note_once("held back", event.why, j.target)
            self._go(State.WAITING, event.why)

    def _on_held_back_before_writing(self, event: on.HeldBack) -> None:
        self._held_back = event.why
        if (why := self._wait_why()) is None:
            return  # what the operator asked for is not held back
        self._note_once("held back", event.why, self._target)
        self._do(do.StopWork(self._target.infohash))
        self._go(State.WAITING, why)

    def _on_free_again(self, _event: on.FreeAgain) -> None:
        self._held_back = None
        if self._journal.state is State.WAITING:
            self._proceed_if_due()

    def _on_resume(self, _event: on.Resume) -> None:
        if self._journal.held_why is not None:
            self._note("resume", "the operator's hold has ended")
            self._go(held_why=None)
        if self._journal.state is State.WAITING:
            self._proceed()
