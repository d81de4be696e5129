"""The swarm core: who is out there, what is new, and who can give what. Pure; a shell or a simulated world
carries it.

It joins membership (hellos), news (store, push, comparison) and blobs. Every method takes the time, `now_s`,
which must never jump (a steady clock, any origin), and returns effects to be carried out in order.

Nothing a peer says is believed unsigned: hellos only decide whom to ask, records are verified by the store,
blobs prove themselves by their hash. Whatever is wrong with what a peer sent becomes a `Refused` effect.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from swarm.address import Address
from swarm.blobs import BlobFetches, Finished, Order
from swarm.comparison import Begin, Comparison, ComparisonPace
from swarm.discovery.acquaintances import Acquaintances
from swarm.discovery.peers import Peer, PeerInfo, sample
from swarm.effects import (
    BlobFetched,
    BlobUnavailable,
    OpenStream,
    PeersChanged,
    RecordForgotten,
    Refused,
    SendDatagram,
    SwarmEffect,
)
from swarm.envelope import Envelope
from swarm.errors import RefusedError
from swarm.intake import Intake
from swarm.me import HOLDING_BYTES, Hello, Me
from swarm.membership import Membership
from swarm.news.gossip import Fanouts, Path, Rounds, plan_push
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.seal import Keyring
from swarm.server import BlobSource, Server
from swarm.settings import SwarmSettings
from swarm.wire import Chunk, Exchange, Have, No, Push, Records, Reply, Request, SyncReply

__all__ = ["Me", "PeerInfo", "SwarmCore", "SwarmSettings"]

Effects: TypeAlias = list[SwarmEffect]

SEARCH_PEERS = 4
SEARCH_GAP_S = 2.0
"""While a blob has no source, this many far peers are asked every so often what they hold."""
WHO_ELSE_GAP_S = 10.0
"""And one is asked who else is there. Sooner costs more (about 1 KiB each time), later keeps a node without its image longer."""


class SwarmCore:
    """One node's view of the swarm.

    Args:
        me: what it says of itself.
        settings: pace and bounds.
        keyring: swarm keys.
        store: its records; already holds what was durable. Shared with the host, changed only here.
        blobs: what this node can give by hash, None if not at this moment. Called for each range: quick.
        rng: decides every choice. On a real node `random.SystemRandom()`, because nonces come from it.
        now_s: steady time of the start.
    """

    def __init__(
        self,
        me: Me,
        settings: SwarmSettings,
        keyring: Keyring,
        store: RecordStore,
        blobs: BlobSource,
        rng: random.Random,
        now_s: float,
    ) -> None:
        self._settings = settings
        self._store = store
        self._rng = rng
        self._envelope = Envelope(keyring, rng)
        self._members = Membership(me, settings, self._envelope, store.digest, rng, now_s)
        self._server = Server(store, blobs, self._members.table, rng)
        self._intake = Intake(store)
        self._rounds = Rounds(settings.hot_rounds_s, settings.pull_interval_s, rng, now_s)
        self._fanouts = Fanouts(settings.fanout, settings.status_fanout, settings.neighbour_fanout)
        self._fetches = BlobFetches(rng, window=settings.blob_window, give_up_s=settings.blob_give_up_s)
        self._search_due_s = float("-inf")
        self._acquaintances = Acquaintances(settings.pull_interval_s, settings.far_peers_wanted)
        self._who_else_due_s = float("-inf")
        self._pace = ComparisonPace()
        self._streams: dict[int, tuple[bytes, Comparison | Order]] = {}
        self._last_token = 0

    # ------------------------------------------------------------------ time

    def next_wakeup_s(self) -> float:
        """When `on_wakeup` wants to be called; calling it earlier does nothing, later delays what was due."""
        due_s = min(self._members.next_s, self._rounds.due_s, self._fetches.next_s)
        return min(due_s, self._search_due_s) if self._fetches.sourceless else due_s

    def on_wakeup(self, now_s: float) -> Effects:
        """Time has passed."""
        sends, lost = self._members.on_wakeup(now_s)
        effects: Effects = [*sends]
        if lost:
            effects.append(PeersChanged())
        if self._rounds.due_s <= now_s:
            effects += self._compare_round(now_s)
        if self._fetches.next_s <= now_s or self._fetches.sourceless:
            effects += self._work_on_blobs(now_s)
        return effects

    # ------------------------------------------------------------------ datagrams

    def on_datagram(self, data: bytes, source: Address, now_s: float, *, multicast: bool = False) -> Effects:
        """A datagram came from `source`; `multicast` if it came to the beacon group."""
        try:
            message = self._envelope.open_datagram(data)
        except RefusedError as error:
            return [Refused("datagram", str(error), str(source))]
        match message:
            case Hello():
                return self._on_hello(message, source, now_s, multicast=multicast)
            case Push(record=record):
                path = Path.MULTICAST if multicast else Path.UNICAST
                return self._take_in([record], source, path, now_s)[1]
            case Have():
                return self._on_have(message, source, now_s)

    def _on_hello(self, hello: Hello, source: Address, now_s: float, *, multicast: bool) -> Effects:
        greeting = self._members.on_hello(hello, source, now_s, multicast=multicast)
        effects: Effects = [*greeting.sends]
        if greeting.changed:
            effects.append(PeersChanged())
        if greeting.compare_with is not None:
            effects += self._compare_with(greeting.compare_with, now_s)
        if greeting.changed and self._fetches.sourceless:
            effects += self._work_on_blobs(now_s)
        return effects

    def _on_have(self, have: Have, source: Address, now_s: float) -> Effects:
        wanted = self._store.wanted([(have.kind, have.key, have.sequence, have.hash8)])
        if not wanted or self._pace.crowded or self._pace.busy_with(source):
            return []
        talk = Comparison(b"", source, b"", wants=wanted)
        exchange = talk.next_exchange()
        return [] if exchange is None else [self._ask(talk, source, exchange)]

    # ------------------------------------------------------------------ records

    def publish(self, record: Record, now_s: float) -> Effects:
        """Take in a record made on this machine and spread it; raises `RefusedError` if it is not to be believed."""
        news, effects = self._intake.publish(record)
        return effects + self._spread(record, None, Path.LOCAL, now_s) if news else effects

    def prune(self, wall_s: float) -> Effects:
        """Drop expired records. `wall_s`: calendar time, seconds since 1970, never below the clock's floor."""
        return [RecordForgotten(kind, key) for kind, key in self._store.prune(wall_s)]

    def _take_in(
        self, records: Iterable[Record], source: Address, path: Path, now_s: float
    ) -> tuple[int, Effects]:
        """Offer what a peer gave; the number of records that were news."""
        count = 0
        effects: Effects = []
        for record in records:
            news, outcome = self._intake.offer(record, str(source))
            effects += outcome
            if news:
                count += 1
                effects += self._spread(record, source, path, now_s)
        return count, effects

    def _spread(self, record: Record, source: Address | None, path: Path, now_s: float) -> Effects:
        urgent = record.kind in self._settings.urgent_kinds
        if urgent:
            self._rounds.heat(now_s)
        neighbours = self._members.neighbours(now_s)
        plan = plan_push(
            path, len(neighbours), self._fanouts, self._rng, urgent=urgent, beacon=self._settings.beacon
        )
        data = self._envelope.seal_datagram(self._intake.telling(record))

        def is_source(peer: Peer) -> bool:
            return peer.info.address == source

        told = sample(neighbours, plan.neighbours, self._rng, is_source)
        if plan.far:
            told += sample(self._members.far(now_s), plan.far, self._rng, is_source)
        effects: Effects = [SendDatagram(None, data)] if plan.multicast else []
        return effects + [SendDatagram(peer.info.address, data) for peer in told]

    # ------------------------------------------------------------------ comparing stores

    def _compare_round(self, now_s: float) -> Effects:
        hot = self._rounds.passed(now_s)
        if hot:
            self._members.announce(now_s)
        far = self._members.far(now_s)
        chosen = sample(far, self._settings.hot_peers if hot else 1, self._rng)
        effects: Effects = [*self._members.ask(chosen, now_s)]
        if self._acquaintances.wants_more(len(far), now_s):
            effects += self._ask_who_else(far, now_s)
        return effects

    def _compare_with(self, peer: Peer, now_s: float) -> Effects:
        verdict = self._pace.may_begin(peer, self._store.digest(), now_s)
        if verdict is Begin.LATER:
            self._members.doubt(peer, now_s + self._rng.uniform(0.5, 1.5))
        if verdict is not Begin.NOW:
            return []
        talk = Comparison(peer.info.node_id, peer.info.address, peer.digest or b"")
        return [self._ask(talk, talk.address, talk.begin(self._store))]

    def _on_comparison(self, talk: Comparison, reply: Reply, now_s: float) -> Effects:
        effects: Effects = []
        following: Request | None = None
        failed = False
        match reply:
            case SyncReply():
                self._members.hear_of(reply.peers, now_s)
                following = talk.compared(reply, self._store, self._settings.urgent_kinds)
            case Records(records=records):
                count, effects = self._take_in(records, talk.address, Path.COMPARED, now_s)
                talk.changed = talk.changed or count > 0
                talk.taken += count
                following = talk.exchanged(records, self._store)
            case Chunk():
                effects = [Refused("stream", "a chunk answers no comparison", str(talk.address))]
                failed = True
            case No():
                failed = True
        if following is not None:
            return [*effects, self._ask(talk, talk.address, following)]
        self._end_comparison(talk, now_s, failed=failed)
        return effects

    def _end_comparison(self, talk: Comparison, now_s: float, *, failed: bool = False) -> None:
        if talk.taken:
            self._members.announce(now_s)
        peer = self._members.table.get(talk.node_id)
        again_s = self._pace.ended(talk, peer, self._store.digest(), failed=failed)
        if again_s is not None and peer is not None:
            self._members.doubt(peer, now_s + again_s * self._rng.uniform(0.75, 1.25))

    # ------------------------------------------------------------------ streams

    def on_stream_reply(self, token: int, reply: bytes, now_s: float) -> Effects:
        """The reply to the `OpenStream` of this token."""
        if token not in self._streams:
            return []
        exchange_id, purpose = self._streams.pop(token)
        try:
            message = self._envelope.open_reply(exchange_id, reply)
        except RefusedError as error:
            refused = Refused("stream", str(error), str(purpose.address))
            return [refused, *self._stream_over(purpose, str(error), now_s, garbage=True)]
        if isinstance(purpose, Comparison):
            return self._on_comparison(purpose, message, now_s)
        return self._on_range(purpose, message, now_s)

    def on_stream_failed(self, token: int, why: str, now_s: float) -> Effects:
        """No reply came; `why` is for people. Whether the peer is still there at all is asked at once."""
        if token not in self._streams:
            return []
        _, purpose = self._streams.pop(token)
        peer = self._members.table.get(purpose.node_id)
        asked: Effects = [*self._members.ask([peer], now_s)] if peer is not None and not peer.strikes else []
        return asked + self._stream_over(purpose, why, now_s, garbage=False)

    def _stream_over(self, purpose: Comparison | Order, why: str, now_s: float, *, garbage: bool) -> Effects:
        if isinstance(purpose, Comparison):
            self._end_comparison(purpose, now_s, failed=True)
            return []
        if garbage:
            self._fetches.lied(purpose, why, now_s)
        else:
            self._fetches.failed(purpose, why, now_s)
        return self._work_on_blobs(now_s)

    def _ask(self, purpose: Comparison | Order, address: Address, request: Request) -> OpenStream:
        if isinstance(purpose, Comparison):
            self._pace.began(address)
        exchange_id, frame = self._envelope.seal_request(request)
        self._last_token += 1
        self._streams[self._last_token] = (exchange_id, purpose)
        return OpenStream(self._last_token, address, frame, self._settings.stream_timeout_s)

    def answer(self, request: bytes, source: Address, now_s: float) -> tuple[bytes, Effects]:
        """Serve one stream request. An empty reply means: close without a word, this was not one of us."""
        try:
            exchange_id, message = self._envelope.open_request(request)
        except RefusedError as error:
            return b"", [Refused("stream", str(error), str(source))]
        effects: Effects = []
        if isinstance(message, Exchange):
            effects += self._take_in(message.records, source, Path.COMPARED, now_s)[1]
        reply, wanted = self._server.reply(message, source, now_s)
        effects += wanted
        return self._envelope.seal_reply(exchange_id, reply), effects

    # ------------------------------------------------------------------ blobs

    def fetch_blob(
        self, kind: str, blob_id: bytes, size_bytes: int, holders_of: bytes, now_s: float
    ) -> Effects:
        """Get a blob by its hash from peers, those first that hold the image `holders_of` (infohash).

        Ends in `BlobFetched` or `BlobUnavailable`, unless cancelled. Asking again for one under way prolongs
        it.
        """
        failed = self._fetches.start(kind, blob_id, size_bytes, holders_of, now_s)
        if failed is not None:
            return [_ended(failed)]
        return self._work_on_blobs(now_s)

    def cancel_blob(self, kind: str, blob_id: bytes) -> None:
        """Stop fetching it; nothing more is said about it."""
        self._fetches.cancel(kind, blob_id)

    def _work_on_blobs(self, now_s: float) -> Effects:
        orders, finished = self._fetches.orders(now_s, self._blob_candidates)
        effects: Effects = [_ended(end) for end in finished]
        effects += [self._ask(order, order.address, order.get) for order in orders]
        if self._fetches.sourceless and self._search_due_s <= now_s:
            self._search_due_s = now_s + SEARCH_GAP_S
            chosen = sample(self._members.far(now_s), SEARCH_PEERS, self._rng)
            effects += self._members.ask(chosen, now_s)
            effects += self._ask_who_else(self._members.table.all(), now_s)
        return effects

    def _ask_who_else(self, among: Sequence[Peer], now_s: float) -> Effects:
        """Whoever has what is looked for may be nobody we have met: a comparison of stores tells of other peers too."""
        peers = sample(among, 1, self._rng)
        if not peers or now_s < self._who_else_due_s or self._pace.busy_with(peers[0].info.address):
            return []
        self._who_else_due_s = now_s + WHO_ELSE_GAP_S
        talk = Comparison(peers[0].info.node_id, peers[0].info.address, peers[0].digest or b"")
        return [self._ask(talk, talk.address, talk.begin(self._store))]

    def _blob_candidates(self, infohash: bytes) -> list[PeerInfo]:
        """Holders first, at random within each distance so that no holder gets everybody; then anyone."""
        peers = self._members.table.all()
        self._rng.shuffle(peers)
        holding = infohash[:HOLDING_BYTES]
        peers.sort(key=lambda p: (holding not in p.info.holdings, p.strikes > 0, not p.info.same_site))
        return [peer.info for peer in peers]

    def _on_range(self, order: Order, reply: Reply, now_s: float) -> Effects:
        effects: Effects = []
        match reply:
            case Chunk(size_bytes=size_bytes, data=data):
                finished = self._fetches.arrived(order, size_bytes, data, now_s)
                if finished is not None:
                    effects.append(_ended(finished))
                elif self._fetches.called_liar(order):
                    name = order.blob_id.hex()[:16]
                    effects.append(
                        Refused("blob", f"{order.kind} {name} does not match its hash", str(order.address))
                    )
            case No(why=why):
                self._fetches.refused(order, why, now_s)
            case _:
                self._fetches.lied(order, "answered something else", now_s)
                effects.append(Refused("stream", "no chunk where one was asked for", str(order.address)))
        return effects + self._work_on_blobs(now_s)

    # ------------------------------------------------------------------ peers

    def set_holdings(self, infohashes: Sequence[bytes], now_s: float) -> Effects:
        """What images this node serves, whole or in part; peers are told. Only the first 16 are."""
        self._members.set_holdings(infohashes, now_s)
        return []

    def set_contacts(self, contacts: Sequence[Address], now_s: float) -> Effects:
        """The configured contacts, their names looked up again."""
        self._members.set_contacts(contacts, now_s)
        return []

    def hear_of(self, addresses: Sequence[Address], now_s: float) -> Effects:
        """Addresses where peers may be, such as those known before a restart; each is asked before it counts."""
        self._members.hear_of(addresses, now_s)
        return []

    def seek_holders(self, infohash: bytes, now_s: float) -> Effects:
        """Ask some peers that are not known to serve this image what they hold: somebody wants it now."""
        effects: Effects = [*self._members.seek(infohash[:HOLDING_BYTES], now_s)]
        return (
            effects
            if self.holders(infohash)
            else effects + self._ask_who_else(self._members.table.all(), now_s)
        )

    def holders(self, infohash: bytes) -> list[PeerInfo]:
        """Peers that say they serve this image, best first: same site before others."""
        return [peer.info for peer in self._members.table.holders(infohash[:HOLDING_BYTES])]

    def peers(self) -> list[PeerInfo]:
        """All peers, in the order in which they were first heard."""
        return [peer.info for peer in self._members.table.all()]


def _ended(finished: Finished) -> BlobFetched | BlobUnavailable:
    if finished.data is None:
        return BlobUnavailable(finished.kind, finished.blob_id, finished.why)
    return BlobFetched(finished.kind, finished.blob_id, finished.data)
