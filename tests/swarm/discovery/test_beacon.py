"""The beacon's timetable: soon at first, steady and sparse later, never chatty."""

from __future__ import annotations

import random

import pytest

from swarm.discovery.beacon import START_PAUSES_S, Beacon, interval_s, silence_s


@pytest.mark.parametrize(
    ("neighbours", "expected_s"), [(0, 30.0), (5, 30.0), (20, 30.0), (21, 31.5), (100, 150.0), (511, 766.5)]
)
def test_interval_grows_with_the_site(neighbours: int, expected_s: float) -> None:
    """A site of a hundred nodes would fill its Wi-Fi with beacons."""
    assert interval_s(30.0, neighbours) == expected_s
    assert silence_s(30.0, neighbours) == 4 * expected_s


def times(beacon: Beacon, until_s: float, neighbours: int = 0) -> list[float]:
    sent = []
    while beacon.due_s <= until_s:
        sent.append(beacon.due_s)
        beacon.sent(beacon.due_s, neighbours)
    return sent


@pytest.mark.parametrize("seed", range(20))
def test_a_burst_then_a_steady_beat(seed: int) -> None:
    """A new node would stay unseen for half a minute, or never become quiet."""
    sent = times(Beacon(30.0, random.Random(seed), 100.0), 700.0)
    assert sent[0] - 100.0 <= 0.25
    burst = len(START_PAUSES_S) + 1
    assert sent[burst - 1] - 100.0 <= sum(START_PAUSES_S) * 1.25 + 0.25
    gaps = [b - a for a, b in zip(sent[burst - 1 :], sent[burst:], strict=False)]
    assert all(22.5 <= gap <= 37.5 for gap in gaps)
    assert len(set(gaps)) > 1


def test_changes_are_told_soon_within_an_allowance() -> None:
    """A node whose state flickers would drown its site in beacons; one that rarely changes would be heard late."""
    beacon = Beacon(30.0, random.Random(1), 0.0)
    times(beacon, 60.0)
    now_s = 61.0
    beacon.announce(now_s)
    assert beacon.due_s <= now_s + 0.4
    sent = 0
    for step in range(3000):
        now_s = 62.0 + step * 0.1
        beacon.announce(now_s)
        if beacon.due_s <= now_s:
            sent += 1
            beacon.sent(now_s, 0)
    assert 10 <= sent <= 4 + 300 / 15 + 300 / 22.5


def test_announcing_never_delays_a_beacon() -> None:
    """News about itself could silence a node."""
    beacon = Beacon(30.0, random.Random(1), 0.0)
    for _ in range(50):
        before_s = beacon.due_s
        beacon.announce(0.0)
        assert beacon.due_s <= before_s
