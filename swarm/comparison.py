"""One comparison of stores with one peer, from the asker's side: where do we differ, then give and take until
we do not.

Pure: it says what to ask next; the core asks. Both sides end up with the same news, so it does not matter who
began.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import Factory, define

from swarm.address import Address
from swarm.discovery.peers import Peer
from swarm.news.reconcile import bucket_digests, lacking, take
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.wire import RECORDS_BYTES_MAX, RECORDS_MAX, ROWS_MAX, Exchange, Sync, SyncReply

ROUNDS_MAX = 256
"""Exchanges in one comparison: enough for two full stores, and an end to a peer that always has one more."""

COMPARISONS_MAX = 2
"""Comparisons this node runs at once. More: quicker for a newcomer whose first peers are slow; and a burst of
streams."""
CROWD_MAX = 8
"""Streams for comparisons and announced records together: a member gone mad could announce without end."""
COMPARE_GAP_S = 2.0
"""Least time between two comparisons with one peer."""
SETTLED_S = 600.0
"""A peer whose store stays different though neither has anything for the other (one refuses what the other
holds) is compared with again after this long, or as soon as either store changes."""
FAILED_MAX_S = 300.0
"""Longest pause after comparisons with a peer failed again and again: its UDP passes and its TCP does not."""


@define
class Comparison:
    """`node_id` is empty where only the address is known. `theirs` is the digest the peer showed."""

    node_id: bytes
    address: Address
    theirs: bytes
    wide: bool = False
    """With a node of another site: about what leaves a site only."""
    gives: list[Record] = Factory(list)
    wants: list[tuple[str, bytes]] = Factory(list)
    asked: list[tuple[str, bytes]] = Factory(list)
    more: bool = False
    """The peer could not tell all its rows at once."""
    changed: bool = False
    """Something was given or taken."""
    taken: int = 0
    """Records that were news to us."""
    rounds: int = 0

    def begin(self, store: RecordStore) -> Sync:
        """The first question."""
        return Sync(bucket_digests(store.summary(wide=self.wide)), self.wide)

    def compared(self, reply: SyncReply, store: RecordStore) -> Exchange | None:
        """What to give and take, now that it is known where the stores differ; None if there is nothing."""
        rows = list(reply.rows)
        self.wants = store.wanted(rows)
        self.gives = lacking(store, reply.buckets, rows, wide=self.wide)
        # A chain is asked for in parts, and what it judges may be wanted only after that.
        self.more = len(rows) > ROWS_MAX // 2 or store.behind_a_chain(rows)
        return self.next_exchange()

    def exchanged(self, received: Sequence[Record], store: RecordStore) -> Exchange | Sync | None:
        """Go on after an exchange; None when all is given and taken, or the peer gives nothing more."""
        here = {(record.kind, record.key) for record in received}
        if here:
            self.wants = [wanted for wanted in self.asked if wanted not in here] + self.wants
        self.asked = []
        following = self.next_exchange()
        if following is None and self.more and self.changed and self.rounds < ROUNDS_MAX:
            self.changed = False
            return self.begin(store)
        return following

    def next_exchange(self) -> Exchange | None:
        """The next give and take that fits into one message."""
        if not self.gives and not self.wants:
            return None
        self.rounds += 1
        if self.rounds > ROUNDS_MAX:
            return None
        given, self.gives = take(self.gives, RECORDS_MAX, RECORDS_BYTES_MAX)
        self.asked, self.wants = self.wants[:RECORDS_MAX], self.wants[RECORDS_MAX:]
        self.changed = self.changed or bool(given)
        return Exchange(tuple(given), tuple(self.asked))


class Begin(Enum):
    """Whether to compare stores with a peer."""

    NOW = "now"
    LATER = "later"
    """Others are being compared with at this moment."""
    NO = "no"
    """Too soon after the last time, or of no use."""


class ComparisonPace:
    """How many comparisons at once, and how often with one peer."""

    def __init__(self) -> None:
        self._under_way: set[Address] = set()

    def busy_with(self, address: Address) -> bool:
        """True while a comparison with whoever is there is under way."""
        return address in self._under_way

    @property
    def crowded(self) -> bool:
        """True while so much is being asked that announced records have to wait for the next comparison."""
        return len(self._under_way) >= CROWD_MAX

    def may_begin(self, peer: Peer, digests: tuple[bytes, bytes | None], now_s: float) -> Begin:
        """Whether to compare now with a peer whose digest differs; `digests` are ours and its own. NOW counts as begun."""
        settled = peer.settled == digests
        pause_s = SETTLED_S if settled else _pause_s(peer.failures)
        if now_s - peer.compared_s < pause_s or self.busy_with(peer.info.address):
            return Begin.NO
        if len(self._under_way) >= COMPARISONS_MAX:
            return Begin.LATER
        peer.compared_s = now_s
        return Begin.NOW

    def began(self, address: Address) -> None:
        """A question of a comparison is on its way."""
        self._under_way.add(address)

    def ended(self, talk: Comparison, peer: Peer | None, digest: bytes, *, failed: bool) -> float | None:
        """A comparison is over. Returns after how many seconds to look at this peer again; None if there is
        no need."""
        self._under_way.discard(talk.address)
        if peer is None:
            return None
        if failed:
            peer.failures = min(peer.failures + 1, 16)
            return _pause_s(peer.failures)
        peer.failures = 0
        if talk.wide and peer.info.same_site:
            return None  # asked who else is there: says nothing about what mates have to agree about
        peer.digest = peer.wide = None
        peer.settled = (digest, talk.theirs)
        return None


def _pause_s(failures: int) -> float:
    """Least time between two comparisons with a peer after so many failures in a row."""
    return float(min(FAILED_MAX_S, COMPARE_GAP_S * 2.0**failures))
