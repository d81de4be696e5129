"""A small swarm in the simulated world: a publisher, a victim, and somebody on their LAN who lies.

Cores, records and signatures are real; time, network, disks and firmware are virtual. At the beginning all run release 2, by
manifest 2 and root 2.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import Factory, define, frozen

from fruitd.updater.journal import Journal
from simulations.world.host import Host
from simulations.world.images import Behaviour, Image, next_image
from simulations.world.maintainer import Published
from simulations.world.scenario import Scenario
from simulations.world.surroundings import CONTROL_PORT, Surroundings
from simulations.world.world import World
from swarm.address import Address
from swarm.admission import Admission
from swarm.effects import Refused
from swarm.envelope import Envelope
from swarm.errors import RefusedError
from swarm.me import DIGEST_BYTES, HOLDING_BYTES, Hello, Me
from swarm.news.record import Record
from swarm.trust.trusted_set import TrustedSet
from swarm.wire import Datagram, Exchange, Get, No, Push, Records, Reply, Request, Sync, SyncReply
from tests.attacks.court import Court, key

BLOCKS = 8
START_S, SAY_S, INSTALL_S = 20.0, 8.0, 400.0
SCENARIO = Scenario(
    name="attacks", nodes=2, sites=1, translated_sites=0, contacts=1, image_blocks=BLOCKS, releases=(), start_spread_s=1.0,
    faults_s=0.0,
)  # fmt: skip
VILLAIN = 2
GUARDED_KINDS = frozenset({"root", "manifest", "fresh", "token", "revoke", "member"})


class EachJudged:
    """Admission without the world's memory: here two roots of one version may exist."""

    def of(self, trusted: TrustedSet) -> Callable[[Record], None]:
        """The verdict of one node's store."""
        return Admission(trusted).verdict


class Villain:
    """A computer on the LAN with the swarm key. Answers pings, and streams with whatever its script says."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self.identity = key("villain")
        self.keyring = world.keyring
        self.envelope = Envelope(world.keyring, random.Random("villain"))
        self.holdings: tuple[bytes, ...] = ()
        self.tells: tuple[Record, ...] = ()
        """What it says it knows when asked what is new, and hands over."""
        self.blobs: dict[tuple[str, bytes], Callable[[int, int], Reply | bytes]] = {}
        self.silent = False
        self.claims = b""
        """The node id it answers pings under, where that is not its own."""
        self.digest = b"\xff" * DIGEST_BYTES
        self.heard: list[bytes] = []
        self.asked: list[Request] = []
        self.asked_by: Counter[Address] = Counter()

    def listening(self) -> bool:
        """Always."""
        return True

    def powered(self) -> bool:
        """Always."""
        return True

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        """Keep what is heard, answer pings."""
        self.heard.append(data)
        try:
            message = self.envelope.open_datagram(data)
        except RefusedError:
            return
        if isinstance(message, Hello) and message.ping:
            self.send(source, self.hello(pong=message.ping))

    def answer(self, request: bytes, source: Address) -> bytes | None:
        """By the script."""
        exchange_id, asked = self.envelope.open_request(request)
        self.asked.append(asked)
        self.asked_by[source] += 1
        if self.silent:
            return None
        said = self._reply(asked)
        return said if isinstance(said, bytes) else self.envelope.seal_reply(exchange_id, said)

    def _reply(self, asked: Request) -> Reply | bytes:
        match asked:
            case Sync():
                rows = tuple((r.kind, r.key, r.sequence, r.content_hash[:8]) for r in self.tells)
                return SyncReply((), rows, ())
            case Exchange():
                return Records(self.tells)
            case Get(kind=kind, blob_id=blob_id, offset=offset, length=length):
                give = self.blobs.get((kind, blob_id))
                return No("not here") if give is None else give(offset, length)
            case _:
                return No("not me")

    def hello(self, pong: bytes = b"", ping: bytes = b"", node_id: bytes = b"", digest: bytes = b"") -> Hello:
        """What it says of itself."""
        me = Me(node_id or self.claims or self.identity.node_id, "villain", "site-0", CONTROL_PORT, 1)
        held = tuple(h[:HOLDING_BYTES] for h in self.holdings)
        told = digest or self.digest
        return Hello(me, told, held, ping=ping, pong=pong, wide=told)

    def send(self, destination: Address | None, message: Datagram) -> None:
        """A sealed datagram."""
        self.send_bytes(destination, self.envelope.seal_datagram(message))

    def send_bytes(self, destination: Address | None, data: bytes) -> None:
        """Any datagram."""
        self._world.network.send(VILLAIN, destination, data)

    def ask(
        self, peer: Address, request: Request, done: Callable[[Reply | None], None] = lambda _: None
    ) -> None:
        """Open a stream to a node."""
        exchange_id, sealed = self.envelope.seal_request(request)

        def answered(reply: bytes | None, why: str) -> None:
            done(None if reply is None else self.envelope.open_reply(exchange_id, reply))

        self._world.network.open_stream(VILLAIN, peer, sealed, 10.0, answered)


@frozen
class Touchable:
    """Of one node, what no lie may change."""

    journal: Journal | None
    slots: tuple[tuple[int, ...], ...]
    boots: tuple[Any, ...]
    written_blocks: int
    records: dict[tuple[str, bytes], tuple[bytes, ...]]

    @classmethod
    def of(cls, host: Host) -> Touchable:
        """As it is now."""
        machine = host.machine
        kept = {
            name: tuple(sorted(r.content_hash for r in records))
            for name, records in machine.disk.records.items()
            if name[0] in GUARDED_KINDS and records
        }
        assert host.node is not None
        held = {(k, e.records[0].key) for k in GUARDED_KINDS for e in host.node.store.entries(k)}
        assert held - {("root", host.node.trusted.root.key)} <= set(kept) | {
            (r.kind, r.key) for r in host.world.maintainer.roots
        }, "a node believes what it has not kept"
        boots = (machine.default, machine.armed, machine.active, machine.booted)
        slots = tuple(machine.slots[name].content() for name in ("a", "b"))
        return cls(machine.disk.journal, slots, boots, machine.written_blocks, kept)

    def differences(self, now: Touchable) -> list[str]:
        """What is not as it was, in words."""
        return [
            f"{name} was {getattr(self, name)!r:.300}, is {getattr(now, name)!r:.300}"
            for name in ("journal", "slots", "boots", "written_blocks", "records")
            if getattr(self, name) != getattr(now, name)
        ]


@define
class Stage:
    """One world, ready to be lied to."""

    world: World
    court: Court
    villain: Villain
    refused: list[Refused] = Factory(list)
    """By the victim, since the stage was set."""
    release: int = 0
    sequence: int = 0
    newest: Published | None = None
    old: list[Record] = Factory(list)
    """Good records that others have replaced."""

    @classmethod
    def set(cls) -> Stage:
        """Both nodes run release 2."""
        world = World(SCENARIO, 1)
        shared = world.surroundings
        shared.verdicts = EachJudged()  # type: ignore[assignment]
        court = Court(shared.maintainer)
        villain = Villain(shared)
        world.network.attach(VILLAIN, 0, CONTROL_PORT, villain)
        stage = cls(world, court, villain)
        stage.spy()
        for record in (*shared.maintainer.roots, court.token.terms):
            shared.checker.add_genuine(record)
        stage.pass_time(START_S)
        first = shared.maintainer.roots[0]
        stage.say(court.sign_root(court.next_root(2)))
        court.root = court.next_root(2)
        stage.good()
        assert stage.newest is not None
        old = [first, stage.newest.manifest]
        stage.good()
        stage.old = old
        stage.refused.clear()
        villain.send(None, villain.hello())
        stage.pass_time(1.0)
        return stage

    # ------------------------------------------------------------------ who is there

    @property
    def publisher(self) -> Host:
        """Where maintainers hand things in."""
        return self.world.hosts[0]

    @property
    def victim(self) -> Host:
        """Whom everybody lies to."""
        return self.world.hosts[1]

    @property
    def at(self) -> Address:
        """The victim's address."""
        return self.address_of(self.victim)

    def address_of(self, host: Host) -> Address:
        """Where a node is reached on the LAN."""
        return self.world.network._ports[host.number].address

    @property
    def current(self) -> Published:
        """What both run."""
        assert self.newest is not None
        return self.newest

    def spy(self) -> None:
        """Listen to what the victim refuses."""
        carry_out = self.victim.carry_out

        def spied(effects: Iterable[Any]) -> None:
            listed = list(effects)
            self.refused += [effect for effect in listed if isinstance(effect, Refused)]
            carry_out(listed)

        self.victim.carry_out = spied  # type: ignore[method-assign]

    # ------------------------------------------------------------------ what happens

    def now_s(self) -> float:
        """Calendar time of the maintainers."""
        return self.world.heap.now_s + self.publisher.firmware.clock_ahead_s

    def pass_time(self, seconds: float) -> None:
        """Let the world go on."""
        checker = self.world.checker
        self.world.heap.run_until(self.world.heap.now_s + seconds, stop=checker.has_violations)
        assert not checker.violations, [str(v) for v in checker.violations]

    def say(self, *records: Record) -> None:
        """Maintainers or operators publish these; they are genuine."""
        for record in records:
            self.world.surroundings.checker.add_genuine(record)
            self.offer(self.publisher, record)
        self.pass_time(SAY_S)

    def offer(self, host: Host, record: Record) -> None:
        """Hand a record to a node over its API; raises RefusedError."""
        assert host.core is not None
        host.carry_out(host.core.offer(record, host.steady_s())[1])

    def next_image(self, changed: float = 0.4) -> Image:
        """An image like the newest one."""
        before = self.newest.image if self.newest is not None else self.world.surroundings.factory
        return next_image(random.Random(f"image {self.release}"), before, changed, Behaviour.GOOD)

    def next_release(self) -> Published:
        """Signed, and not out yet."""
        self.release += 1
        self.sequence += 1
        return self.court.published(self.next_image(), self.release, self.sequence, self.now_s())

    def publish(self, published: Published) -> None:
        """Hand a release to the publisher."""
        self.world.surroundings.publish(published)
        host = self.publisher
        host.machine.disk.files[published.path] = published.image.blocks
        assert host.core is not None
        host.carry_out(
            host.core.publish(published.manifest, published.torrent, published.path, host.steady_s())
        )
        self.newest = published

    def runs(self, published: Published, hosts: Sequence[Host] | None = None) -> bool:
        """All run this image, committed."""
        return all(
            host.machine.active is not None
            and host.machine.holds(host.machine.active, published.image.blocks)
            and host.machine.default == host.machine.active
            and host.machine.disk.journal is not None
            and host.machine.disk.journal.highest_release == published.release
            for host in (self.world.hosts if hosts is None else hosts)
        )

    def good(self) -> Published:
        """The next good release is made and published, and every node takes it: installs it, boots it, keeps it."""
        published = self.next_release()
        self.publish(published)
        self.until(lambda: self.runs(published))
        self.pass_time(SAY_S)
        return published

    def until(self, reached: Callable[[], bool], within_s: float = INSTALL_S) -> None:
        """Let time pass until something holds."""
        end_s = self.world.heap.now_s + within_s
        while not reached():
            assert self.world.heap.now_s < end_s, (
                [str(h.machine.disk.journal) for h in self.world.hosts],
                [(r.what, r.why) for r in self.refused[-5:]],
            )
            self.pass_time(1.0)

    # ------------------------------------------------------------------ channels of a liar

    def push(self, *records: Record) -> None:
        """Eager news in datagrams."""
        for record in records:
            self.villain.send(self.at, Push(record))

    def exchange(self, *records: Record) -> None:
        """Given in a stream that the liar opens."""
        self.villain.ask(self.at, Exchange(records, ()))

    def reply(self, *records: Record) -> None:
        """Given in answer to the victim's own question: it asks whoever has something else than it had the last time."""
        self.villain.tells = records
        self.villain.digest = self.villain.asked_by.total().to_bytes(DIGEST_BYTES, "big")
        already = self.villain.asked_by[self.at]
        self.villain.send(self.at, self.villain.hello())
        self.until(lambda: self.villain.asked_by[self.at] > already)

    def local(self, *records: Record) -> None:
        """Handed in over the API of the victim, by somebody who got hold of its socket."""
        for record in records:
            try:
                self.offer(self.victim, record)
            except RefusedError as error:
                self.refused.append(Refused("record", str(error), "api", error.reason))

    def everywhere(self, *records: Record) -> None:
        """By every channel there is."""
        for channel in (self.push, self.exchange, self.reply, self.local):
            channel(*records)
            self.pass_time(1.0)
