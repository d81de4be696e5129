"""The node's part in the distributed hash table: what `swarm.shell.dht` needs of a daemon, and how it stands, for people."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fruitd.logs import get_logger
from swarm.address import Address
from swarm.core import PeerInfo
from swarm.discovery.dht.finding import Finding
from swarm.discovery.dht.plan import Situation
from swarm.effects import TableHeard
from swarm.shell.dht import DhtShell
from swarm.wire import Datagram

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

log = get_logger(room="dht")
SEED_PEERS_MAX = 4
"""Peers beyond the LAN that a lookup begins with, besides the contacts."""
SEED_CONTACTS_MAX = 8
"""Contacts that it begins with, drawn anew each time: of five that are configured, one that works is always asked."""


class Dht:
    """Implements `swarm.shell.dht.Surroundings` on a running daemon; None of it moves where the table is switched off."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.store = daemon.core.store
        self._rng = random.SystemRandom()
        self._contacts: list[Address] = []
        self._words = ""
        port = daemon.core.swarm.me.control_port
        node = daemon.config.node
        self.shell = DhtShell(
            daemon.identity.node_id, port, node.channel, self, daemon.reach, self._rng, daemon.time.now_s
        )

    async def run(self) -> None:
        """Take part until cancelled; return at once where that is switched off."""
        if self._daemon.config.dht.enabled:
            await self.shell.run()

    def heard(self, effect: TableHeard) -> None:
        """A message for the table."""
        if self._daemon.config.dht.enabled:
            self.shell.heard(effect.message, effect.source)

    def set_contacts(self, contacts: Sequence[Address]) -> None:
        """The configured contacts, looked up."""
        self._contacts = list(contacts)
        self.shell.changed()

    # ------------------------------------------------------------------ what the table asks for

    def say(self, message: Datagram, destination: Address) -> None:
        """See `Surroundings`."""
        self._daemon.submit([self._daemon.core.swarm.say(message, destination)])

    def hear_of(self, addresses: Sequence[Address]) -> None:
        """See `Surroundings`."""
        daemon = self._daemon
        daemon.core.swarm.hear_of(addresses, daemon.time.now_s())
        daemon.submit([])  # it may want to wake earlier now

    def found(self, finding: Finding) -> None:
        """See `Surroundings`. The first and whatever is new is logged."""
        if finding.words != self._words:
            self._words = finding.words
            log.info("looked into the table", why=finding.words, sequence=finding.sequence)

    def situation(self) -> Situation:
        """See `Surroundings`."""
        swarm = self._daemon.core.swarm
        far = sum(not peer.same_site for peer in swarm.peers())
        return Situation(far, swarm.speaks(), len(self._contacts) + far)

    def seeds(self) -> list[Address]:
        """See `Surroundings`."""
        contacts = self._rng.sample(self._contacts, min(SEED_CONTACTS_MAX, len(self._contacts)))
        far = [peer for peer in self._daemon.core.swarm.peers() if not peer.same_site]
        return contacts + [peer.address for peer in self._drawn(far)]

    def _drawn(self, peers: list[PeerInfo]) -> list[PeerInfo]:
        return self._rng.sample(peers, min(SEED_PEERS_MAX, len(peers)))

    # ------------------------------------------------------------------ for people

    def reach_words(self) -> str:
        """Whether and where others reach this node."""
        daemon, now_s = self._daemon, self._daemon.time.now_s()
        if daemon.core.swarm.shut_in(now_s):
            return "shut in: datagrams (UDP) do not get out, this node speaks to other sites by streams (TCP)"
        return daemon.reach.words(now_s)

    def as_json(self) -> dict[str, Any]:
        """See docs/api.md, status."""
        view, enabled = self.shell.view(), self._daemon.config.dht.enabled
        newest = view.newest
        return {
            "state": "off" if not enabled else "awake" if view.awake else "asleep",
            "contacts": view.contacts,
            "open": view.open,
            "reach": self.reach_words(),
            "newest": None
            if newest is None
            else {
                "sequence": newest.sequence,
                "why": newest.words,
                "asked": newest.asked,
                "answered": newest.answered,
            },
        }

    def finding(self) -> tuple[bool, str, str]:
        """As `fruit doctor` has it: is it well, what was found, what to do."""
        view = self.shell.view()
        if not self._daemon.config.dht.enabled:
            return True, "switched off by [dht] enabled", ""
        if not view.awake:
            return True, "asleep: this LAN is enough, or there is nobody to begin with", ""
        words = f"{view.contacts} contacts" + (f"; {view.newest.words}" if view.newest else "")
        do = "check [swarm] contacts, and that the control port gets through, UDP; news from peers is not affected"
        return view.newest is None or view.newest.answered > 0, words, do
