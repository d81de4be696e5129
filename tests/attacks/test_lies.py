"""Attacks on real cores in the simulated world, a row each; after each row all nodes take the next good release."""

from __future__ import annotations

import pytest

from tests.attacks import stories
from tests.attacks.counting import Score
from tests.attacks.stage import Stage
from tests.attacks.table import FAMILIES, ROWS, TUF, Attack

pytestmark = pytest.mark.world

ROWS_MIN = 150
"""The promise is 120, with those against real daemons."""
assert stories.__doc__, "importing it fills the table"


@pytest.mark.parametrize("attack", ROWS, ids=str)
def test_nobody_falls_for_it(attack: Attack, score: Score) -> None:
    """One lie would install something, stop something, or keep a node from the next good release."""
    stage = Stage.set()
    attack.play(stage)
    stage.good()
    score.stood(attack.family)


def test_every_named_attack_has_rows() -> None:
    """An attack that the world has a name for would be tried by nobody."""
    counted = {family: sum(row.family == family for row in ROWS) for family in FAMILIES}
    assert min(counted[family] for family in TUF) >= 5, counted
    assert min(counted.values()) >= 1, counted
    assert len(ROWS) >= ROWS_MIN
    assert all(row.has for row in ROWS)
