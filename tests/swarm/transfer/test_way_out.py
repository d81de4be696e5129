"""When a node leaves its LAN for an image, why, and when it comes back."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from swarm.transfer.way_out import (
    GIVES_S,
    SLOW_BYTES_PER_S,
    SLOW_S,
    STALL_S,
    STEPS_MAX,
    TERM_S,
    TERM_S_MAX,
    Out,
    Place,
    WayOut,
)

FIRST, SECOND, LAST = Place(0, 5, False), Place(1, 5, False), Place(99, 100, False)
FULL_RATE = 10 * SLOW_BYTES_PER_S


def follow(
    way: WayOut, place: Place, begin_s: float, end_s: float, rate: float = 0.0, far_rate: float = 0.0
) -> list[float]:
    """Seconds at which the node was out. `rate`, `far_rate`: bytes/s from its site, and from outside, since `begin_s`."""
    out = []
    for second in range(int(begin_s), int(end_s)):
        since_s = second - begin_s
        way.progress(int(rate * since_s), int(far_rate * since_s), float(second))
        if way.decide(place, float(second), able=True) is not None:
            out.append(float(second))
    return out


def test_the_gateway_goes_out_at_once_and_its_mates_do_not() -> None:
    """The line would carry the image once for each node."""
    assert WayOut(0.0).decide(FIRST, 0.0, able=True) is Out.GATEWAY
    assert WayOut(0.0).decide(Place(0, 0, False), 0.0, able=True) is Out.ALONE
    for place in (SECOND, LAST, Place(0, 5, True)):
        assert follow(WayOut(0.0), place, 0, 600, FULL_RATE) == []


@pytest.mark.parametrize("rank", [1, 2, 3, 50])
def test_who_gets_nothing_goes_out_in_the_order_of_rank(rank: int) -> None:
    """A gateway that hangs would keep its site waiting, or send all of it out at once."""
    way = WayOut(0.0)
    due_s = STALL_S * min(rank, STEPS_MAX)
    assert follow(way, Place(rank, 60, False), 0, int(due_s) + 1) == [due_s]
    assert way.reason is Out.STALLED
    assert way.counts == {Out.STALLED: 1}


def test_a_gateway_that_gives_next_to_nothing_is_as_good_as_none() -> None:
    """One byte a second would keep a site waiting for weeks."""
    way = WayOut(0.0)
    out = follow(way, SECOND, 0, 40, SLOW_BYTES_PER_S / 2, FULL_RATE)
    assert SLOW_S <= out[0] <= SLOW_S + 1
    assert way.reason is Out.SLOW


def test_whoever_went_out_comes_back_and_tries_again_more_and_more_rarely() -> None:
    """Two gateways would stay two for ever, or a bad one would be tried again every minute."""
    way = WayOut(0.0)
    out = follow(way, SECOND, 0, 20_000)
    ends = [s for s in out if s + 1 not in out]
    begins = [s for s in out if s - 1 not in out]
    terms = [end - begin + 1 for begin, end in zip(begins, ends, strict=True)][:-1]
    assert terms[0] == TERM_S
    assert max(terms) == TERM_S_MAX
    assert all(b in (2 * a, TERM_S_MAX) for a, b in pairwise(terms))


@pytest.mark.parametrize(("rank", "steps"), [(1, 6), (2, 5), (6, 1), (50, 1)])
def test_whoever_is_given_to_again_is_out_no_more_and_the_last_in_rank_first(rank: int, steps: int) -> None:
    """After a line was cut for a minute, or a publisher started anew, the line would carry the image for many nodes at once."""
    way, place = WayOut(0.0), Place(rank, 60, False)
    healed_s = int(STALL_S) * min(rank, STEPS_MAX) + 20
    assert follow(way, place, 0, healed_s)[-1] == healed_s - 1
    out = follow(way, place, healed_s, healed_s + 2000, FULL_RATE, 2 * FULL_RATE)
    assert out == [healed_s + second for second in range(len(out))], "once back, it stays"
    assert len(out) <= 2 * GIVES_S * steps


def test_a_gateway_that_gives_little_is_not_come_back_to_before_the_time() -> None:
    """The nodes behind it would wait for it for half of the time."""
    way = WayOut(0.0)
    out = follow(way, SECOND, 0, int(SLOW_S + TERM_S), SLOW_BYTES_PER_S / 5, SLOW_BYTES_PER_S)
    assert way.reason is Out.SLOW
    assert out == [SLOW_S + second for second in range(int(TERM_S))]


def test_the_gateway_that_comes_back_gets_its_place_without_delay() -> None:
    """The site would fetch the rest twice."""
    way = WayOut(0.0)
    assert way.decide(FIRST, 0.0, able=True) is Out.GATEWAY
    assert way.decide(SECOND, 100.0, able=True) is None
    assert way.decide(SECOND, 100.0 + STALL_S - 1, able=True) is None, "it is given its time"
    assert way.decide(SECOND, 100.0 + STALL_S, able=True) is Out.STALLED


def test_a_node_that_may_not_use_the_uplink_never_does() -> None:
    """A quota or a battery would be drained by the first hiccup of somebody else."""
    rng = random.Random(1)
    way = WayOut(0.0)
    for second in range(2000):
        place = Place(rng.randrange(3), rng.randrange(3), rng.random() < 0.5)
        assert way.decide(place, float(second), able=False) is None
    assert way.counts == {}
