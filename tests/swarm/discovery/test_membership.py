"""Who of a site is alive: on a little virtual LAN, with nodes that die, that are slow, and with datagrams that are lost."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from swarm.discovery.membership import (
    CONFIRMATIONS,
    HEALTH_MAX,
    RETRIES,
    SUSPECT_S_MAX,
    SUSPECT_S_MIN,
    UNANSWERED_MAX,
    Act,
    Do,
    Membership,
    State,
    suspicion_s,
)

PING_S = 3.0
"""After which a ping is given up, as `SwarmSettings.ping_timeout_s`."""


class Lan:
    """Nodes 0 to count - 1 that watch each other. `delay_s` of a node: how long it takes to answer or to read anything."""

    def __init__(self, count: int, seed: int, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.loss = loss
        self.now_s = 0.0
        self.delay_s = dict.fromkeys(range(count), 0.01)
        self.dead: set[int] = set()
        self.unicast_blocked: Callable[[int, int], bool] = lambda _a, _b: False
        self.gone: list[tuple[float, int, int]] = []
        """(time, who said so, of whom)."""
        self.datagrams = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.minds = {n: Membership(random.Random(f"{seed}/{n}"), 0.0) for n in range(count)}
        for n, other in itertools.permutations(self.minds, 2):
            self.minds[n].seen(_name(other))
        for n in self.minds:
            self._plan(n)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._order), action))

    def run_until(self, end_s: float) -> None:
        while self._heap and self._heap[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
        self.now_s = end_s

    def _plan(self, n: int) -> None:
        due_s = max(self.minds[n].next_s, self.now_s)
        self.after(due_s - self.now_s + self.delay_s[n] / 10, lambda: self._wake(n))

    def _wake(self, n: int) -> None:
        if n in self.dead:
            return
        if self.minds[n].next_s <= self.now_s:
            self._do(n, self.minds[n].on_wakeup(self.now_s))
        self._plan(n)

    def _do(self, n: int, todo: list[Do]) -> None:
        for each in todo:
            target = _number(each.node_id)
            match each.act:
                case Act.PROBE:
                    self.ping(n, target)
                case Act.ASK:
                    helper = _number(each.helper)
                    self.send(n, helper, lambda h=helper, t=target: self.ping(h, t, asker=n))  # type: ignore[misc]
                case Act.SUSPECT:
                    for hearer in self.minds:
                        if hearer != n:
                            self.send(n, hearer, lambda h=hearer, t=target: self._suspected(h, t, n))  # type: ignore[misc]
                case Act.GONE:
                    self.gone.append((self.now_s, n, target))

    def _suspected(self, hearer: int, target: int, accuser: int) -> None:
        if hearer == target:  # it speaks up, for all to hear
            for other in self.minds:
                if other != target:
                    self.send(target, other, lambda o=other: self.minds[o].seen(_name(target)))  # type: ignore[misc]
            return
        self._do(hearer, self.minds[hearer].suspected_by(_name(target), _name(accuser), self.now_s))

    def send(self, source: int, target: int, arrive: Callable[[], None]) -> None:
        self.datagrams += 1
        lost = self.rng.random() < self.loss or self.unicast_blocked(source, target)
        if lost or target in self.dead or source in self.dead:
            return

        def deliver() -> None:
            if target not in self.dead:
                arrive()

        self.after(self.delay_s[source] + self.delay_s[target], deliver)

    def ping(self, n: int, target: int, asker: int | None = None) -> None:
        answered: list[bool] = []

        def word(*, good: bool) -> None:
            if asker is not None:
                self.send(n, asker, lambda: self.minds[asker].word(_name(target), answered=good))

        def pong() -> None:
            answered.append(True)
            self.minds[n].answered(_name(target))
            word(good=True)

        def give_up() -> None:
            if not answered and n not in self.dead:
                word(good=False)
                self._do(n, self.minds[n].unanswered(_name(target), self.now_s))

        self.after(PING_S, give_up)
        self.send(n, target, lambda: self.send(target, n, pong))


def _name(number: int) -> bytes:
    return number.to_bytes(20, "big")


def _number(name: bytes) -> int:
    return int.from_bytes(name, "big")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 3, 12, 30])
def test_a_dead_node_is_found_by_everybody_and_nobody_else_is(count: int, seed: int) -> None:
    """The site would wait for a gateway that has no power, or run after one that has."""
    lan = Lan(count, seed)
    lan.run_until(100.0)
    assert lan.gone == []
    lan.dead.add(0)
    lan.run_until(100.0 + 50.0 * count + 200.0)
    assert {target for _, _, target in lan.gone} == {0}
    assert {n for _, n, _ in lan.gone} == set(range(1, count))
    assert max(at_s for at_s, _, _ in lan.gone) - min(at_s for at_s, _, _ in lan.gone) < 120.0


@pytest.mark.parametrize("seed", range(4))
def test_thirty_percent_loss_costs_nobody_its_place(seed: int) -> None:
    """On bad Wi-Fi nodes would be declared dead and back alive all day, and gateways with them."""
    lan = Lan(12, seed, loss=0.3)
    lan.run_until(3600.0)
    assert len(lan.gone) <= 8, "of a thousand probes; each is taken back with the next answer"


@pytest.mark.parametrize("seed", range(10))
def test_a_node_that_is_busy_with_its_card_is_neither_dead_nor_a_judge(seed: int) -> None:
    """A Pi writing its image answers after seconds: it would lose its place, or take all others for dead."""
    lan = Lan(10, seed)
    lan.run_until(200.0)
    lan.delay_s[3] = 2.2  # a ping and its answer take 4.4 s: no ping of it, or to it, is answered in time
    lan.run_until(260.0)
    lan.delay_s[3] = 0.01
    lan.run_until(600.0)
    assert lan.gone == []


def test_trouble_of_ones_own_stretches_all_times_and_passes() -> None:
    """A node that hears nothing because it is cut off would be first to bury its site."""
    lan = Lan(6, 1)
    lan.unicast_blocked = lambda n, target: 0 in (n, target)
    lan.run_until(600.0)
    assert lan.minds[0].health > 0
    lan.unicast_blocked = lambda n, target: False
    for n in range(1, 6):
        lan.minds[0].answered(_name(n))
    assert lan.minds[0].health < HEALTH_MAX


def test_a_node_whose_multicast_is_heard_and_who_answers_nothing_is_out_of_reach() -> None:
    """On a LAN that isolates its clients every node would wait for bytes of a gateway it cannot reach."""
    mind = Membership(random.Random(1), 0.0)
    name, now_s = _name(7), 0.0
    mind.seen(name)
    said: list[Do] = []
    for _ in range(UNANSWERED_MAX + 1):
        for _ in range(RETRIES + 1):
            now_s += 3.0
            said += mind.unanswered(name, now_s)
        mind.seen(name)  # its beacon
    assert said[-1] == Do(Act.GONE, name)
    mind.seen(name)
    assert not mind.counts(name)
    mind.answered(name)
    assert mind.counts(name)


def test_a_suspicion_is_looked_into_and_not_believed() -> None:
    """One member gone mad could have its whole site taken for dead."""
    mind = Membership(random.Random(1), 0.0)
    for n in range(5):
        mind.seen(_name(n))
    for at_s in range(60):
        todo = mind.suspected_by(_name(1), _name(2), float(at_s))
        assert all(each.act is Act.PROBE for each in todo)
        assert len(todo) <= 1
    assert mind.suspected_by(_name(1), _name(99), 100.0) == [], "a stranger's"
    assert mind.state(_name(1)) is State.ALIVE


@pytest.mark.parametrize(
    ("confirmations", "health", "expected"),
    [
        (0, 0, SUSPECT_S_MAX),
        (CONFIRMATIONS, 0, SUSPECT_S_MIN),
        (9, 0, SUSPECT_S_MIN),
        (0, 2, 3 * SUSPECT_S_MAX),
    ],
)
def test_how_long_a_suspicion_lasts(confirmations: int, health: int, expected: float) -> None:
    """Times would not be what the documents say."""
    assert suspicion_s(confirmations, health) == pytest.approx(expected)


def test_an_idle_site_of_a_hundred_is_watched_for_little() -> None:
    """Watching would cost more than the releases it is for."""
    lan = Lan(100, 1)
    lan.run_until(1000.0)
    assert lan.datagrams / 100 / 1000 <= 0.06
