"""What may cross the uplink, and what did."""

from __future__ import annotations

import random

import pytest

from swarm.address import Address
from swarm.transfer.sources import Connection
from swarm.transfer.uplink_meter import UplinkMeter
from swarm.transfer.uplink_rules import Hours, Supply, UplinkRules, why_not

NIGHT = Hours(22 * 60, 6 * 60)


@pytest.mark.parametrize(
    ("hours", "minute", "holds"),
    [
        (NIGHT, 22 * 60, True),
        (NIGHT, 23 * 60 + 59, True),
        (NIGHT, 0, True),
        (NIGHT, 6 * 60 - 1, True),
        (NIGHT, 6 * 60, False),
        (NIGHT, 12 * 60, False),
        (Hours(8 * 60, 24 * 60), 24 * 60 - 1, True),
        (Hours(8 * 60, 24 * 60), 0, False),
    ],
)
def test_hours_may_pass_over_midnight(hours: Hours, minute: int, holds: bool) -> None:
    """Images would fill the line in the middle of the day."""
    assert hours.hold(minute) is holds


@pytest.mark.parametrize(
    ("rules", "supply", "used", "words"),
    [
        (UplinkRules(), Supply(), 10**15, None),
        (UplinkRules(metered=True), Supply(), 0, "metered"),
        (UplinkRules(quota_bytes=100), Supply(), 99, None),
        (UplinkRules(quota_bytes=100), Supply(), 100, "quota"),
        (UplinkRules(hours=NIGHT), Supply(), 0, "22:00-06:00"),
        (UplinkRules(), Supply(on_battery=True), 0, "battery"),
        (UplinkRules(on_battery=True), Supply(on_battery=True), 0, None),
        (UplinkRules(on_battery=True), Supply(undervolted=True), 0, "voltage"),
    ],
)
def test_what_an_operator_set_is_kept_and_told(
    rules: UplinkRules, supply: Supply, used: int, words: str | None
) -> None:
    """A bill would come, a battery run down, or nobody would know why a node waits."""
    why = why_not(rules, supply, used, minute=12 * 60)
    assert (why is None) == (words is None)
    assert words is None or words in (why or "")


@pytest.mark.parametrize("counts_on", [False, True])
def test_connections_that_come_and_go_add_up(counts_on: bool) -> None:
    """A quota would count bytes twice, or forget them when a peer comes back: from zero, or, as libtorrent has it where this node
    dialled, from where it was."""
    rng = random.Random(1)
    meter, truth = UplinkMeter(), 0
    open_now: dict[int, int] = {}
    before: dict[int, int] = {}

    def look() -> None:
        connections = _connections(open_now)
        meter.snapshot(b"i" * 32, connections, connections, truth, 2 * truth)

    for _ in range(2000):
        n = rng.randrange(8)
        if n in open_now and rng.random() < 0.2:
            before[n] = open_now.pop(n)  # it had been counted at the last look
            look()
            continue
        given = rng.randrange(1, 1000)
        open_now[n] = open_now.get(n, before.get(n, 0) if counts_on else 0) + given
        truth += given
        look()
    assert (meter.received_bytes, meter.sent_bytes) == (truth, 2 * truth)


def test_what_mates_give_does_not_cross_the_uplink() -> None:
    """A quota would be used up by the site itself."""
    meter = UplinkMeter()
    mate, other = _connections({1: 100, 2: 30})
    meter.snapshot(b"i" * 32, [mate, other], [other], 130, 260)
    mate, other = _connections({1: 300, 2: 70})
    meter.snapshot(b"i" * 32, [mate, other], [other], 370, 740)
    assert (meter.received_bytes, meter.sent_bytes) == (70, 140)


def test_an_image_that_is_given_anew_counts_from_zero() -> None:
    """What it moves then would be free until it has moved as much as before."""
    meter = UplinkMeter()
    for size in (100, 40):
        connections = _connections({1: size})
        meter.snapshot(b"i" * 32, connections, connections, size, 2 * size)
    assert (meter.received_bytes, meter.sent_bytes) == (140, 280)


def _connections(open_now: dict[int, int]) -> list[Connection]:
    return [
        Connection(n.to_bytes(20, "big"), Address("192.0.2.1", 1000 + n), size, 0.0, 2 * size)
        for n, size in open_now.items()
    ]
