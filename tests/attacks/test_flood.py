"""A flood of nonsense at a real daemon: what `make bench ONLY=flood` measures, here in its shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.flood import MEMORY_MIB_MAX, MIB, measure
from benchmarks.nodes import workshop
from tests.attacks.counting import Score

pytestmark = pytest.mark.swarm


def test_a_flooded_node_still_takes_a_release(score: Score, tmp_path: Path) -> None:
    """Anybody who can send datagrams could keep a node from ever hearing of a release, or fill its memory."""
    with workshop() as folder:
        flooded = measure(folder)
    # The rate is what this machine could send beside its other work; a bench that means it checks that too.
    assert flooded.sent_per_s > 2000
    assert flooded.accepted_s < 30
    assert flooded.memory_bytes < MEMORY_MIB_MAX * MIB
    score.stood("too many")
