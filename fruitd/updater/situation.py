"""Where a node finds itself when the daemon starts: the journal's last word against the boot that is running."""

from __future__ import annotations

from enum import Enum

from fruitd.boot_facts import BootFacts
from fruitd.updater.journal import Journal, State, other_slot

BOOT_STATES = frozenset({State.ARMED, State.REBOOTING, State.TRIAL})
"""States in which the boot environment may say to try the target slot."""


class Situation(Enum):
    """Every way in which a journal and a boot can fit together."""

    SETTLED = "the running slot is the default and nothing is armed"
    DISARM = "the running slot is the default, but a try is armed that the journal does not want"
    MAKE_DEFAULT = "the running slot is known good, but another is the default: the default did not come up"
    LEAVE = "the running slot is not to be kept: only a restart into the default leads out"
    ARM_AGAIN = "the restart has not happened; whether the slot was armed is not known"
    RESTART_AGAIN = "the slot is armed; the restart has not happened"
    ON_TRIAL = "the target slot is running"
    TRIAL_LOST = (
        "the machine was started again, and the old slot runs: the trial did not come up, or was cut off"
    )
    BACK = "the old slot runs again after a trial that failed"


def situation(journal: Journal, boot: BootFacts) -> Situation:
    """Total: every journal with every boot has an answer."""
    if journal.state in BOOT_STATES and journal.target is not None and journal.target_slot is not None:
        return _of_boot_state(journal, boot)
    if journal.state is State.ROLLED_BACK and journal.target_slot is not None:
        if boot.active == other_slot(journal.target_slot):
            return Situation.BACK
        nothing_known = journal.target is None and boot.active == boot.default
        return Situation.SETTLED if nothing_known else Situation.LEAVE
    if boot.active != boot.default:
        return Situation.MAKE_DEFAULT if journal.known_good(boot.active) else Situation.LEAVE
    return Situation.SETTLED if boot.armed is None else Situation.DISARM


def _of_boot_state(journal: Journal, boot: BootFacts) -> Situation:
    if boot.active == journal.target_slot:
        return Situation.ON_TRIAL
    if boot.active != boot.default and not journal.known_good(boot.active):
        return Situation.LEAVE
    if journal.state is State.TRIAL or boot.boot_id != journal.armed_boot_id:
        return Situation.TRIAL_LOST
    if journal.state is State.REBOOTING and boot.armed == journal.target_slot:
        return Situation.RESTART_AGAIN
    return Situation.ARM_AGAIN
