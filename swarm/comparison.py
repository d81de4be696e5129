"""One comparison of stores with one peer, from the asker's side: where do we differ, then give and take until
we do not.

Pure: it says what to ask next; the core asks. Both sides end up with the same news, so it does not matter who
began.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import Factory, define

from swarm.address import Address
from swarm.news.reconcile import bucket_digests, lacking, take
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.wire import RECORDS_BYTES_MAX, RECORDS_MAX, ROWS_MAX, Exchange, Sync, SyncReply

ROUNDS_MAX = 256
"""Exchanges in one comparison: enough for two full stores, and an end to a peer that always has one more."""


@define
class Comparison:
    """`node_id` is empty where only the address is known. `theirs` is the digest the peer showed."""

    node_id: bytes
    address: Address
    theirs: bytes
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
        return Sync(bucket_digests(store.summary()))

    def compared(self, reply: SyncReply, store: RecordStore, urgent: Collection[str]) -> Exchange | None:
        """What to give and take, now that it is known where the stores differ; None if there is nothing."""
        rows = list(reply.rows)
        self.wants = sorted(store.wanted(rows), key=lambda wanted: wanted[0] not in urgent)
        self.gives = lacking(store, reply.buckets, rows)
        self.more = len(rows) > ROWS_MAX // 2
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
