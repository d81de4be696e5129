"""Answering the streams of others from what this node holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from swarm.address import Address
from swarm.discovery.peers import Peer, PeerTable
from swarm.effects import BlobWanted
from swarm.news.reconcile import differing_rows, take
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.wire import (
    RECORDS_BYTES_MAX,
    RECORDS_MAX,
    ROWS_MAX,
    TOLD_PEERS_MAX,
    Chunk,
    Exchange,
    Get,
    No,
    Records,
    Reply,
    Request,
    Sync,
    SyncReply,
)

BLOB_WANTED_GAP_S = 5.0
"""Least time between two `BlobWanted` for one blob."""
BLOBS_WANTED_MAX = 64
"""Blobs wanted within that time; a peer that asks for random ids fills this and nothing else."""
BlobSource = Callable[[str, bytes], bytes | None]
"""(kind, id) -> the blob if it is at hand."""


class Server:
    """Answers requests from the store, the blobs and the peers of one node."""

    def __init__(self, store: RecordStore, blobs: BlobSource, table: PeerTable, rng: random.Random) -> None:
        self._store = store
        self._blobs = blobs
        self._table = table
        self._rng = rng
        self._wanted_s: dict[bytes, float] = {}

    def reply(self, request: Request, asker: Address, now_s: float) -> tuple[Reply, list[BlobWanted]]:
        """The reply, and a blob that this node would have to make ready to do better.

        The records of an `Exchange` have been taken in before.
        """
        match request:
            case Sync():
                return self._sync(request, asker), []
            case Exchange():
                return self._exchange(request), []
            case Get():
                return self._get(request, now_s)

    def _sync(self, request: Sync, asker: Address) -> SyncReply:
        told = worth_telling(self._table.all(), asker)
        chosen = self._rng.sample(told, min(TOLD_PEERS_MAX, len(told)))
        whole, rows = differing_rows(self._store.summary(), request.buckets, ROWS_MAX)
        return SyncReply(whole, tuple(rows), tuple(chosen))

    def _exchange(self, request: Exchange) -> Records:
        found: list[Record] = []
        for kind, key in request.wanted:
            entry = self._store.get(kind, key)
            if entry is not None:
                found += entry.records
        return Records(tuple(take(found, RECORDS_MAX, RECORDS_BYTES_MAX)[0]))

    def _get(self, request: Get, now_s: float) -> tuple[Chunk | No, list[BlobWanted]]:
        blob = self._blobs(request.kind, request.blob_id)
        if blob is None:
            return No("does not hold it ready"), self._want(request, now_s)
        if request.offset >= len(blob):
            return No("the range begins behind the end"), []
        return Chunk(len(blob), blob[request.offset : request.offset + request.length]), []

    def _want(self, request: Get, now_s: float) -> list[BlobWanted]:
        told_s = self._wanted_s
        for blob_id in [b for b, at_s in told_s.items() if now_s - at_s >= BLOB_WANTED_GAP_S]:
            del told_s[blob_id]
        if request.blob_id in told_s or len(told_s) >= BLOBS_WANTED_MAX:
            return []
        told_s[request.blob_id] = now_s
        return [BlobWanted(request.kind, request.blob_id)]


def worth_telling(peers: Sequence[Peer], asker: Address) -> list[Address]:
    """Addresses of `peers` that can mean something to the asker: private ones to private ones, public ones to
    all."""
    reach = _reach(asker.host)
    return [
        peer.info.address
        for peer in peers
        if not peer.strikes and _reach(peer.info.address.host) in (reach, "global")
    ]


def _reach(host: str) -> str:
    literal = ip_address(host)
    if literal.is_loopback:
        return "loopback"
    if literal.is_link_local:
        return "link"
    return "global" if literal.is_global else "private"
