"""Faults that come at another moment than the file says make two runs two experiments."""

from __future__ import annotations

import pytest

from fruitd.errors import UsageError
from simulations.testbed.faults import Fault, FaultScript, Progress, Target

KILL = Fault("kill", Target("s1", gateway=True), when=Progress("s1", 0.5))
CUT = Fault("cut", Target("s2"), after_s=3.0)
HEAL = Fault("heal", Target("s2"), after_s=4.0, when=Progress("s1", 0.5))


def test_each_fault_comes_once_and_at_its_time() -> None:
    """A gateway would be killed again and again, or never."""
    script = FaultScript([KILL, CUT, HEAL])
    assert script.due(2.9, {"s1": 0.49}) == []
    assert script.due(3.0, {"s1": 0.49}) == [CUT]
    assert script.due(10.0, {"s1": 0.5}) == [KILL]
    assert script.open
    assert script.due(13.9, {"s1": 0.2}) == []
    assert script.due(14.0, {"s1": 0.2}) == [HEAL]
    assert not script.open
    assert script.due(99.0, {"s1": 1.0}) == []


def test_a_site_that_nobody_measured_triggers_nothing() -> None:
    """A fault would come before anything had begun."""
    assert FaultScript([KILL]).due(0.0, {}) == []


@pytest.mark.parametrize("text", ["s1", "s1/3", "s1/gateway"])
def test_targets_are_read_and_said_alike(text: str) -> None:
    """A report would name another node than the file."""
    assert str(Target.parse(text)) == text


@pytest.mark.parametrize("text", ["", "s1/", "s1/0", "s1/-1", "s1/x", "s1/\u0663", 3, None])
def test_other_targets_are_refused(text: object) -> None:
    """A fault would hit somebody else."""
    with pytest.raises(UsageError):
        Target.parse(text)
