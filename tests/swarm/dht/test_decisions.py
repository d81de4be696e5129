"""What the table's plain decisions promise: when it is used, who may be told of, and what is concluded."""

from __future__ import annotations

import itertools
import random

from swarm.address import Address
from swarm.discovery.dht.finding import Held, Search, Verdict, judge
from swarm.discovery.dht.plan import (
    FAR_WANTED,
    JITTER,
    REFRESH_S,
    WANT_PAUSE_S_MAX,
    Plan,
    Situation,
    Step,
)
from swarm.discovery.reach import QUORUM, REPORT_LIFETIME_S, Reach

OUTSIDE = Address("198.51.100.7", 47101)
INSIDE = Address("192.168.0.2", 47101)


def peer(number: int) -> Address:
    return Address(f"9.9.{number}.1", 47101)


def drive(plan: Plan, situation: Situation, hours: float) -> list[tuple[float, Step]]:
    """Every step in so many hours, looked at every second."""
    steps = []
    for second in range(int(hours * 3600)):
        step = plan.due(situation, float(second))
        if step is not None:
            steps.append((float(second), step))
    return steps


def test_a_node_whose_site_mates_speak_never_uses_the_table() -> None:
    """A hundred nodes of one site would each ask the whole world."""
    silent = Situation(far_peers=0, speaks=False, beginnings=5)
    plan = Plan(random.Random(1), 0.0)
    assert drive(plan, silent, 5) == []
    assert plan.next_s(silent) == float("inf")


def test_a_node_without_anybody_to_ask_sleeps() -> None:
    """A node on a LAN without contacts would wake for nothing."""
    nobody = Situation(far_peers=0, speaks=True, beginnings=0)
    assert Plan(random.Random(1), 0.0).next_s(nobody) == float("inf")
    assert drive(Plan(random.Random(1), 0.0), nobody, 2) == []


def test_a_node_in_want_looks_at_once_again_soon_and_then_rarely() -> None:
    """A node whose contacts are off would ask them every few seconds for months, or not again once they are back."""
    steps = drive(Plan(random.Random(1), 0.0), Situation(FAR_WANTED - 1, True, 5), 6)
    looks = [at_s for at_s, step in steps if step is Step.NEWEST]
    assert looks[0] == 0
    assert looks[1] < 10
    gaps = [b - a for a, b in itertools.pairwise(looks)]
    assert max(gaps) <= WANT_PAUSE_S_MAX * (1 + JITTER) + 1
    assert min(gaps[-5:]) >= WANT_PAUSE_S_MAX * (1 - JITTER) - 1


def test_a_node_that_does_not_know_its_place_goes_on_asking() -> None:
    """A node that knows its peers by gossip would not learn for an hour that it stands behind a translator."""
    lost = Situation(FAR_WANTED, True, 5, placed=False)
    assert len(drive(Plan(random.Random(1), 0.0), lost, 0.1)) >= 4


def test_a_content_node_looks_once_an_hour_at_times_of_its_own() -> None:
    """All nodes that got power at one moment would ask at one moment for ever."""
    well = Situation(FAR_WANTED, True, 5)
    first = [at_s for at_s, step in drive(Plan(random.Random(1), 0.0), well, 12) if step is Step.NEWEST]
    second = [at_s for at_s, step in drive(Plan(random.Random(2), 0.0), well, 12) if step is Step.NEWEST]
    assert 9 <= len(first) <= 17
    assert not set(first[2:]) & set(second[2:])
    assert all(b - a >= REFRESH_S * (1 - JITTER) - 1 for a, b in itertools.pairwise(first))


def test_the_highest_that_verifies_wins_and_silence_is_no_answer() -> None:
    """A majority of liars would decide what the newest manifest is."""
    held = Held(7, frozenset({b"good"}))
    assert judge(7, b"good", held) is Verdict.NEWEST
    assert judge(6, b"old", held) is Verdict.OLDER
    assert judge(9, b"forged", held) is Verdict.REFUSED
    assert judge(7, b"other", held) is Verdict.REFUSED
    assert judge(1, b"x", None) is Verdict.REFUSED
    search = Search("manifest")
    for number in range(100):
        search.heard(peer(number), Verdict.OLDER, 3)
    search.heard(peer(200), Verdict.NEWEST, 7)
    assert search.finding(101, held).sequence == 7
    nothing = Search("manifest")
    nothing.heard(peer(1), Verdict.NOTHING)
    assert "keep it back" in nothing.finding(1, None).words
    # What was the newest when it came has been overtaken: the older one is not called the newest.
    overtaken = Search("manifest")
    overtaken.heard(peer(1), Verdict.NEWEST, 6)
    overtaken.heard(peer(2), Verdict.NEWEST, 7)
    assert "from 1 of 2" in overtaken.finding(2, held).words


def test_an_address_counts_when_several_hosts_see_the_same() -> None:
    """One liar could make a node tell everybody a wrong address."""
    reach = Reach()
    for number in range(QUORUM - 1):
        reach.seen(peer(number), OUTSIDE, INSIDE, 0.0)
        reach.seen(Address(peer(number).host, 5), OUTSIDE, INSIDE, 0.0)  # the same host again
    assert reach.outside(0.0) is None
    reach.seen(peer(50), Address("203.0.113.66", 1), INSIDE, 0.0)
    assert reach.outside(0.0) is None
    reach.seen(peer(51), OUTSIDE, INSIDE, 0.0)
    assert reach.outside(0.0) == OUTSIDE
    assert reach.outside(REPORT_LIFETIME_S + 1) is None
    assert not reach.is_open(0.0)
    assert str(OUTSIDE) in reach.words(0.0)


def test_a_translator_that_shows_everybody_another_address_is_told_as_such() -> None:
    """Such a node can be met by nobody from outside; its owner has to know why."""
    reach = Reach()
    for number in range(6):
        reach.seen(peer(number), Address(OUTSIDE.host, 1000 + number), INSIDE, 0.0)
    assert reach.outside(0.0) is None
    assert not reach.is_open(0.0)
    assert "another address" in reach.words(0.0)


def test_a_node_is_open_when_nothing_translates_its_address_or_its_owner_says_so() -> None:
    """A node that nobody can reach would be told of to everybody, and everybody would wait for it."""
    assert not Reach().is_open(0.0)
    straight = Reach()
    straight.seen(peer(1), OUTSIDE, OUTSIDE, 0.0)
    assert straight.is_open(0.0)
    # Neighbours see the address before it is translated: they count where nobody is farther.
    behind = Reach()
    for number in range(5):
        behind.seen(Address(f"192.168.0.{number + 10}", 47101), INSIDE, INSIDE, 0.0)
    assert behind.is_open(0.0)
    behind.seen(peer(1), OUTSIDE, INSIDE, 0.0)
    assert not behind.is_open(0.0)
    behind.stranger_came("203.0.113.5", INSIDE.host, 0.0)
    assert behind.is_open(0.0)
    assert Reach("yes").is_open(0.0)
    assert not Reach("no").is_open(0.0)


def test_a_router_that_lets_strangers_in_counts_where_peers_see_its_address() -> None:
    """Behind a second translator a mapping is worth nothing, and everybody would wait for a node that nobody can reach."""
    one, two = (Reach(lets_in=lambda address, here=here: address == here) for here in (OUTSIDE, INSIDE))
    for reach in (one, two):
        reach.seen(peer(1), OUTSIDE, INSIDE, 0.0)
    assert one.is_open(0.0)
    assert one.words(0.0) == f"open: the router lets strangers in at {OUTSIDE}"
    assert not two.is_open(0.0)


def test_only_a_stranger_from_elsewhere_proves_that_strangers_get_in() -> None:
    """An answer gets in everywhere, and a neighbour stands on this side of the translator."""
    reach = Reach()
    reach.spoke_to(peer(1).host)
    assert not reach.is_stranger(peer(1).host, 0.0)
    assert reach.is_stranger(peer(2).host, 0.0)
    for neighbour in ("192.168.0.77", "127.0.0.1"):
        reach.stranger_came(neighbour, INSIDE.host, 0.0)
    assert not reach.is_open(0.0)
    reach.stranger_came(peer(2).host, INSIDE.host, 0.0)
    assert reach.is_open(0.0)
    assert not reach.is_stranger(peer(3).host, 1.0)  # known already: no need to look
