"""Addresses to knock at: contacts the owner configured, and hearsay, addresses that peers have told.

Neither is a peer before it has answered. Contacts are asked again with growing pauses until they answer, and
again when they are lost or nobody is left. Hearsay is asked twice and then forgotten. Of other sites it is kept for the day on
which this node speaks to them; of the own site it is always asked, since multicast may reach a part of it only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

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
MATES_AT_ONCE = 1
"""The same within the site, where each node asks and not only those who speak: a hundred that were lied to by one of
theirs send no more than 13 kB/s together."""


@define
class _Contact:
    tries: int = 0
    due_s: float = 0.0
    answered: bool = False


class _Hearsay:
    """Addresses that peers told, and how often each has been asked."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._tries: dict[Address, int] = {}
        self._sought: set[Address] = set()
        self._due_s = float("-inf")

    @property
    def next_s(self) -> float:
        return self._due_s if self._tries else float("inf")

    def add(self, addresses: Sequence[Address], now_s: float, *, first: bool = False) -> None:
        """The newest are kept, or with `first` those told now; they are then asked before all others, and at once."""
        if first:
            before = self._tries
            self._tries = {address: before.pop(address, 0) for address in addresses} | before
            while len(self._tries) > HEARSAY_MAX:
                self._tries.popitem()
            self._sought = self._sought.union(addresses) & self._tries.keys()
            self._due_s = now_s
            return
        if not self._tries:
            self._due_s = max(self._due_s, now_s)
        for address in addresses:
            self._tries.setdefault(address, 0)
        while len(self._tries) > HEARSAY_MAX:
            del self._tries[next(iter(self._tries))]

    def drop(self, address: Address) -> None:
        self._tries.pop(address, None)

    def clear(self) -> None:
        self._tries.clear()

    def tries(self, address: Address) -> int:
        return self._tries.get(address, 0)

    def is_sought(self, address: Address) -> bool:
        """It was told as the place of somebody in particular."""
        return address in self._sought

    def due(self, now_s: float, known: Callable[[Address], bool]) -> list[Address]:
        """Whom to knock at now; nobody before `next_s`."""
        if self.next_s > now_s:
            return []
        self._due_s = now_s + HEARSAY_PAUSE_S
        knocks: list[Address] = []
        for address, tries in list(self._tries.items()):
            if known(address) or tries >= HEARSAY_KNOCKS:
                del self._tries[address]
            elif len(knocks) < self._at_once:
                self._tries[address] = tries + 1
                knocks.append(address)
        return knocks


class Introductions:
    """Whom to ask, and when. `next_s` is when `due` has something to say."""

    def __init__(
        self, contacts: Iterable[Address], rng: random.Random, now_s: float, *, first_pause_s: float = 0.0
    ) -> None:
        self._rng = rng
        self._from_s = now_s + first_pause_s
        self._contacts: dict[Address, _Contact] = {}
        self._lost: dict[Address, _Contact] = {}
        self._far = _Hearsay(HEARSAY_AT_ONCE)
        self._mates = _Hearsay(MATES_AT_ONCE)
        self.set_contacts(contacts, now_s)

    def set_contacts(self, contacts: Iterable[Address], now_s: float) -> None:
        """Contacts may change while running: their names are looked up again by the shell."""
        wanted = list(dict.fromkeys(contacts))
        self._contacts = {
            address: self._contacts.get(address)
            or _Contact(due_s=max(now_s, self._from_s) + self._rng.uniform(0.0, 0.2))
            for address in wanted
        }

    def hear_of(
        self, addresses: Iterable[Address], now_s: float, *, at_once: bool = False, mates: bool = False
    ) -> None:
        """Peers told of these; the newest are kept. `at_once`: they come before all others; `mates`: of the own site."""
        if mates:
            self._mates.add([*addresses], now_s)
        else:
            self._far.add([a for a in addresses if a not in self._contacts], now_s, first=at_once)

    def answered(self, address: Address) -> None:
        """Somebody answered there, be it this node itself: no more knocking."""
        self._far.drop(address)
        self._mates.drop(address)
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
        self,
        now_s: float,
        known: Callable[[Address], bool],
        *,
        want_more: bool,
        outside: bool = True,
        deaf: bool = False,
    ) -> list[Address]:
        """Addresses to send a ping to now.

        Args:
            known: whether a peer is there already.
            want_more: the table still has room for strangers.
            outside: this node speaks to other sites; otherwise contacts and their hearsay are kept for the day it has to.
            deaf: multicast does not reach all of the site: a contact may be a mate. Asked as rarely as the lost, because
                all nodes of the site do it, over one line.
        """
        pauses_s = (PAUSE_MIN_S, PAUSE_MAX_S) if outside else (LOST_PAUSE_MIN_S, LOST_PAUSE_MAX_S)
        contacts = self._contacts.items() if outside or deaf else ()
        knocks = [
            address for address, contact in contacts if self._knock(address, contact, now_s, known, *pauses_s)
        ]
        for address, lost in list(self._lost.items()):
            if self._knock(address, lost, now_s, known, LOST_PAUSE_MIN_S, LOST_PAUSE_MAX_S):
                knocks.append(address)
            if lost.answered or lost.tries > LOST_TRIES_MAX:
                del self._lost[address]
        if outside:
            if not want_more:
                self._far.clear()
            knocks += self._far.due(now_s, known)
        return knocks + self._mates.due(now_s, known)

    def tries(self, address: Address) -> int:
        """How often it was knocked at in vain."""
        asked = self._contacts.get(address) or self._lost.get(address)
        return asked.tries if asked is not None else self._far.tries(address)

    def is_contact(self, address: Address) -> bool:
        """The owner named it."""
        return address in self._contacts

    def is_sought(self, address: Address) -> bool:
        """Somebody in particular is said to be there."""
        return self._far.is_sought(address)

    def next_s(self, *, outside: bool = True, deaf: bool = False) -> float:
        """When to call `due` next; infinity if there is nobody to ask."""
        asked = [*self._lost.values(), *(self._contacts.values() if outside or deaf else ())]
        waiting = [c.due_s for c in asked if not c.answered]
        hearsay_s = min(self._mates.next_s, self._far.next_s if outside else float("inf"))
        return min(hearsay_s, min(waiting, default=float("inf")))

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
