"""The swarm core: who is out there, what is new, and who can give what. Pure; a shell or a simulated world
carries it.

It joins presence (hellos), news (store, push, comparison) and blobs. Every method takes the time, `now_s`,
which must never jump (a steady clock, any origin), and returns effects to be carried out in order.

Nothing a peer says is believed unsigned: hellos only decide whom to ask, records are verified by the store,
blobs prove themselves by their hash. Whatever is wrong with what a peer sent becomes a `Refused` effect.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from swarm.address import Address
from swarm.comparison import Begin, Comparison, ComparisonPace
from swarm.discovery.acquaintances import Acquaintances
from swarm.discovery.dht.messages import Ask, Told
from swarm.discovery.meeting import Dial, Go, Meet
from swarm.discovery.peers import Peer, PeerInfo, sample
from swarm.effects import (
    CarryTunnel,
    OpenStream,
    PeersChanged,
    RecordForgotten,
    Refused,
    SendDatagram,
    SwarmEffect,
    TableHeard,
)
from swarm.envelope import Envelope
from swarm.errors import Reason, RefusedError
from swarm.intake import Intake
from swarm.me import Hello, Me
from swarm.meetings import Meetings
from swarm.news.gossip import Fanouts, Path, Rounds, plan_push
from swarm.news.record import Record
from swarm.news.store import RecordStore, Standing
from swarm.obtaining import Obtaining, Purpose, Seeking
from swarm.presence import Presence
from swarm.roll import Roll
from swarm.seal import Keyring
from swarm.server import BlobSource, Server
from swarm.settings import SwarmSettings
from swarm.trust.trusted_set import TrustedSet
from swarm.wire import (
    Chunk,
    Datagram,
    Exchange,
    Have,
    Holders,
    No,
    PingFor,
    Push,
    Records,
    Reply,
    Request,
    Suspicion,
    SyncReply,
    Tunnel,
    Word,
)

__all__ = ["Me", "PeerInfo", "SwarmCore", "SwarmSettings"]

Effects: TypeAlias = list[SwarmEffect]


class SwarmCore(Obtaining):
    """One node's view of the swarm.

    Args:
        me: what it says of itself.
        settings: pace and bounds.
        keyring: swarm keys.
        store: its records; already holds what was durable. Shared with the host, changed only here.
        blobs: what this node can give by hash, None if not at this moment. Called for each range: quick.
        rng: decides every choice. On a real node `random.SystemRandom()`, because nonces come from it.
        now_s: steady time of the start.
        roll: who is a member; None: everybody's status counts.
        trusted: what the store's verdict goes by; follows the trust roots that come. None: roots are records like others.
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
        roll: Roll | None = None,
        trusted: TrustedSet | None = None,
    ) -> None:
        self.me = me
        self._store = store
        self._envelope = Envelope(keyring, rng)
        presence = Presence(me, settings, self._envelope, store.digest, rng, now_s)
        super().__init__(settings, rng, presence)
        self._server = Server(store, blobs, self._presence.table, rng)
        self._intake = Intake(store, roll, trusted)
        self._rounds = Rounds(settings.hot_rounds_s, settings.pull_interval_s, rng, now_s)
        self._fanouts = Fanouts(settings.fanout, settings.status_fanout, settings.neighbour_fanout)
        self._meetings = Meetings(self._presence, settings, rng)
        self._acquaintances = Acquaintances(settings.pull_interval_s, settings.far_peers_wanted)
        self._mates = Acquaintances(settings.pull_interval_s, settings.peers_max)
        self._pace = ComparisonPace()
        self._streams: dict[int, tuple[bytes, Purpose]] = {}
        self._last_token = 0

    # ------------------------------------------------------------------ time

    def next_wakeup_s(self) -> float:
        """When `on_wakeup` wants to be called; calling it earlier does nothing, later delays what was due."""
        due_s = min(self._presence.next_s, self._rounds.due_s, self._fetches.next_s)
        return min(due_s, self._search_due_s) if self._fetches.sourceless else due_s

    def on_wakeup(self, now_s: float) -> Effects:
        """Time has passed."""
        sends, lost = self._presence.on_wakeup(now_s)
        effects: Effects = [*sends]
        if lost:
            effects.append(PeersChanged())
        if self._rounds.due_s <= now_s:
            effects += self._compare_round(now_s)
        if self._fetches.next_s <= now_s or self._fetches.sourceless:
            effects += self._work_on_blobs(now_s)
        return effects

    # ------------------------------------------------------------------ datagrams

    def on_datagram(
        self,
        data: bytes,
        source: Address,
        now_s: float,
        *,
        multicast: bool = False,
        tunnelled: bool = False,
    ) -> Effects:
        """A datagram came from `source`; `multicast` if it came to the beacon group, `tunnelled` if by a stream."""
        try:
            message = self._envelope.open_datagram(data)
        except RefusedError as error:
            return [Refused("datagram", str(error), str(source), error.reason)]
        match message:
            case Hello():
                return self._on_hello(message, source, now_s, multicast=multicast, tunnelled=tunnelled)
            case Push(record=record):
                path = Path.MULTICAST if multicast else Path.UNICAST
                effects = self._take_in([record], source, path, now_s)[1]
                # Of a chain, with a gap before it: the sender has what is missing.
                row = self._store.row(record)
                return effects + (
                    self._on_have(Have(*row), source) if self._store.behind_a_chain([row]) else []
                )
            case Have():
                return self._on_have(message, source)
            case PingFor() | Word() | Suspicion():
                sends, lost = self._presence.on_watch(message, source, now_s)
                return [*sends, PeersChanged()] if lost else [*sends]
            case Meet() | Go():
                return self._tell(self._meetings.on_message(message, source, now_s))
            case Dial():
                wanted = self._meetings.on_dial(message, source, now_s)
                return [] if wanted is None else [wanted]
            case Ask():
                return [TableHeard(message, source)]
            case Told():
                return self._on_told(message, source, now_s)

    def _tell(self, sends: Iterable[tuple[Address, Datagram]]) -> Effects:
        return [self.say(message, destination) for destination, message in sends]

    def _on_told(self, told: Told, source: Address, now_s: float) -> Effects:
        """A value from the table is a record like any other; whoever asked for it then finds it in the store, or not."""
        heard = TableHeard(told, source)
        try:
            record = Record.decode(told.value) if told.value else None
        except RefusedError as error:
            return [Refused("datagram", str(error), str(source), error.reason), heard]
        taken = self._take_in([record], source, Path.UNICAST, now_s)[1] if record is not None else []
        return [*taken, heard]

    def _on_hello(
        self, hello: Hello, source: Address, now_s: float, *, multicast: bool, tunnelled: bool
    ) -> Effects:
        greeting = self._presence.on_hello(hello, source, now_s, multicast=multicast, tunnelled=tunnelled)
        effects: Effects = [*greeting.sends]
        if greeting.changed:
            effects.append(PeersChanged())
            effects += self._tell(self._meetings.wanted(now_s))
        if greeting.compare_with is not None:
            effects += self._compare_with(greeting.compare_with, now_s)
        if greeting.changed and self._fetches.sourceless:
            effects += self._work_on_blobs(now_s)
        return effects

    def _on_have(self, have: Have, source: Address) -> Effects:
        wanted = self._store.wanted([(have.kind, have.key, have.sequence, have.hash8)])
        if not wanted or self._pace.crowded or self._pace.busy_with(source):
            return []
        talk = Comparison(b"", source, b"", wide=True, wants=wanted)
        exchange = talk.next_exchange()
        return [] if exchange is None else [self._ask(talk, source, exchange)]

    # ------------------------------------------------------------------ records

    def publish(self, record: Record, now_s: float) -> Effects:
        """Take in a record made on this machine and spread it; raises `RefusedError` if it is not to be believed."""
        return self.offer(record, now_s)[1]

    def offer(self, record: Record, now_s: float) -> tuple[Standing, Effects]:
        """As `publish`, for somebody on this machine who wants to know what became of the record."""
        standing, effects = self._intake.publish(record)
        if standing in (Standing.NEW, Standing.DISPUTED):
            if record.kind in self._settings.urgent_kinds:
                self._presence.announce_widely(now_s)
            effects += self._spread(record, None, Path.LOCAL, now_s)
        return standing, effects

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
        neighbours = self._presence.neighbours(now_s)
        speaks = self._presence.speaks
        plan = plan_push(
            path, len(neighbours), self._fanouts, urgent=urgent, beacon=self._settings.beacon, speaks=speaks
        )
        data = self._envelope.seal_datagram(self._intake.telling(record))

        teller = self._presence.table.at(source) if source is not None else None

        def is_source(peer: Peer) -> bool:
            return peer is teller

        told = sample(neighbours, plan.neighbours, self._rng, is_source)
        if plan.far:
            told += self._told_outside(record, plan.far, path, now_s, is_source)
        effects: Effects = [SendDatagram(None, data)] if plan.multicast else []
        return effects + [SendDatagram(peer.info.address, data) for peer in told]

    def _told_outside(
        self, record: Record, count: int, path: Path, now_s: float, unwanted: Callable[[Peer], bool]
    ) -> list[Peer]:
        """Those beyond multicast that get a record: links first, since they are reached behind NAT too."""
        others = self._presence.spoken_to(now_s)
        if path is Path.LOCAL and record.kind in self._settings.urgent_kinds and not self._presence.speaks:
            others += self._presence.far()  # what is published here must not hang on one mate
        if self._store.stays(record.kind):
            others = [peer for peer in others if peer.info.same_site]
        linked = {id(peer) for peer in self._presence.linked(now_s)}
        told = sample([p for p in others if id(p) in linked], count, self._rng, unwanted)
        if len(told) < count:
            told += sample([p for p in others if id(p) not in linked], count - len(told), self._rng, unwanted)
        return told

    # ------------------------------------------------------------------ comparing stores

    def _compare_round(self, now_s: float) -> Effects:
        hot = self._rounds.passed(now_s)
        if hot:
            self._presence.announce(now_s)
        others = self._presence.spoken_to(now_s)
        if hot:
            chosen = sample(others, self._settings.hot_peers, self._rng)
        else:
            quiet = [peer for peer in others if peer.info.same_site]
            chosen = [*self._presence.links(), *sample(quiet, 1, self._rng)]
        effects: Effects = [*self._presence.ask(chosen, now_s)]
        far, unheard = self._presence.far(), self._presence.unheard(now_s)
        if self._mates.wants_more(len(unheard), now_s):
            effects += self._ask_who_else(unheard, now_s, wide=False)
        effects += self._presence.try_plainly(now_s)
        if self._presence.speaks:
            effects += self._tell(self._meetings.wanted(now_s))
            if self._acquaintances.wants_more(len(far), now_s):
                effects += self._ask_who_else(far, now_s, wide=True)
        elif self._acquaintances.wants_more(1, now_s):
            # Of mates that multicast does not reach, and of other sites, for the day on which this node has to speak.
            wide = self._rng.random() < 0.5
            effects += self._ask_who_else(self._presence.site.news_gateways(), now_s, wide=wide)
        return effects

    def _compare_with(self, peer: Peer, now_s: float) -> Effects:
        verdict = self._pace.may_begin(peer, self._presence.digests(peer), now_s)
        if verdict is Begin.LATER:
            self._presence.doubt(peer, now_s + self._rng.uniform(0.5, 1.5))
        if verdict is not Begin.NOW:
            return []
        return self._begin_comparison(peer)

    def _meets_others(self, now_s: float) -> Effects:
        return self._tell(self._meetings.missed(now_s))

    def _tells_of_others(self, peer: Peer, *, wide: bool) -> Effects:
        busy = self._pace.busy_with(peer.info.address)
        return [] if busy else self._begin_comparison(peer, wide=wide)

    def _begin_comparison(self, peer: Peer, *, wide: bool = False) -> Effects:
        wide = wide or not peer.info.same_site
        theirs = (peer.wide if wide else peer.digest) or b""
        talk = Comparison(peer.info.node_id, peer.info.address, theirs, wide)
        return [self._ask(talk, talk.address, talk.begin(self._store))]

    def _on_comparison(self, talk: Comparison, reply: Reply, now_s: float) -> Effects:
        effects: Effects = []
        following: Request | None = None
        failed = False
        match reply:
            case SyncReply():
                self._presence.hear_of(reply.peers, now_s, mates=not talk.wide)
                following = talk.compared(reply, self._store)
            case Records(records=records):
                count, effects = self._take_in(records, talk.address, Path.COMPARED, now_s)
                talk.changed = talk.changed or count > 0
                talk.taken += count
                following = talk.exchanged(records, self._store)
            case Chunk() | Holders():
                words = "a chunk or holders answer no comparison"
                effects = [Refused("stream", words, str(talk.address), Reason.WRONG_KIND)]
                failed = True
            case No():
                failed = True
        if following is not None:
            return [*effects, self._ask(talk, talk.address, following)]
        self._end_comparison(talk, now_s, failed=failed)
        return effects

    def _end_comparison(self, talk: Comparison, now_s: float, *, failed: bool = False) -> None:
        if talk.taken:
            self._presence.announce(now_s)
        peer = self._presence.table.get(talk.node_id)
        again_s = self._pace.ended(talk, peer, self._store.digest(wide=talk.wide), failed=failed)
        if again_s is not None and peer is not None:
            self._presence.doubt(peer, now_s + again_s * self._rng.uniform(0.75, 1.25))

    # ------------------------------------------------------------------ streams

    def on_stream_reply(self, token: int, reply: bytes, now_s: float) -> Effects:
        """The reply to the `OpenStream` of this token."""
        if token not in self._streams:
            return []
        exchange_id, purpose = self._streams.pop(token)
        try:
            message = self._envelope.open_reply(exchange_id, reply)
        except RefusedError as error:
            refused = Refused("stream", str(error), str(purpose.address), error.reason)
            return [refused, *self._stream_over(purpose, str(error), now_s, garbage=True)]
        if isinstance(purpose, Comparison):
            return self._on_comparison(purpose, message, now_s)
        if isinstance(purpose, Seeking):
            return self._on_holders(purpose, message, now_s)
        return self._on_range(purpose, message, now_s)

    def on_stream_failed(self, token: int, why: str, now_s: float) -> Effects:
        """No reply came; `why` is for people. Whether the peer is still there at all is asked at once."""
        if token not in self._streams:
            return []
        _, purpose = self._streams.pop(token)
        peer = self._presence.table.get(purpose.node_id)
        asked: Effects = [*self._presence.ask([peer], now_s)] if peer is not None and not peer.strikes else []
        return asked + self._stream_over(purpose, why, now_s, garbage=False)

    def _stream_over(self, purpose: Purpose, why: str, now_s: float, *, garbage: bool) -> Effects:
        if isinstance(purpose, Comparison):
            self._end_comparison(purpose, now_s, failed=True)
            return []
        if isinstance(purpose, Seeking):
            return []
        if garbage:
            self._fetches.lied(purpose, why, now_s)
        else:
            self._fetches.failed(purpose, why, now_s)
        return self._work_on_blobs(now_s)

    def _ask(self, purpose: Purpose, address: Address, request: Request) -> OpenStream:
        if isinstance(purpose, Comparison):
            self._pace.began(address)
        exchange_id, frame = self._envelope.seal_request(request)
        self._last_token += 1
        self._streams[self._last_token] = (exchange_id, purpose)
        where = self._presence.table.stream_address(address)
        known = address if self.knows(address) else None
        return OpenStream(self._last_token, where, frame, self._settings.stream_timeout_s, known)

    def answer(self, request: bytes, source: Address, now_s: float) -> tuple[bytes, Effects]:
        """Serve one stream request. An empty reply means: close without a word, this was not one of us."""
        try:
            exchange_id, message = self._envelope.open_request(request)
        except RefusedError as error:
            return b"", [Refused("stream", str(error), str(source), error.reason)]
        if isinstance(message, Tunnel):
            self._presence.shut_in.let_in(source)
            return b"", [CarryTunnel(source)]
        effects: Effects = []
        if isinstance(message, Exchange):
            effects += self._take_in(message.records, source, Path.COMPARED, now_s)[1]
        reply, wanted = self._server.reply(message, source)
        effects += wanted
        return self._envelope.seal_reply(exchange_id, reply), effects

    # ------------------------------------------------------------------ peers

    def set_holdings(self, infohashes: Sequence[bytes], now_s: float) -> Effects:
        """What images this node serves, whole or in part; peers are told. Only the first 16 are."""
        self._presence.set_holdings(infohashes, now_s)
        return []

    @property
    def keyring(self) -> Keyring:
        """The swarm keys of now."""
        return self._envelope.keyring

    def set_keyring(self, keyring: Keyring) -> None:
        """Go on with other swarm keys. Peers stay; what was sealed with a key that is in neither ring is lost."""
        self._envelope.keyring = keyring

    def set_contacts(self, contacts: Sequence[Address], now_s: float) -> Effects:
        """The configured contacts, their names looked up again."""
        self._presence.set_contacts(contacts, now_s)
        return []

    def lan_came(self, now_s: float) -> Effects:
        """There is another interface to beacon on: whoever is there should not have to wait for the next beat."""
        self._presence.lan_came(now_s)
        return []

    def hear_of(self, addresses: Sequence[Address], now_s: float) -> Effects:
        """Addresses where peers may be, such as those known before a restart; each is asked before it counts."""
        self._presence.hear_of(addresses, now_s)
        return []

    def shut_in(self, now_s: float) -> bool:
        """Whether plain datagrams do not get out to other sites, so that this node speaks through tunnels."""
        return self._presence.shut_in.now(now_s)

    def knows(self, address: Address) -> bool:
        """Whether a peer is known at this very address."""
        return self._presence.table.at(address) is not None

    def elsewhere(self, host: str) -> bool:
        """Whether peers are known behind this host, and all of them are of other sites. For streams, which come from any port."""
        there = [peer for peer in self._presence.table.all() if peer.info.address.host == host]
        return bool(there) and not any(peer.info.same_site for peer in there)

    def say(self, message: Datagram, destination: Address) -> SendDatagram:
        """Seal a datagram for one peer."""
        return SendDatagram(destination, self._envelope.seal_datagram(message))

    def peers(self) -> list[PeerInfo]:
        """All peers, in the order in which they were first heard."""
        return [peer.info for peer in self._presence.table.all()]
