"""A peer that holds the swarm key and lies: all it has is the key to the room and one stolen release key, below the threshold.

It forges manifests and statuses, replays old news, claims to hold every image and to know everything, answers with rubbish,
with silence, or with the wrong bytes. Honest nodes must neither believe it nor be kept from succeeding through others.
"""

from __future__ import annotations

from collections.abc import Callable

from nacl.signing import SigningKey

from simulations.world.fabric import End
from simulations.world.maintainer import CHANNEL, HARDWARE, RESOURCE, SWARM, manifest_record
from simulations.world.surroundings import CONTROL_PORT, TRANSFER_PORT, NodePlan, Surroundings
from swarm.address import Address
from swarm.envelope import Envelope
from swarm.errors import RefusedError
from swarm.me import DIGEST_BYTES, HOLDING_BYTES, HOLDINGS_MAX, Hello, Me
from swarm.news.record import Record, Signature
from swarm.transfer.port import ImageJob
from swarm.trust.manifest import Manifest, Release
from swarm.wire import Chunk, Datagram, Exchange, Get, No, Push, Records, Reply, Request, Sync, SyncReply

LIE_EVERY_S = 4.0
SEQUENCE = 10_000
"""Far above every genuine manifest."""


class Liar:
    """A station on the network that is no node."""

    def __init__(self, world: Surroundings, plan: NodePlan) -> None:
        self.world = world
        self.number = plan.number
        self.plan = plan
        self._rng = world.dice.named("liar", plan.number)
        self._envelope = Envelope(world.keyring, world.dice.named("liar", plan.number, "nonces"))
        self._key = SigningKey(world.dice.bytes_for("liar", plan.number, "key"))
        self._heard: dict[Address, None] = {}
        self._overheard: list[Record] = []
        self._on = False
        self._transfer: End | None = None

    def switch_on(self) -> None:
        """Begin to lie."""
        self._on = True
        self._transfer = self.world.fabric.join_liar(self.number, self.plan.node_id)
        self._lie()

    # ------------------------------------------------------------------ as the network sees it

    def listening(self) -> bool:
        """Always, once it is on."""
        return self._on

    def powered(self) -> bool:
        """Always, once it is on."""
        return self._on

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        """Learn whom to lie to, and answer pings so that they go on believing that this is a peer."""
        self._heard[source] = None
        try:
            message = self._envelope.open_datagram(data)
        except RefusedError:
            return
        if isinstance(message, Hello) and message.ping:
            self._send(source, self._hello(pong=message.ping))
        if isinstance(message, Push):
            self._overheard = [*self._overheard[-20:], message.record]

    def answer(self, request: bytes, source: Address) -> bytes | None:
        """Rubbish, silence, or a lie in good form."""
        kind = self._rng.randrange(4)
        if kind == 0:
            return None
        if kind == 1:
            return self._rng.randbytes(self._rng.randrange(1, 2000))
        try:
            exchange_id, asked = self._envelope.open_request(request)
        except RefusedError:
            return None
        return self._envelope.seal_reply(exchange_id, self._reply(asked))

    # ------------------------------------------------------------------ lies

    def _reply(self, asked: Request) -> Reply:
        match asked:
            case Sync():
                rows = (("manifest", CHANNEL.encode(), SEQUENCE, self._rng.randbytes(8)),)
                return SyncReply(tuple(range(64)), rows, tuple(self._heard)[:8])
            case Exchange():
                return Records((self._forged_manifest(), self._forged_status()))
            case Get(kind="torrent" | "leaves", length=length):
                return Chunk(self._rng.choice((length, 10 * length)), self._rng.randbytes(length))
            case _:
                return No("not today")

    def _lie(self) -> None:
        lies: tuple[Callable[[], Datagram], ...] = (
            self._hello,
            lambda: Push(self._forged_manifest()),
            lambda: Push(self._forged_status()),
            lambda: Push(self._rng.choice(self._overheard)) if self._overheard else self._hello(),
        )
        self._send(None, self._hello())
        self._seed_rubbish()
        for target in (*self.world.contacts, *self._rng.sample(list(self._heard), min(3, len(self._heard)))):
            self._send(target, self._rng.choice(lies)())
            self._send_raw(target, self._rng.randbytes(self._rng.randrange(1, 1400)))
        self.world.heap.after(LIE_EVERY_S * self._rng.uniform(0.5, 1.5), self._lie)

    def _seed_rubbish(self) -> None:
        for published in self.world.published:
            job = ImageJob(published.torrent, published.infohash, "rubbish", published.image.length_bytes)
            if self._transfer is not None:
                self._transfer.seed(job)

    def _hello(self, pong: bytes = b"") -> Hello:
        held = tuple(p.infohash[:HOLDING_BYTES] for p in self.world.published[-HOLDINGS_MAX:])
        me = Me(self.plan.node_id, "trust me", self.plan.site_name, CONTROL_PORT, TRANSFER_PORT)
        return Hello(me, self._rng.randbytes(DIGEST_BYTES), held, pong=pong)

    def _forged_manifest(self) -> Record:
        """Signed by one stolen release key and one that nobody gave a role: one short of the threshold."""
        stolen = self.world.maintainer.release_keys[0]
        release = Release(
            resource=RESOURCE,
            compatible=(HARDWARE,),
            release=999,
            version="evil",
            length_bytes=16384,
            infohash=self._rng.randbytes(32),
            torrent_sha256=self._rng.randbytes(32),
            torrent_bytes=300,
            signer=bytes(stolen.verify_key),
        )
        manifest = Manifest(SWARM, CHANNEL, 0, (release,))
        return manifest_record(manifest, SEQUENCE + self._rng.randrange(9), (stolen, self._key))

    def _forged_status(self) -> Record:
        """Somebody else's status, signed with the liar's own key."""
        victim = self._rng.randbytes(20)
        unsigned = Record("status", victim, 2**50, b"\x90")
        signature = self._key.sign(unsigned.signed_bytes).signature
        return Record("status", victim, 2**50, b"\x90", (Signature(bytes(self._key.verify_key), signature),))

    def _send(self, destination: Address | None, message: Datagram) -> None:
        self._send_raw(destination, self._envelope.seal_datagram(message))

    def _send_raw(self, destination: Address | None, data: bytes) -> None:
        self.world.network.send(self.number, destination, data)
