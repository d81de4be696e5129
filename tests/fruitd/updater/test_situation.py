"""If one of these failed, a node would misread where a restart has left it, and write or keep the wrong slot."""

from __future__ import annotations

import itertools

import pytest

from fruitd.boot_facts import BootFacts
from fruitd.updater.journal import Journal, SlotContent, State
from fruitd.updater.situation import BOOT_STATES, Situation, situation
from tests.fruitd.updater.machine_model import target

OLD, NEW = target(1), target(2)


def _journal(state: State, **changes: object) -> Journal:
    fields: dict[str, object] = {
        "state": state,
        "target": NEW,
        "target_slot": "b",
        "attempts": 1,
        "armed_boot_id": "1",
        "slots": {"a": SlotContent(OLD, committed=True), "b": SlotContent(NEW, committed=False)},
    }
    return Journal(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "boot", "expected"),
    [
        (State.ARMED, BootFacts("1", "a", "a", None), Situation.ARM_AGAIN),
        (State.ARMED, BootFacts("1", "a", "a", "b"), Situation.ARM_AGAIN),
        (State.ARMED, BootFacts("2", "b", "a", None), Situation.ON_TRIAL),
        (State.ARMED, BootFacts("2", "a", "a", None), Situation.TRIAL_LOST),
        (State.REBOOTING, BootFacts("1", "a", "a", "b"), Situation.RESTART_AGAIN),
        (State.REBOOTING, BootFacts("1", "a", "a", None), Situation.ARM_AGAIN),
        (State.REBOOTING, BootFacts("2", "b", "b", None), Situation.ON_TRIAL),
        (State.REBOOTING, BootFacts("2", "a", "a", "b"), Situation.TRIAL_LOST),
        (State.TRIAL, BootFacts("2", "b", "a", None), Situation.ON_TRIAL),
        (State.TRIAL, BootFacts("3", "a", "a", None), Situation.TRIAL_LOST),
        (State.ROLLED_BACK, BootFacts("2", "b", "a", None), Situation.LEAVE),
        (State.ROLLED_BACK, BootFacts("3", "a", "a", None), Situation.BACK),
        (State.COMMITTED, BootFacts("3", "a", "a", None), Situation.SETTLED),
        (State.IDLE, BootFacts("3", "a", "a", "b"), Situation.DISARM),
        (State.IDLE, BootFacts("3", "a", "b", None), Situation.MAKE_DEFAULT),
        (State.FETCHING, BootFacts("3", "b", "a", None), Situation.LEAVE),
    ],
)
def test_what_a_restart_means(state: State, boot: BootFacts, expected: Situation) -> None:
    """A trial that came up would be taken for one that did not, or the other way round."""
    assert situation(_journal(state), boot) is expected


def test_every_journal_and_boot_have_an_answer_and_a_trial_is_only_in_the_target_slot() -> None:
    """A node would stop at a start, or hold a trial in a slot that is not the target's."""
    for state, active, default, armed, boot_id in itertools.product(
        State, "ab", "ab", (None, "a", "b"), "12"
    ):
        for slot in (None, "a", "b"):
            found = situation(_journal(state, target_slot=slot), BootFacts(boot_id, active, default, armed))
            if found is Situation.ON_TRIAL:
                assert state in BOOT_STATES
                assert active == slot
            if found in (Situation.SETTLED, Situation.DISARM):
                assert active == default
