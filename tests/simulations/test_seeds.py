"""Some order of losses, cuts, kills and bad releases would brick a node, fool it, or keep it behind for ever.

Hundreds of small random swarms, each a function of its seed. What fails is told again with `fruit sim replay SEED`, and its
seed goes into seeds.txt.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.world.scenario import random_scenario
from simulations.world.world import World

pytestmark = pytest.mark.world

SEEDS = 240
"""About a third of a second each on a desktop core. More find more; these run at every change."""
AT_ONCE = 20
ONCE_FAILED = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def _failures(seed: int) -> list[str]:
    report = World(random_scenario(seed), seed).run()
    return [f"fruit sim replay {seed}: {wrong}" for wrong in (*report.violations, *report.unsettled)]


@pytest.mark.parametrize("first", range(10_000, 10_000 + SEEDS, AT_ONCE))
def test_random_swarms_stay_safe_and_converge(first: int) -> None:
    """A swarm in the field would meet this order of events some day."""
    assert [wrong for seed in range(first, first + AT_ONCE) for wrong in _failures(seed)] == []


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_failed_once_stays_mended(seed: int) -> None:
    """A bug that was found would come back."""
    assert _failures(seed) == []
