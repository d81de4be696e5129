"""Who of a site is alive: probing as in SWIM, with Lifeguard's patience for nodes that are slow, this one included.

Every so often one member is pinged, in turn. If it does not answer, a few others are asked to ping it; if nobody hears from it,
it is suspected, in front of the whole site, so that it can speak up; if it does not, it is gone. Nothing is believed of
others: a suspicion that is heard makes this node ask for itself, and only shortens how long it waits before it draws its own
conclusion. Times stretch with this node's own trouble: a Pi that is busy writing its card answers late and hears late, and
must not take half of its site for dead.

Pure: `on_wakeup` and the others return what to do; the caller sends.

Sources: Das, Gupta & Motivala 2002 (SWIM); Dadgar, Phillips & Currey 2018 (Lifeguard), arXiv 1707.00788.
"""

from __future__ import annotations

import math
import random
from enum import StrEnum

from attrs import Factory, define, frozen

PROBE_IDLE_S = 40.0
"""Between two probes while nothing is fetched: about 25 bytes a second for each node, whatever the size of the site. Longer finds
the dead later; shorter is chatter."""
PROBE_BUSY_S = 1.0
"""The same while this node waits for bytes from its site."""
PROBERS = 20.0
"""While many wait for one gateway, it is probed so often a second by all of them together."""
HELPERS = 3
"""Members asked to ping one that gave no answer. Source: SWIM."""
INDIRECT_S = 4.0
"""For their word: longer than a ping takes to be given up, 3 s."""
SUSPECT_S_MAX = 16.0
SUSPECT_S_MIN = 6.0
"""Between suspicion and conclusion, the shorter the more others suspect the same. Shorter: a Pi whose card stalls for some
seconds is taken for dead; longer: a site waits for its gateway, which costs time and nothing else."""
CONFIRMATIONS = 3
HEALTH_MAX = 8
"""Lifeguard's local health multiplier: all times of this node are stretched by one more than its own troubles, up to nine
times."""
LATE_S = 1.0
"""A wakeup that comes so much late is a trouble of this node."""
RETRIES = 2
"""A ping that was lost is repeated so often before others are asked: on bad Wi-Fi one in two gets no answer."""
UNANSWERED_MAX = 5
"""A member whose multicast is heard and which answers no ping so often is out of reach: the network isolates its clients."""
LOOKED_INTO_S = 5.0
"""A suspicion of others about one member is looked into once in this time, however often it is heard."""
GONE_MAX = 512
"""The gone that are remembered; a beacon of theirs does not make them alive, an answer does."""


class State(StrEnum):
    """What is thought of a member."""

    ALIVE = "alive"
    ASKED = "asked"
    """It gave no answer; others have been asked to ping it."""
    SUSPECT = "suspect"
    """Nobody hears from it. It counts as alive until it is gone."""


class Act(StrEnum):
    """What to do about a member."""

    PROBE = "probe"
    ASK = "ask"
    """Ask `helper` to ping it."""
    SUSPECT = "suspect"
    """Tell the site that it is suspected."""
    GONE = "gone"
    """It is dead, or out of reach: do not count on it."""


@frozen
class Do:
    """One thing to do."""

    act: Act
    node_id: bytes
    helper: bytes = b""


@define
class _Member:
    state: State = State.ALIVE
    suspected_s: float = 0.0
    confirmed: set[bytes] = Factory(set)
    tries: int = 0
    """Pings in a row that were given up, in this round."""
    words: int = 0
    """Helpers that answered at all, since they were asked."""
    unanswered: int = 0
    """Rounds in a row without an answer of its own, though others or its multicast spoke for it."""
    looked_into_s: float = -math.inf


def suspicion_s(confirmations: int, health: int) -> float:
    """How long a suspicion lasts: shorter with every other node that suspects the same, longer with this node's own troubles."""
    share = math.log(min(confirmations, CONFIRMATIONS) + 1) / math.log(CONFIRMATIONS + 1)
    return (SUSPECT_S_MAX - (SUSPECT_S_MAX - SUSPECT_S_MIN) * share) * (1 + health)


class Membership:
    """One node's opinion of its site. Members are known by id; addresses are the caller's."""

    def __init__(self, rng: random.Random, now_s: float) -> None:
        self._rng = rng
        self._members: dict[bytes, _Member] = {}
        self._gone: dict[bytes, None] = {}
        self._turn: list[bytes] = []
        self._due_s: dict[bytes, float] = {}
        """When to conclude about those that are not simply alive."""
        self._probe_s = now_s + rng.uniform(0.5, 1.0) * PROBE_IDLE_S
        self.health = 0
        """This node's own troubles, 0 to `HEALTH_MAX`."""

    # ------------------------------------------------------------------ what is known

    def counts(self, node_id: bytes) -> bool:
        """Whether it is there, as far as this node can tell."""
        return node_id in self._members

    def is_gone(self, node_id: bytes) -> bool:
        """Whether it was here, and has answered nothing since it was given up."""
        return node_id in self._gone

    def state(self, node_id: bytes) -> State | None:
        """What is thought of it; None for those that are gone, or were never here."""
        member = self._members.get(node_id)
        return member.state if member is not None else None

    @property
    def next_s(self) -> float:
        """When to call `on_wakeup`."""
        if not self._members:
            return math.inf
        return min(self._probe_s, min(self._due_s.values(), default=math.inf))

    # ------------------------------------------------------------------ what is heard

    def seen(self, node_id: bytes) -> None:
        """Something of this member came, not in answer to a ping: it lives, and may still be out of reach."""
        if node_id in self._gone:
            return
        member = self._members.setdefault(node_id, _Member())
        if member.state is not State.ALIVE:
            self._calm(node_id, member)

    def answered(self, node_id: bytes) -> None:
        """It answered a ping of this node."""
        self._gone.pop(node_id, None)
        member = self._members.setdefault(node_id, _Member())
        member.unanswered = 0
        self._calm(node_id, member)
        self.health = max(0, self.health - 1)

    def unanswered(self, node_id: bytes, now_s: float) -> list[Do]:
        """A ping to it was given up."""
        member = self._members.get(node_id)
        if member is None or member.state is State.ASKED:
            return []
        if member.state is State.SUSPECT:
            return [Do(Act.PROBE, node_id)]  # until it is concluded about
        member.tries += 1
        if member.tries <= RETRIES:
            return [Do(Act.PROBE, node_id)]
        member.tries = 0
        member.unanswered += 1
        if member.unanswered > UNANSWERED_MAX:
            return self._give_up(node_id)
        member.state, member.words = State.ASKED, 0
        self._due_s[node_id] = now_s + INDIRECT_S * (1 + self.health)
        others = [other for other, m in self._members.items() if other != node_id and m.state is State.ALIVE]
        helpers = self._rng.sample(others, min(HELPERS, len(others)))
        if not helpers:
            return self._suspect(node_id, member, now_s)
        return [Do(Act.ASK, node_id, helper) for helper in helpers]

    def word(self, node_id: bytes, *, answered: bool) -> None:
        """A helper said what came of its ping."""
        member = self._members.get(node_id)
        if member is None or member.state is State.ALIVE:
            return
        member.words += 1
        if answered:
            self._calm(node_id, member)

    def suspected_by(self, node_id: bytes, accuser: bytes, now_s: float) -> list[Do]:
        """A member told the site that it suspects another."""
        member = self._members.get(node_id)
        if member is None or accuser not in self._members or accuser == node_id:
            return []
        if member.state is State.SUSPECT:
            if len(member.confirmed) < CONFIRMATIONS:
                member.confirmed.add(accuser)
                lasts_s = suspicion_s(len(member.confirmed), self.health)
                self._due_s[node_id] = min(self._due_s[node_id], member.suspected_s + lasts_s)
            return []
        if member.state is State.ASKED or now_s - member.looked_into_s < LOOKED_INTO_S:
            return []
        member.looked_into_s = now_s
        return [Do(Act.PROBE, node_id)]

    def forget(self, node_id: bytes) -> None:
        """It left this site, in order."""
        self._members.pop(node_id, None)
        self._due_s.pop(node_id, None)

    # ------------------------------------------------------------------ time

    def hurry(self, now_s: float, pace_s: float) -> None:
        """This node waits for others: probe no later than in `pace_s`."""
        self._probe_s = min(self._probe_s, now_s + pace_s)

    def on_wakeup(self, now_s: float, *, first: bytes = b"", busy: bool = False) -> list[Do]:
        """What is due. `first`: the member that matters most now, probed every other time; `busy`: this node waits for bytes."""
        if now_s - self.next_s > LATE_S * (1 + self.health):
            self._trouble()
        todo: list[Do] = []
        for node_id in [node_id for node_id, due_s in self._due_s.items() if due_s <= now_s]:
            member = self._members[node_id]
            if member.state is State.SUSPECT:
                todo += self._give_up(node_id)
            elif member.state is State.ASKED:
                if not member.words:
                    self._trouble()  # helpers that were alive a moment ago are silent too: it may be this node
                todo += self._suspect(node_id, member, now_s)
        if self._probe_s <= now_s:
            todo += self._probe(now_s, first, busy=busy)
        return todo

    def _probe(self, now_s: float, first: bytes, *, busy: bool) -> list[Do]:
        pace_s = max(PROBE_BUSY_S, len(self._members) / PROBERS) if busy else PROBE_IDLE_S
        self._probe_s = now_s + pace_s * self._rng.uniform(0.8, 1.2)
        probes = [first] if first in self._members else []
        if not busy or not probes or self._rng.random() < PROBE_BUSY_S / PROBE_IDLE_S:
            probes.append(self._next_in_turn())
        return [Do(Act.PROBE, node_id) for node_id in dict.fromkeys(probes) if node_id]

    def _next_in_turn(self) -> bytes:
        while True:
            if not self._turn:
                self._turn = list(self._members)
                self._rng.shuffle(self._turn)
            if not self._turn:
                return b""
            node_id = self._turn.pop()
            if node_id in self._members:
                return node_id

    # ------------------------------------------------------------------ inside

    def _suspect(self, node_id: bytes, member: _Member, now_s: float) -> list[Do]:
        member.state, member.suspected_s = State.SUSPECT, now_s
        member.confirmed = set()
        self._due_s[node_id] = now_s + suspicion_s(0, self.health)
        return [Do(Act.SUSPECT, node_id), Do(Act.PROBE, node_id)]

    def _give_up(self, node_id: bytes) -> list[Do]:
        self.forget(node_id)
        self._gone[node_id] = None
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        return [Do(Act.GONE, node_id)]

    def _calm(self, node_id: bytes, member: _Member) -> None:
        member.state, member.tries = State.ALIVE, 0
        self._due_s.pop(node_id, None)
        member.confirmed = set()

    def _trouble(self) -> None:
        self.health = min(HEALTH_MAX, self.health + 1)
