"""Whom to tell, and when to compare."""

from __future__ import annotations

import random

import pytest

from swarm.news.gossip import NOBODY, Fanouts, Path, PushPlan, Rounds, plan_push

FANOUTS = Fanouts(urgent=6, other=3, neighbours=2)


@pytest.mark.parametrize(
    ("path", "neighbours", "urgent", "beacon", "expected"),
    [
        (Path.LOCAL, 0, True, True, PushPlan(multicast=False, neighbours=2, far=6)),
        (Path.LOCAL, 5, True, True, PushPlan(multicast=True, neighbours=2, far=6)),
        (Path.LOCAL, 5, False, True, PushPlan(multicast=True, neighbours=0, far=3)),
        (Path.LOCAL, 5, True, False, PushPlan(multicast=False, neighbours=2, far=6)),
        (Path.UNICAST, 5, True, True, PushPlan(multicast=True, neighbours=2, far=6)),
        (Path.MULTICAST, 1, True, True, PushPlan(multicast=False, neighbours=2, far=6)),
        (Path.COMPARED, 5, True, True, PushPlan(multicast=True, neighbours=2, far=6)),
        (Path.COMPARED, 5, False, True, NOBODY),
    ],
)
def test_plan(path: Path, neighbours: int, urgent: bool, beacon: bool, expected: PushPlan) -> None:
    """News would stop at its first hearers, or echo through a LAN for ever."""
    assert plan_push(path, neighbours, FANOUTS, urgent=urgent, beacon=beacon, speaks=True) == expected


def test_what_all_of_a_site_heard_is_passed_on_by_those_who_speak_for_it() -> None:
    """A site of a hundred would send every piece of news a hundred times across its thin uplink."""
    plans = [
        plan_push(Path.MULTICAST, 100, FANOUTS, urgent=True, beacon=True, speaks=speaks)
        for speaks in (True, False)
    ]
    assert [plan.far for plan in plans] == [6, 0]


@pytest.mark.parametrize("seed", range(20))
def test_rounds_are_hot_after_news_and_rare_when_quiet(seed: int) -> None:
    """The last nodes would hear news minutes late; or the swarm would chatter with nothing to say."""
    rounds = Rounds((1.5, 4.0, 8.0, 14.0), 30.0, random.Random(seed), 0.0)

    def passed_between(start_s: float, end_s: float) -> list[tuple[float, bool]]:
        found = []
        while rounds.due_s < end_s:
            at_s = rounds.due_s
            assert at_s >= start_s
            found.append((at_s, rounds.passed(at_s)))
        return found

    quiet = passed_between(0.0, 600.0)
    assert not any(hot for _, hot in quiet)
    assert 600 / 37.5 - 1 <= len(quiet) <= 600 / 22.5 + 1
    rounds.heat(600.0)
    hot = passed_between(600.0, 617.6)
    assert sum(was_hot for _, was_hot in hot) == 4
    assert hot[0][0] <= 602.0
    assert not rounds.hot
