"""The life of an update as one total table: what each event means in each state (design 6).

A row names an event, the states it speaks of, the handler of `Updater` that answers, and the states that may follow (the
state may always stay as it is). Every pair of state and event stands in exactly one row; `TABLE` is refused at import
otherwise. `IGNORED`: may happen, changes nothing. `ILLEGAL`: can only come from a bug; reported, and changes nothing.
"""

from __future__ import annotations

from typing import get_args

from attrs import frozen

from fruitd.updater import events as on
from fruitd.updater.journal import State

S = State
ALL = tuple(State)
RESTING = (S.IDLE, S.COMMITTED, S.REFUSED, S.QUARANTINED)
"""Nothing is under way."""
WORKING = (S.OFFERED, S.REUSING, S.FETCHING, S.VERIFYING)
"""Something is under way that can be given up at any moment."""
BOOTING = (S.ARMED, S.REBOOTING, S.TRIAL, S.ROLLED_BACK)
"""From the moment the boot environment may be touched until the machine runs a slot that is its default."""
BEGUN = (S.OFFERED, S.WAITING, S.REFUSED, S.QUARANTINED, S.IDLE)
"""Where the judgement of an offer may lead; so also the end of a trial, as an offer that came meanwhile is judged then."""

PROCEEDED = (S.OFFERED, S.ARMED, S.QUARANTINED, S.REFUSED)
"""Where going on from a pause leads; a release that was tried often enough is tried no more."""


def _but(states: tuple[State, ...], *without: State) -> tuple[State, ...]:
    return tuple(s for s in states if s not in without)


@frozen
class Row:
    """One event in some states: `handler` is a method of `Updater`, without its leading `_on_`."""

    event: type[on.Event]
    states: tuple[State, ...]
    handler: str
    follows: tuple[State, ...] = ()


IGNORED = "ignored"
ILLEGAL = "illegal"

ROWS = (
    # The daemon has started: situation.py tells what the journal and the boot say together.
    Row(on.Started, RESTING, "started", (*BEGUN, S.ROLLED_BACK)),
    Row(on.Started, WORKING, "started", (S.OFFERED, S.WAITING, S.IDLE, S.ROLLED_BACK)),
    Row(on.Started, (S.WAITING,), "started", (*PROCEEDED, S.IDLE, S.ROLLED_BACK)),
    Row(on.Started, (S.ARMED, S.REBOOTING), "started", (S.ARMED, S.TRIAL, S.ROLLED_BACK, *BEGUN)),
    Row(on.Started, (S.TRIAL,), "started", (S.ROLLED_BACK, *BEGUN)),
    Row(on.Started, (S.ROLLED_BACK,), "started", BEGUN),
    # What the swarm says.
    Row(on.Offered, RESTING, "offered", BEGUN),
    Row(on.Offered, WORKING, "offered_meanwhile", (S.OFFERED, S.WAITING, S.IDLE)),
    Row(on.Offered, (S.WAITING,), "offered_meanwhile", (S.OFFERED, S.IDLE, S.ARMED)),
    Row(on.Offered, BOOTING, "offered_too_late"),
    Row(on.Disputed, (*RESTING, *BOOTING, S.WAITING), "disputed"),
    Row(on.Disputed, WORKING, "disputed_at_work", (S.WAITING,)),
    Row(on.Settled, (S.WAITING,), "settled", PROCEEDED),
    Row(on.Settled, _but(ALL, S.WAITING), "settled"),
    # What the trust root says.
    Row(on.Withdrawn, (*WORKING, S.WAITING), "withdrawn", (S.IDLE,)),
    Row(on.Withdrawn, BOOTING, "withdrawn_too_late"),
    Row(on.Withdrawn, RESTING, IGNORED),
    Row(on.ReleaseKeys, ALL, "release_keys"),
    # The torrent file++.
    Row(on.TorrentReady, (S.OFFERED,), "torrent_ready", (S.REUSING,)),
    Row(on.TorrentReady, _but(RESTING + WORKING + (S.WAITING,), S.OFFERED), IGNORED),
    Row(on.TorrentReady, BOOTING, ILLEGAL),
    Row(on.TorrentRefused, (S.OFFERED,), "torrent_refused", (S.REFUSED,)),
    Row(on.TorrentRefused, _but(RESTING + WORKING + (S.WAITING,), S.OFFERED), IGNORED),
    Row(on.TorrentRefused, BOOTING, ILLEGAL),
    # The slot is filled and read back.
    Row(on.SlotPrepared, (S.REUSING,), "slot_prepared", (S.FETCHING,)),
    Row(on.SlotPrepared, _but(RESTING + WORKING + (S.WAITING,), S.REUSING), IGNORED),
    Row(on.SlotPrepared, BOOTING, ILLEGAL),
    Row(on.WayLost, (S.FETCHING,), "way_lost", (S.REUSING,)),
    Row(on.WayLost, _but(RESTING + WORKING + (S.WAITING,), S.FETCHING), IGNORED),
    Row(on.WayLost, BOOTING, ILLEGAL),
    Row(on.ImageArrived, (S.FETCHING,), "image_arrived", (S.VERIFYING,)),
    Row(on.ImageArrived, _but(RESTING + WORKING + (S.WAITING,), S.FETCHING), IGNORED),
    Row(on.ImageArrived, BOOTING, ILLEGAL),
    Row(
        on.ReadBackPassed, (S.VERIFYING,), "read_back_passed", (S.ARMED, S.WAITING, S.QUARANTINED, S.REFUSED)
    ),
    Row(on.ReadBackPassed, _but(RESTING + WORKING + (S.WAITING,), S.VERIFYING), IGNORED),
    Row(on.ReadBackPassed, BOOTING, ILLEGAL),
    Row(on.ReadBackFailed, (S.VERIFYING,), "read_back_failed", (S.REUSING, S.WAITING)),
    Row(on.ReadBackFailed, _but(RESTING + WORKING + (S.WAITING,), S.VERIFYING), IGNORED),
    Row(on.ReadBackFailed, BOOTING, ILLEGAL),
    # A step could not be done.
    Row(on.StepFailed, WORKING, "step_failed", (S.WAITING, S.REFUSED)),
    Row(on.StepFailed, (*RESTING, *BOOTING, S.WAITING), "boot_step_failed"),
    # The boot environment.
    Row(on.SlotArmed, (S.ARMED,), "slot_armed", (S.REBOOTING,)),
    Row(on.SlotArmed, (S.REBOOTING,), IGNORED),  # asked for twice
    Row(on.SlotArmed, _but(ALL, S.ARMED, S.REBOOTING), ILLEGAL),
    Row(on.SlotCommitted, (S.TRIAL,), "trial_committed", (S.COMMITTED, *BEGUN)),
    Row(on.SlotCommitted, (S.WAITING,), "default_set", PROCEEDED),
    Row(on.SlotCommitted, (*RESTING, *WORKING, S.ROLLED_BACK), "default_set"),
    Row(on.SlotCommitted, (S.ARMED, S.REBOOTING), IGNORED),  # asked for twice, before the slot was armed
    # The trial.
    Row(on.Health, (S.TRIAL,), "health", (S.ROLLED_BACK,)),
    Row(on.Health, _but(ALL, S.TRIAL), IGNORED),
    # The operator.
    Row(on.Hold, (S.OFFERED,), "hold_before_writing", (S.WAITING,)),
    Row(on.Hold, _but(ALL, S.OFFERED), "hold"),
    Row(on.Resume, (S.WAITING,), "resume", PROCEEDED),
    Row(on.Resume, _but(ALL, S.WAITING), "resume"),
    # What is not under the operator's hand: power.
    Row(on.HeldBack, (S.OFFERED,), "held_back_before_writing", (S.WAITING,)),
    Row(on.HeldBack, _but(ALL, S.OFFERED), "held_back"),
    Row(on.FreeAgain, (S.WAITING,), "free_again", PROCEEDED),
    Row(on.FreeAgain, _but(ALL, S.WAITING), "free_again"),
    Row(on.Rollback, (*RESTING, S.OFFERED, S.WAITING), "rollback", (S.ARMED,)),
    Row(
        on.Rollback, (S.REUSING, S.FETCHING, S.VERIFYING), "rollback"
    ),  # the other slot is being written: refused
    Row(on.Rollback, (S.ARMED, S.REBOOTING, S.ROLLED_BACK), "rollback_too_late"),
    Row(on.Rollback, (S.TRIAL,), "rollback_trial", (S.ROLLED_BACK,)),
    Row(on.Lift, RESTING, "lift", BEGUN),
    Row(on.Lift, (*WORKING, S.WAITING), "lift"),
    Row(on.Lift, BOOTING, "lift_too_late"),
    # Time.
    Row(on.Wakeup, (S.WAITING,), "wakeup_waiting", PROCEEDED),
    Row(on.Wakeup, (S.TRIAL,), "wakeup_trial", (S.ROLLED_BACK,)),
    Row(on.Wakeup, (*RESTING, S.ARMED, S.REBOOTING, S.ROLLED_BACK), "wakeup"),
    Row(on.Wakeup, WORKING, IGNORED),
)


def _table() -> dict[tuple[State, type[on.Event]], Row]:
    table: dict[tuple[State, type[on.Event]], Row] = {}
    for row in ROWS:
        for state in row.states:
            if (state, row.event) in table:
                raise AssertionError(f"two rows for {state} and {row.event.__name__}")
            table[state, row.event] = row
    missing = [(s, e) for s in ALL for e in get_args(on.Event) if (s, e) not in table]
    if missing:
        raise AssertionError(f"no row for {missing}")
    return table


TABLE = _table()
