"""Bringing nodes together that cannot reach each other: both are told of the other at once, by a peer that knows both.

A translator (NAT) lets in who was spoken to. So when two nodes behind translators knock at each other's outside addresses in
the same seconds, each knock opens its own door for the other's. The peer in the middle carries two addresses and nothing more.

Bounded on every side: a peer asks rarely, is answered rarely, brings together with eight at most, and who is told knocks twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from swarm.address import Address
from swarm.fields import address, listed, number, octets, told

INTRODUCED_MAX = 8
"""Peers that one question brings the asker together with. More: more knocks at once, that a stranger could aim at somebody."""
GIVING_MAX = 3
"""So many of them have an image whole, where there are so many. Fewer: of a new release only its publisher has it, and who asks a
peer of many sites meets it late; more: whoever gives becomes known to all, and nobody else does."""
ANSWER_GAP_S = 10.0
"""Least time between two answers to one peer."""
ASKERS_MAX = 256
ASK_GAP_S_MIN, ASK_GAP_S_MAX = 5.0, 1800.0
"""First and longest pause between two asks; doubled each time. Shorter: more datagrams where all know each other already (nine
for each ask); longer: a site that came after the others is met later."""
HOLDING_BYTES = 8
DIALLED_GAP_S = 4.0
"""Least time between two dials that one peer asks for. Shorter: more knocks at an address; longer: doors close in between."""
SEEK_GAP_S = 5.0
"""While an image is wanted that nobody in reach holds."""


@frozen
class Meet:
    """Tell me of your peers, and them of me: I may be behind a translator, and they may be."""


@frozen
class Go:
    """Somebody is at each of these addresses, and was told of yours at this moment: knock."""

    addresses: tuple[Address, ...]


@frozen
class Dial:
    """I want an image of yours and dial you for it at this moment: dial me, at my transfer port, so that both doors open."""

    holding: bytes
    """First 8 bytes of its infohash."""
    transfer_port: int


Meeting = Meet | Go | Dial


def fields_of(message: Meeting) -> tuple[int, list[Any]]:
    """Type number and fields, as `swarm.wire` packs them."""
    if isinstance(message, Meet):
        return 12, []
    if isinstance(message, Dial):
        return 14, [message.holding, message.transfer_port]
    return 13, [[told(each) for each in message.addresses]]


def _meet() -> Meet:
    return Meet()


def _go(addresses: Any) -> Go:
    return Go(tuple(address(each) for each in listed(addresses, "addresses", INTRODUCED_MAX)))


def _dial(holding: Any, transfer_port: Any) -> Dial:
    return Dial(octets(holding, "holding", HOLDING_BYTES), number(transfer_port, "transfer port", 1, 65535))


READERS: dict[int, tuple[int, Any]] = {12: (0, _meet), 13: (1, _go), 14: (2, _dial)}
"""As in `swarm.wire`: type number -> how many fields, and what reads them."""


class Pace:
    """How often one peer is served: remembers a few hundred of them."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._served_s: dict[Address, float] = {}

    def allows(self, asker: Address, now_s: float) -> bool:
        """Whether it may be served now; True counts as served."""
        if now_s - self._served_s.get(asker, float("-inf")) < self._gap_s:
            return False
        self._served_s.pop(asker, None)
        self._served_s[asker] = now_s
        while len(self._served_s) > ASKERS_MAX:
            del self._served_s[next(iter(self._served_s))]
        return True


class Matchmaker:
    """Answers those who want to meet others. Pure."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pace = Pace(ANSWER_GAP_S)

    def introduce(
        self, asker: Address, others: Iterable[Address], now_s: float, *, giving: Iterable[Address] = ()
    ) -> list[tuple[Address, Go]]:
        """Whom to tell what.

        Args:
            others: living peers that may mean something to the asker.
            giving: those of them that have an image whole: whoever asks, mostly misses one.
        """
        if not self._pace.allows(asker, now_s):
            return []
        # Who shares the asker's outside address shares its translator, too, and few of those let their own side in from outside.
        strangers = [other for other in others if other.host != asker.host]
        sought = [other for other in giving if other.host != asker.host]
        chosen = self._rng.sample(sought, min(GIVING_MAX, len(sought)))
        rest = [other for other in strangers if other not in chosen]
        chosen += self._rng.sample(rest, min(INTRODUCED_MAX - len(chosen), len(rest)))
        if not chosen:
            return []
        return [(asker, Go(tuple(chosen))), *((other, Go((asker,))) for other in chosen)]


class Wish:
    """When this node asks to be brought together with others: soon, more and more rarely, and soon again when peers were lost."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._known = 0
        self._gap_s = ASK_GAP_S_MIN
        self._due_s = float("-inf")
        self._asked_s = float("-inf")

    def due(self, far_peers: int, now_s: float) -> bool:
        """Whether to ask now, as one who knows few; True counts as asked."""
        if far_peers < self._known:
            self._gap_s = ASK_GAP_S_MIN
            self._due_s = min(self._due_s, now_s + self._gap_s)
        self._known = far_peers
        if not 0 < far_peers < self._wanted or now_s < self._due_s:
            return False
        self._due_s = now_s + self._gap_s
        self._gap_s = min(2 * self._gap_s, ASK_GAP_S_MAX)
        self._asked_s = now_s
        return True

    def seeks(self, now_s: float) -> bool:
        """The same, as one who misses somebody in particular."""
        if now_s - self._asked_s < SEEK_GAP_S:
            return False
        self._asked_s = now_s
        return True
