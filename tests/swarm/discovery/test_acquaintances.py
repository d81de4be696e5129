"""Asking peers who else is out there."""

from __future__ import annotations

from itertools import pairwise

from swarm.discovery.acquaintances import GAP_S_MAX, Acquaintances


def test_a_small_circle_is_asked_about_and_then_left_in_peace() -> None:
    """A node with one contact would know one peer for ever, or ask it for others twice a minute for ever."""
    circle = Acquaintances(gap_s=30.0, wanted=32)
    asked_s = [now_s for now_s in range(0, 20_000, 30) if circle.wants_more(1, float(now_s))]
    gaps_s = [later - earlier for earlier, later in pairwise(asked_s)]
    assert asked_s[0] == 0
    assert gaps_s[:4] == [30, 60, 120, 240]
    assert max(gaps_s) == GAP_S_MAX


def test_somebody_new_is_asked_at_once() -> None:
    """What a newcomer knows would be heard half an hour later."""
    circle = Acquaintances(gap_s=30.0, wanted=32)
    for now_s in range(0, 20_000, 30):
        circle.wants_more(1, float(now_s))
    assert circle.wants_more(2, 20_000.0)


def test_nobody_is_asked_where_all_are_neighbours_or_enough_are_known() -> None:
    """An idle LAN would not be quiet, and a large swarm would spend its links on introductions."""
    circle = Acquaintances(gap_s=30.0, wanted=32)
    assert not circle.wants_more(0, 0.0)
    assert not circle.wants_more(32, 30.0)
