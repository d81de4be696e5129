"""A small virtual network for many SwarmCores: an event heap, delays, loss, LANs. Test harness, not a
simulator."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from swarm.address import Address
from swarm.admission import Admission
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.effects import OpenStream, SendDatagram, SwarmEffect
from swarm.errors import RefusedError
from swarm.news.record import Record, Signature
from swarm.news.store import RecordStore
from swarm.seal import Keyring
from swarm.trust.trusted_set import TrustedSet

PORT = 47101
KEYRING = Keyring((bytes(range(32)),))
UDP_HEADER_BYTES = 28
FORGED = Signature(bytes(32), b"\xff" * 64)


def verdict(record: Record) -> None:
    """Stands in for signatures: everything is believed but what carries the mark of a forgery."""
    if FORGED in record.signatures:
        raise RefusedError("signature does not verify")


def manifest(sequence: int, body: bytes = b"news") -> Record:
    return Record("manifest", b"stable", sequence, body, (Signature(bytes(32), bytes(64)),))


def status(node_id: bytes, sequence: int, size_bytes: int = 300) -> Record:
    return Record("status", node_id, sequence, bytes(size_bytes), (Signature(bytes(32), bytes(64)),))


def node_id(number: int) -> bytes:
    return hashlib.sha256(b"node %d" % number).digest()[:20]


class Resident:
    """One node of the village, with what happened to it."""

    def __init__(
        self,
        village: Village,
        number: int,
        settings: SwarmSettings,
        site: str,
        lan: str,
        trusted: TrustedSet | None = None,
    ) -> None:
        self.address = Address(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}", PORT)
        self.lan = lan
        self.alive = True
        self.blobs: dict[tuple[str, bytes], bytes] = {}
        self.effects: list[tuple[float, SwarmEffect]] = []
        self.datagram_bytes = 0
        self.wakeups = 0
        self.next_wakeup_s = float("inf")
        self.trusted = trusted
        self.store = RecordStore(verdict if trusted is None else Admission(trusted).verdict)
        me = Me(node_id(number), f"n{number}", site, PORT, 47102)
        rng = random.Random(f"{village.seed}/{number}")
        self.core = SwarmCore(
            me,
            settings,
            KEYRING,
            self.store,
            lambda k, i: self.blobs.get((k, i)),
            rng,
            village.now_s,
            trusted=trusted,
        )

    def said(self, kind: type) -> list[Any]:
        return [effect for _, effect in self.effects if isinstance(effect, kind)]


class Village:
    """`loss` and `delay_s` hold for datagrams; streams take three delays, and fail if the other side is
    dead."""

    def __init__(self, seed: int, loss: float = 0.0, delay_s: tuple[float, float] = (0.02, 0.08)) -> None:
        self.seed = seed
        self.now_s = 0.0
        self.loss = loss
        self.delay_s = delay_s
        self.rng = random.Random(seed)
        self.residents: dict[Address, Resident] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.watch: Callable[[SwarmEffect], None] = lambda _effect: None
        self.cut: Callable[[Address, Address], bool] = lambda _a, _b: False
        self.reply_filter: Callable[[Resident, bytes], bytes | None] = lambda _peer, reply: reply

    def add(
        self,
        number: int,
        settings: SwarmSettings | None = None,
        site: str = "",
        lan: str = "",
        trusted: TrustedSet | None = None,
    ) -> Resident:
        """A new node; nodes of one non-empty `lan` hear each other's multicast. `trusted`: judge by real signatures."""
        resident = Resident(self, number, settings or SwarmSettings(beacon=bool(lan)), site, lan, trusted)
        self.residents[resident.address] = resident
        self._plan_wakeup(resident)
        return resident

    def do(self, resident: Resident, effects: Iterable[SwarmEffect]) -> None:
        """Carry out what a core asks for."""
        for effect in effects:
            self.watch(effect)
            match effect:
                case SendDatagram():
                    self._send(resident, effect)
                case OpenStream():
                    self._open(resident, effect)
                case _:
                    resident.effects.append((self.now_s, effect))
        self._plan_wakeup(resident)

    def run_until(self, end_s: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass to `end_s`, or until `done()`; returns `done()`."""
        while self._heap and self._heap[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
            if done():
                return True
        self.now_s = max(self.now_s, end_s)
        return done()

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time_s, next(self._order), action))

    def _delay(self) -> float:
        return self.rng.uniform(*self.delay_s)

    def _send(self, sender: Resident, effect: SendDatagram) -> None:
        size = len(effect.data) + UDP_HEADER_BYTES
        sender.datagram_bytes += size
        if effect.destination is not None:
            targets = [self.residents.get(effect.destination)]
        else:
            targets = [r for r in self.residents.values() if sender.lan and r.lan == sender.lan]
        for target in targets:
            if target is None or self.cut(sender.address, target.address):
                continue
            if self.rng.random() >= self.loss:
                self._deliver(sender, target, effect, size)

    def _deliver(self, sender: Resident, target: Resident, effect: SendDatagram, size: int) -> None:
        def arrive() -> None:
            if target.alive:
                target.datagram_bytes += size
                multicast = effect.destination is None
                self.do(
                    target,
                    target.core.on_datagram(effect.data, sender.address, self.now_s, multicast=multicast),
                )

        self.at(self.now_s + self._delay(), arrive)

    def _open(self, asker: Resident, effect: OpenStream) -> None:
        def serve() -> None:
            peer = self.residents.get(effect.peer)
            reply: bytes | None = None
            if peer is not None and peer.alive and not self.cut(asker.address, peer.address):
                reply, effects = peer.core.answer(
                    effect.request, Address(asker.address.host, 50000), self.now_s
                )
                reply = self.reply_filter(peer, reply)
                self.do(peer, effects)
            if reply:
                self.at(self.now_s + self._delay(), lambda: back(reply))
            else:
                self.at(self.now_s + effect.timeout_s, lambda: fail("no answer"))

        def back(reply: bytes) -> None:
            if asker.alive:
                self.do(asker, asker.core.on_stream_reply(effect.token, reply, self.now_s))

        def fail(why: str) -> None:
            if asker.alive:
                self.do(asker, asker.core.on_stream_failed(effect.token, why, self.now_s))

        self.at(self.now_s + 2 * self._delay(), serve)

    def _plan_wakeup(self, resident: Resident) -> None:
        due_s = resident.core.next_wakeup_s()
        if due_s == resident.next_wakeup_s or due_s == float("inf"):
            return
        resident.next_wakeup_s = due_s

        def wake() -> None:
            if resident.alive and resident.next_wakeup_s == due_s:
                resident.wakeups += 1
                resident.next_wakeup_s = float("inf")
                self.do(resident, resident.core.on_wakeup(self.now_s))

        self.at(max(self.now_s, due_s), wake)
