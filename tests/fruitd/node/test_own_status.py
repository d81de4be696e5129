"""When a node tells the swarm about itself."""

from __future__ import annotations

import random

from fruitd.node.own_status import STATUS_EVERY_S, STATUS_GAP_S, STATUS_PASSING_S, StatusPlan
from fruitd.updater.journal import State


def test_a_standing_state_is_told_at_once() -> None:
    """An operator would look at a fleet that has long been updated and see the old release."""
    plan = StatusPlan(random.Random(1))
    plan.changed(State.COMMITTED, 100.0)
    assert 100.0 < plan.due_s <= 100.0 + STATUS_GAP_S


def test_states_that_are_passed_through_are_not_told() -> None:
    """Every step of every node's update would go to every node: traffic that grows with the square of the swarm."""
    plan = StatusPlan(random.Random(1))
    plan.changed(State.IDLE, 0.0)
    plan.said(1.0)
    for at_s, state in enumerate(
        (State.OFFERED, State.REUSING, State.FETCHING, State.VERIFYING, State.TRIAL), 10
    ):
        plan.changed(state, float(at_s))
        assert plan.due_s == 10.0 + STATUS_PASSING_S, (
            "a long download is told, once, counted from its beginning"
        )
    plan.changed(State.COMMITTED, 20.0)
    assert plan.due_s <= 20.0 + STATUS_GAP_S


def test_passing_through_does_not_put_off_what_is_due() -> None:
    """A node whose next update follows at once would never tell that the one before was committed."""
    plan = StatusPlan(random.Random(1))
    plan.changed(State.COMMITTED, 50.0)
    due_s = plan.due_s
    plan.changed(State.OFFERED, 50.1)
    assert plan.due_s == due_s


def test_statuses_keep_their_distance_and_come_again() -> None:
    """A node that flaps would flood the swarm; one that is silent would be taken for dead."""
    plan = StatusPlan(random.Random(1))
    plan.said(10.0)
    assert 10.0 + 0.85 * STATUS_EVERY_S <= plan.due_s <= 10.0 + 1.15 * STATUS_EVERY_S
    plan.changed(State.IDLE, 10.1)
    assert plan.due_s >= 10.0 + STATUS_GAP_S
