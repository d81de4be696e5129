"""Knocking: until somebody answers, again when they are gone, and never as a flood."""

from __future__ import annotations

import itertools
import random

from swarm.address import Address
from swarm.discovery.introductions import (
    HEARSAY_AT_ONCE,
    HEARSAY_KNOCKS,
    HEARSAY_MAX,
    LOST_MAX,
    PAUSE_MAX_S,
    Introductions,
)

CONTACT = Address("192.0.2.1", 47101)
OTHER = Address("192.0.2.2", 47101)


def nobody(_address: Address) -> bool:
    return False


def knocks_until(intro: Introductions, start_s: float, end_s: float) -> list[tuple[float, Address]]:
    knocked = []
    now_s = max(start_s, intro.next_s())
    while now_s <= end_s:
        due = intro.due(now_s, nobody, want_more=True)
        knocked += [(now_s, address) for address in due]
        assert intro.next_s() > now_s
        now_s = intro.next_s()
    return knocked


def test_contacts_are_asked_until_they_answer() -> None:
    """A node that starts before its contact would stay alone for ever; or shout at it for weeks."""
    intro = Introductions([CONTACT], random.Random(1), 0.0)
    times = [at_s for at_s, _ in knocks_until(intro, 0.0, 3600.0)]
    assert times[0] <= 0.2
    assert times[3] <= 12.0
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) <= PAUSE_MAX_S * 1.25
    assert len(times) <= 90
    intro.answered(CONTACT)
    assert intro.next_s() == float("inf")
    intro.lost(CONTACT, 5000.0)
    assert intro.next_s() <= 5002.0


def test_alone_means_ask_all_contacts_again() -> None:
    """A contact that answered from another address would never be asked again, and the node stay alone."""
    intro = Introductions([CONTACT, OTHER], random.Random(1), 0.0)
    intro.answered(CONTACT)
    intro.answered(OTHER)
    intro.alone(100.0)
    assert {address for _, address in knocks_until(intro, 100.0, 110.0)} == {CONTACT, OTHER}


def test_contacts_that_are_peers_already_need_no_knock() -> None:
    """Two nodes that name each other as contacts would ping for nothing."""
    intro = Introductions([CONTACT], random.Random(1), 0.0)
    assert intro.due(1.0, lambda _: True, want_more=True) == []
    assert intro.next_s() == float("inf")


def test_lost_peers_are_asked_more_and_more_rarely() -> None:
    """Two halves of a swarm that was cut in two would never find each other again; or ping the dead for ever."""
    intro = Introductions([], random.Random(1), 0.0)
    for number in range(LOST_MAX + 10):
        intro.lost(Address("10.0.0.1", 1 + number), 0.0)
    first_hour = knocks_until(intro, 0.0, 3600.0)
    assert len({address for _, address in first_hour}) == LOST_MAX
    assert len(first_hour) / LOST_MAX <= 12
    hour_later = knocks_until(intro, 3600.0, 7200.0)
    assert len(hour_later) / LOST_MAX <= 8
    assert knocks_until(intro, 7200.0, 30 * 86_400.0)
    assert intro.next_s() == float("inf")


def test_hearsay_is_asked_twice_a_few_at_a_time() -> None:
    """A liar could turn every node into a source of datagrams against somebody."""
    intro = Introductions([CONTACT], random.Random(1), 0.0)
    intro.answered(CONTACT)
    told = [Address("203.0.113.1", 1 + n) for n in range(HEARSAY_MAX * 3)]
    intro.hear_of([*told, CONTACT], 0.0)
    knocked = knocks_until(intro, 0.0, 3600.0)
    assert len(knocked) == HEARSAY_MAX * HEARSAY_KNOCKS
    assert CONTACT not in {address for _, address in knocked}
    for at_s, _ in knocked:
        assert sum(other_s == at_s for other_s, _ in knocked) <= HEARSAY_AT_ONCE


def test_a_full_table_wants_no_hearsay() -> None:
    """A node that knows enough would go on asking strangers."""
    intro = Introductions([], random.Random(1), 0.0)
    intro.hear_of([CONTACT], 0.0)
    assert intro.due(0.0, nobody, want_more=False) == []
    assert intro.next_s() == float("inf")


def test_contacts_can_change() -> None:
    """A contact whose name now points elsewhere would be asked at its old address until the next restart."""
    intro = Introductions([CONTACT], random.Random(1), 0.0)
    intro.answered(CONTACT)
    intro.set_contacts([CONTACT, OTHER], 10.0)
    assert {address for _, address in knocks_until(intro, 10.0, 20.0)} == {OTHER}
