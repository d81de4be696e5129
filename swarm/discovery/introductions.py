"""Addresses to knock at: contacts the owner configured, and hearsay, addresses that peers have told.

Neither is a peer before it has answered. Contacts are asked again with growing pauses until they answer, and
again when they are lost or nobody is left. Hearsay is asked twice and then forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from attrs import define

from swarm.address import Address

PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 60.0
"""Between knocks at a contact. Longer: a node whose uplink comes back stays alone longer; shorter: needless
traffic for the weeks in which a contact is gone."""
LOST_MAX = 64
"""Lost peers remembered; the oldest is forgotten first. More could bridge the loss of more; each costs a ping
in ten minutes."""
LOST_PAUSE_MIN_S = 30.0
LOST_PAUSE_MAX_S = 600.0
"""Between knocks at a lost peer. Longer: a healed network stays cut longer; shorter: traffic for what is gone
for good."""
LOST_TRIES_MAX = 400
"""At the longest pause almost three days."""
HEARSAY_MAX = 128
HEARSAY_KNOCKS = 2
HEARSAY_PAUSE_S = 2.0
HEARSAY_AT_ONCE = 4
"""Knocks at hearsay in each pause: a liar's list of 8 addresses turns this node into a source of two
datagrams a second for four seconds, not more."""


@define
class _Contact:
    tries: int = 0
    due_s: float = 0.0
    answered: bool = False


class Introductions:
    """Whom to ask, and when. `next_s` is when `due` has something to say."""

    def __init__(
        self, contacts: Iterable[Address], rng: random.Random, now_s: float, *, first_pause_s: float = 0.0
    ) -> None:
        self._rng = rng
        self._from_s = now_s + first_pause_s
        self._contacts: dict[Address, _Contact] = {}
        self._lost: dict[Address, _Contact] = {}
        self._hearsay: dict[Address, int] = {}
        self._hearsay_due_s = now_s
        self.set_contacts(contacts, now_s)

    def set_contacts(self, contacts: Iterable[Address], now_s: float) -> None:
        """Contacts may change while running: their names are looked up again by the shell."""
        wanted = list(dict.fromkeys(contacts))
        self._contacts = {
            address: self._contacts.get(address)
            or _Contact(due_s=max(now_s, self._from_s) + self._rng.uniform(0.0, 0.2))
            for address in wanted
        }

    def hear_of(self, addresses: Iterable[Address], now_s: float, *, at_once: bool = False) -> None:
        """Peers told of these; the newest are kept. `at_once`: they come before all others."""
        if at_once:
            before = self._hearsay
            self._hearsay = {a: before.pop(a, 0) for a in addresses if a not in self._contacts} | before
            while len(self._hearsay) > HEARSAY_MAX:
                self._hearsay.popitem()
            self._hearsay_due_s = now_s
            return
        if not self._hearsay:
            self._hearsay_due_s = max(self._hearsay_due_s, now_s)
        for address in addresses:
            if address not in self._contacts:
                self._hearsay.setdefault(address, 0)
        while len(self._hearsay) > HEARSAY_MAX:
            del self._hearsay[next(iter(self._hearsay))]

    def answered(self, address: Address) -> None:
        """Somebody answered there, be it this node itself: no more knocking."""
        self._hearsay.pop(address, None)
        self._lost.pop(address, None)
        contact = self._contacts.get(address)
        if contact is not None:
            contact.answered, contact.tries = True, 0

    def lost(self, address: Address, now_s: float) -> None:
        """The peer there is gone: it is asked again, in time."""
        contact = self._contacts.get(address)
        if contact is None:
            self._lost.setdefault(address, _Contact(due_s=now_s + LOST_PAUSE_MIN_S))
            while len(self._lost) > LOST_MAX:
                del self._lost[next(iter(self._lost))]
        elif contact.answered:
            contact.answered = False
            contact.due_s = now_s + PAUSE_MIN_S

    def alone(self, now_s: float) -> None:
        """No peer is left: all contacts are asked again, whoever answered for them."""
        for address in self._contacts:
            self.lost(address, now_s)

    def due(
        self, now_s: float, known: Callable[[Address], bool], *, want_more: bool, outside: bool = True
    ) -> list[Address]:
        """Addresses to send a ping to now.

        Args:
            known: whether a peer is there already.
            want_more: the table still has room for strangers.
            outside: this node speaks to other sites; otherwise contacts and hearsay are kept for the day it has to.
        """
        contacts = self._contacts.items() if outside else ()
        knocks = [
            address
            for address, contact in contacts
            if self._knock(address, contact, now_s, known, PAUSE_MIN_S, PAUSE_MAX_S)
        ]
        for address, lost in list(self._lost.items()):
            if self._knock(address, lost, now_s, known, LOST_PAUSE_MIN_S, LOST_PAUSE_MAX_S):
                knocks.append(address)
            if lost.answered or lost.tries > LOST_TRIES_MAX:
                del self._lost[address]
        if outside and self._hearsay and self._hearsay_due_s <= now_s:
            knocks += self._knock_at_hearsay(known, want_more=want_more)
            self._hearsay_due_s = now_s + HEARSAY_PAUSE_S
        return knocks

    def next_s(self, *, outside: bool = True) -> float:
        """When to call `due` next; infinity if there is nobody to ask."""
        asked = (*self._contacts.values(), *self._lost.values()) if outside else tuple(self._lost.values())
        waiting = [c.due_s for c in asked if not c.answered]
        if outside and self._hearsay:
            waiting.append(self._hearsay_due_s)
        return min(waiting, default=float("inf"))

    def _knock(
        self,
        address: Address,
        contact: _Contact,
        now_s: float,
        known: Callable[[Address], bool],
        pause_min_s: float,
        pause_max_s: float,
    ) -> bool:
        """True if it is time to ask there; sets the time of the next try."""
        if contact.answered or contact.due_s > now_s:
            return False
        if known(address):
            contact.answered = True
            return False
        pause_s = min(pause_max_s, pause_min_s * 2.0 ** min(contact.tries, 16))
        contact.tries += 1
        contact.due_s = now_s + pause_s * self._rng.uniform(0.75, 1.25)
        return True

    def _knock_at_hearsay(self, known: Callable[[Address], bool], *, want_more: bool) -> list[Address]:
        if not want_more:
            self._hearsay.clear()
            return []
        knocks: list[Address] = []
        for address, tries in list(self._hearsay.items()):
            if known(address) or tries >= HEARSAY_KNOCKS:
                del self._hearsay[address]
            elif len(knocks) < HEARSAY_AT_ONCE:
                self._hearsay[address] = tries + 1
                knocks.append(address)
        return knocks
