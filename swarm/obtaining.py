"""Getting what is known by its hash, and finding who has it: blobs, holders of images, and this node's place in its site. Pure.

The part of the swarm core that decides where to ask: within the site as long as its gateway may yet bring something in, outside
where this node is the gateway, alone, or has waited long enough.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from swarm.address import Address
from swarm.blobs import BlobFetches, Finished, Order
from swarm.comparison import Comparison
from swarm.discovery.peers import Peer, PeerInfo, sample
from swarm.effects import BlobFetched, BlobUnavailable, OpenStream, Refused, SwarmEffect
from swarm.errors import Reason
from swarm.me import HOLDING_BYTES
from swarm.presence import Presence
from swarm.settings import SwarmSettings
from swarm.transfer.way_out import Place
from swarm.wire import Chunk, Holders, No, Reply, Request, Who

Effects: TypeAlias = list[SwarmEffect]


@frozen
class Seeking:
    """A question who holds an image."""

    node_id: bytes
    address: Address


Purpose: TypeAlias = Comparison | Order | Seeking
"""What a stream is for."""
SEARCH_PEERS = 4
SEARCH_GAP_S = 2.0
"""While a blob has no source, this many far peers are asked every so often what they hold."""
WHO_ELSE_GAP_S = 10.0
"""And one is asked who else is there. Sooner costs more (about 1 KiB each time), later keeps a node without its image longer."""
WHO_HOLDS_GAP_S = 2.0
WHO_HOLDS_ASKED = 2
"""While this node is out for an image, so many peers of other sites are asked so often who else holds it: 0.5 KiB each time."""
HOLDER_HEARD_S = 60.0
"""For others a holder is asked only if it was heard less than so long ago. Nodes speak to their links every 30 s. Longer: many
try who are not let in; shorter: one lost datagram, and a helper helps nobody."""
BLOB_PATIENCE_S = 5.0
"""A torrent or index that the site's gateway should give is asked for outside after this long, times the place in rank."""


class Obtaining:
    """What `SwarmCore` is made of besides news."""

    def __init__(self, settings: SwarmSettings, rng: random.Random, presence: Presence) -> None:
        self._settings = settings
        self._rng = rng
        self._presence = presence
        self._fetches = BlobFetches(rng, window=settings.blob_window, give_up_s=settings.blob_give_up_s)
        self._search_due_s = float("-inf")
        self._who_else_due_s = float("-inf")
        self._who_holds_due_s = float("-inf")

    def _ask(self, purpose: Purpose, address: Address, request: Request) -> OpenStream:
        """A stream for this purpose."""
        raise NotImplementedError

    def _tells_of_others(self, peer: Peer, *, wide: bool) -> Effects:
        """Compare stores with a peer that may tell of others, unless that is being done; `wide`: of others anywhere."""
        raise NotImplementedError

    def _meets_others(self, now_s: float) -> Effects:
        """Ask to be brought together with others, if it is time: who is behind a translator cannot just be spoken to."""
        raise NotImplementedError

    # ------------------------------------------------------------------ blobs

    def fetch_blob(
        self, kind: str, blob_id: bytes, size_bytes: int, holders_of: bytes, now_s: float
    ) -> Effects:
        """Get a blob by its hash from peers, those first that hold the image `holders_of` (infohash).

        Ends in `BlobFetched` or `BlobUnavailable`, unless cancelled. Asking again for one under way prolongs
        it.
        """
        self._presence.site.wants(holders_of[:HOLDING_BYTES], now_s)
        failed = self._fetches.start(kind, blob_id, size_bytes, holders_of, now_s)
        if failed is not None:
            return [_ended(failed)]
        return self._work_on_blobs(now_s)

    def fetch_for_others(
        self, kind: str, blob_id: bytes, size_bytes: int, holders_of: bytes, now_s: float
    ) -> Effects:
        """As `fetch_blob`, to pass it on to peers that asked for it.

        Only peers that say they hold the image are asked: whoever does not might ask others in turn, and those others again.
        """
        failed = self._fetches.start(kind, blob_id, size_bytes, holders_of, now_s, for_others=True)
        if failed is not None:
            return [_ended(failed)]
        return self._work_on_blobs(now_s)

    def stop_for_others(self) -> None:
        """Fetch nothing for others any more; nothing more is said about it."""
        self._fetches.stop_for_others()

    def cancel_blob(self, kind: str, blob_id: bytes) -> None:
        """Stop fetching it; nothing more is said about it."""
        self._fetches.cancel(kind, blob_id)

    def fetches(self, kind: str, blob_id: bytes) -> bool:
        """Whether it is being fetched."""
        return self._fetches.under_way(kind, blob_id)

    def _work_on_blobs(self, now_s: float) -> Effects:
        self._presence.calling = False
        orders, finished = self._fetches.orders(
            now_s,
            lambda infohash, for_others: (
                self.heard_holders(infohash, now_s) if for_others else self._blob_candidates(infohash, now_s)
            ),
        )
        effects: Effects = [_ended(end) for end in finished]
        effects += [self._ask(order, order.address, order.get) for order in orders]
        if self._fetches.sourceless and self._search_due_s <= now_s:
            self._search_due_s = now_s + SEARCH_GAP_S
            chosen = sample(self._presence.spoken_to(now_s), SEARCH_PEERS, self._rng)
            effects += self._presence.ask(chosen, now_s)
            among = chosen or self._presence.table.all()
            effects += self._ask_who_else(among, now_s, wide=self._presence.speaks)
            if self._presence.calling:
                effects += self._meets_others(now_s)
            if self._presence.calling and self._presence.shut_in.now(now_s):
                # It knows few, and everybody else costs it a stream: it has to know whom.
                for infohash in self._fetches.looked_for:
                    effects += self._ask_who_holds(infohash[:HOLDING_BYTES], now_s)
        return effects

    def _ask_who_else(self, among: Sequence[Peer], now_s: float, *, wide: bool) -> Effects:
        """Whoever has what is looked for may be nobody we have met: a comparison of stores tells of other peers too.

        A mate tells of mates; `wide`: of everybody, as it would tell another site.
        """
        peers = sample(among, 1, self._rng)
        if not peers or now_s < self._who_else_due_s:
            return []
        self._who_else_due_s = now_s + WHO_ELSE_GAP_S
        return self._tells_of_others(peers[0], wide=wide)

    def _blob_candidates(self, infohash: bytes, now_s: float) -> list[PeerInfo]:
        """Holders first, at random within each distance so that no holder gets everybody; then anyone, and last the mates that
        want the image themselves and wait for whoever brings it in.

        Within the site only while its gateway may yet bring it in: a torrent and an index for each node would cross the uplink
        otherwise, which is a fiftieth of a small image. Mates that wait are not asked then: in a site of a hundred each would
        ask all others, again and again.
        """
        holding = infohash[:HOLDING_BYTES]
        peers = self._presence.table.all()
        if self._may_ask_outside(holding, now_s):
            self._presence.calling = True
        else:
            gateway = self._presence.site.gateway(holding, now_s)
            mates = [peer for peer in peers if peer.info.same_site]
            peers = [p for p in mates if holding in p.info.holdings or p.info.node_id == gateway]
        self._rng.shuffle(peers)

        def distance(peer: Peer) -> tuple[bool, bool, bool, bool]:
            holds, near = holding in peer.info.holdings, peer.info.same_site
            waits = near and not holds and peer.info.wants_or_holds(holding)
            return not holds, waits, peer.strikes > 0, not near

        return [peer.info for peer in sorted(peers, key=distance)]

    def heard_holders(self, infohash: bytes, now_s: float) -> list[PeerInfo]:
        """Peers that said lately that they hold an image, so that a translator before them still lets this node in.

        Those that say they have all of it come first: they can make the leaves.
        """
        holding = infohash[:HOLDING_BYTES]
        peers = [p for p in self._presence.table.holders(holding) if now_s - p.info.heard_s < HOLDER_HEARD_S]
        self._rng.shuffle(peers)
        peers.sort(key=lambda p: (p.strikes > 0, not p.info.holds_whole(holding), not p.info.same_site))
        return [peer.info for peer in peers]

    def _may_ask_outside(self, holding: bytes, now_s: float) -> bool:
        place = self._presence.site.place(holding, now_s)
        if not place.mates or self._presence.out:
            return True
        if place.rank == 0 and not place.whole:
            return True
        return self._presence.site.wanted_for_s(holding, now_s) > BLOB_PATIENCE_S * max(1, place.rank)

    def _on_range(self, order: Order, reply: Reply, now_s: float) -> Effects:
        effects: Effects = []
        match reply:
            case Chunk(size_bytes=size_bytes, data=data):
                finished = self._fetches.arrived(order, size_bytes, data, now_s)
                if finished is not None:
                    effects.append(_ended(finished))
                elif self._fetches.called_liar(order):
                    name = order.blob_id.hex()[:16]
                    words = f"{order.kind} {name} does not match its hash"
                    effects.append(Refused("blob", words, str(order.address), Reason.WRONG_BYTES))
            case No(why=why):
                self._fetches.refused(order, why, now_s)
            case _:
                self._fetches.lied(order, "answered something else", now_s)
                words = "no chunk where one was asked for"
                effects.append(Refused("stream", words, str(order.address), Reason.WRONG_KIND))
        return effects + self._work_on_blobs(now_s)

    # ------------------------------------------------------------------ holders

    def seek_holders(self, infohash: bytes, now_s: float) -> Effects:
        """Ask some peers that are not known to serve this image what they hold: somebody wants it now."""
        holding = infohash[:HOLDING_BYTES]
        effects: Effects = [*self._presence.seek(holding, now_s)]
        if self._presence.out:
            effects += [*self._ask_who_holds(holding, now_s), *self._meets_others(now_s)]
        if not self.holders(infohash):
            among = self._presence.spoken_to(now_s)
            effects += self._ask_who_else(among, now_s, wide=self._presence.speaks)
        return effects

    def _ask_who_holds(self, holding: bytes, now_s: float) -> Effects:
        """Ask a few who else holds an image: that is how gateways find each other.

        Those who speak for this site, since news of the image came through them; and one of another site, a holder if one is
        known.
        """
        if now_s < self._who_holds_due_s:
            return []
        self._who_holds_due_s = now_s + WHO_HOLDS_GAP_S
        far = [peer for peer in self._presence.far() if not peer.strikes]
        among = [peer for peer in far if holding in peer.info.holdings] or far
        asked = [
            *self._presence.site.news_gateways(),
            *self._rng.sample(among, min(WHO_HOLDS_ASKED, len(among))),
        ]
        return [
            self._ask(Seeking(peer.info.node_id, peer.info.address), peer.info.address, Who(holding))
            for peer in asked
        ]

    def _on_holders(self, purpose: Seeking, reply: Reply, now_s: float) -> Effects:
        if isinstance(reply, Holders):
            return [*self._presence.knock_at(reply.peers, now_s)]
        words = "no holders where they were asked for"
        return [Refused("stream", words, str(purpose.address), Reason.WRONG_KIND)]

    def holders(self, infohash: bytes) -> list[PeerInfo]:
        """Peers that say they serve this image, best first: same site before others."""
        return [peer.info for peer in self._presence.table.holders(infohash[:HOLDING_BYTES])]

    # ------------------------------------------------------------------ the site

    def set_fetching(self, infohash: bytes, now_s: float) -> Effects:
        """The image this node wants and does not have whole (b"": none); its site is told."""
        self._presence.set_fetching(infohash[:HOLDING_BYTES], now_s)
        return []

    def set_out(self, *, out: bool) -> None:
        """Whether this node uses its site's uplink for the image it fetches."""
        self._presence.out = out

    def set_able(self, *, able: bool, now_s: float) -> None:
        """Whether this node could speak to the outside for its site."""
        self._presence.set_able(able, now_s)

    def place(self, infohash: bytes, now_s: float) -> Place:
        """Where this node stands in its site for an image it wants."""
        return self._presence.site.place(infohash[:HOLDING_BYTES], now_s)

    def gateway(self, infohash: bytes, now_s: float) -> bytes | None:
        """The node id of the site's gateway for an image; None where nobody is able."""
        return self._presence.site.gateway(infohash[:HOLDING_BYTES], now_s)

    def mates(self) -> list[PeerInfo]:
        """The other nodes of the site that are alive."""
        return [peer.info for peer in self._presence.site.mates()]

    def speaks(self) -> bool:
        """Whether this node speaks to other sites now."""
        return self._presence.speaks


def _ended(finished: Finished) -> BlobFetched | BlobUnavailable:
    if finished.data is None:
        return BlobUnavailable(finished.kind, finished.blob_id, finished.why, finished.for_others)
    return BlobFetched(finished.kind, finished.blob_id, finished.data, finished.for_others)
