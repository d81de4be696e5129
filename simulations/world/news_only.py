"""A large swarm in which only news moves: swarm cores without updaters, slots and statuses, to see how far and how fast.

A thousand whole nodes would hold a million status records between them, which is their business and not the manifest's.
"""

from __future__ import annotations

from attrs import frozen

from simulations.world.heap import Dice, Heap
from simulations.world.images import first_image
from simulations.world.maintainer import HARDWARE, Maintainer
from simulations.world.network import Network, Weather
from simulations.world.report import Spread, spread
from simulations.world.surroundings import CONTROL_PORT, Verdicts
from simulations.world.trace import Trace
from swarm.address import Address
from swarm.core import SwarmCore, SwarmSettings
from swarm.effects import OpenStream, RecordAccepted, SendDatagram, SwarmEffect
from swarm.me import Me
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.seal import Keyring
from swarm.trust.keys import SecretKey
from swarm.trust.root import read_root
from swarm.trust.trusted_set import TrustedSet

CONTACTS = 3
START_SPREAD_S = 60.0
PUBLISHED_AT_S = 300.0
"""By then the nodes know each other and have nothing to talk about."""


@frozen
class Arrival:
    """How a manifest spread, and what the nodes sent and received in the quiet before it."""

    spread: Spread
    idle_bytes_per_node_s: float
    trace: str


class _Ear:
    """A node that only listens and passes on."""

    def __init__(self, town: Town, number: int) -> None:
        self.town = town
        self.number = number
        self.core: SwarmCore | None = None
        self.heard_s: float | None = None
        self._wake_at_s = float("inf")

    def switch_on(self) -> None:
        """Begin."""
        town = self.town
        key = SecretKey(town.dice.bytes_for("identity", self.number), "identity")
        me = Me(key.node_id, f"n{self.number}", "", CONTROL_PORT, 0)
        store = RecordStore(town.verdicts.of(town.trusted))
        rng = town.dice.named("core", self.number)
        settings = SwarmSettings(contacts=town.contacts)
        self.core = SwarmCore(
            me, settings, town.keyring, store, lambda kind, name: None, rng, town.heap.now_s
        )
        self.carry_out([])

    def listening(self) -> bool:
        """Is it on?"""
        return self.core is not None

    def powered(self) -> bool:
        """Is it on?"""
        return self.core is not None

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        """A datagram has come."""
        if self.core is not None:
            self.carry_out(self.core.on_datagram(data, source, self.town.heap.now_s, multicast=multicast))

    def answer(self, request: bytes, source: Address) -> bytes | None:
        """A stream request has come."""
        if self.core is None:
            return None
        reply, effects = self.core.answer(request, source, self.town.heap.now_s)
        self.carry_out(effects)
        return reply

    def publish(self, record: Record) -> None:
        """Take in a record made here."""
        assert self.core is not None
        self.carry_out(self.core.publish(record, self.town.heap.now_s))

    def carry_out(self, effects: list[SwarmEffect]) -> None:
        """Send, dial, note what is new, and plan the next waking."""
        for effect in effects:
            match effect:
                case SendDatagram(destination=destination, data=data):
                    self.town.network.send(self.number, destination, data)
                case OpenStream():
                    self._open_stream(effect)
                case RecordAccepted():
                    self.heard_s = self.town.heap.now_s
        assert self.core is not None
        due_s = max(self.core.next_wakeup_s(), self.town.heap.now_s)
        if due_s < self._wake_at_s:
            self._wake_at_s = due_s
            self.town.heap.at(due_s, self._wake, due_s)

    def _wake(self, planned_s: float) -> None:
        if planned_s == self._wake_at_s and self.core is not None:
            self._wake_at_s = float("inf")
            self.carry_out(self.core.on_wakeup(self.town.heap.now_s))

    def _open_stream(self, effect: OpenStream) -> None:
        def done(reply: bytes | None, why: str) -> None:
            assert self.core is not None
            now_s = self.town.heap.now_s
            if reply is None:
                self.carry_out(self.core.on_stream_failed(effect.token, why, now_s))
            else:
                self.carry_out(self.core.on_stream_reply(effect.token, reply, now_s))

        self.town.network.open_stream(
            self.number, effect.peer, effect.request, effect.timeout_s, done, effect.datagrams_to
        )


class Town:
    """Many nodes in sites of equal size; half of the sites are behind translators."""

    def __init__(self, nodes: int, sites: int, loss: float, seed: int) -> None:
        self.heap = Heap()
        self.dice = Dice(seed)
        self.trace = Trace()
        self.network = Network(self.heap, self.dice, self.trace, Weather(loss=loss, wan_delay_s_min=0.02))
        self.maintainer = Maintainer(self.dice)
        self.trusted = TrustedSet(read_root(self.maintainer.roots[0]))
        self.verdicts = Verdicts()
        self.keyring = Keyring((self.dice.bytes_for("swarm key"),))
        self.contacts: tuple[Address, ...] = ()
        self.ears = [_Ear(self, number) for number in range(nodes)]
        for site in range(sites):
            self.network.add_site(translated=site >= sites - sites // 2)
        starts = self.dice.named("starts")
        for ear in self.ears:
            site = ear.number * sites // nodes
            address = self.network.attach(ear.number, site, CONTROL_PORT, ear)
            if ear.number < CONTACTS:
                self.contacts += (address,)
            self.heap.at(starts.uniform(0.0, START_SPREAD_S), ear.switch_on)

    def manifest_arrival(self, patience_s: float = 120.0) -> Arrival:
        """Let the town settle, publish one manifest through a random node, and see whom it reaches when."""
        half_s = PUBLISHED_AT_S / 2
        self.heap.run_until(half_s)
        before = self._traffic_bytes()
        self.heap.run_until(PUBLISHED_AT_S)
        idle = (self._traffic_bytes() - before) / len(self.ears) / half_s
        image = first_image(self.dice.named("image"), 64)
        record = self.maintainer.sign(1, image, (HARDWARE,), self.heap.now_s).manifest
        publisher = self.dice.named("publisher").randrange(len(self.ears))
        self.ears[publisher].publish(record)
        end_s = PUBLISHED_AT_S + patience_s
        while self.heap.now_s < end_s and any(ear.heard_s is None for ear in self.ears):
            self.heap.run_until(self.heap.now_s + 1.0)
        delays = [ear.heard_s - PUBLISHED_AT_S for ear in self.ears if ear.heard_s is not None]
        return Arrival(spread(delays, len(self.ears)), idle, self.trace.hexdigest())

    def _traffic_bytes(self) -> int:
        return sum(t.sent_bytes + t.received_bytes for t in self.network.traffic.values())
