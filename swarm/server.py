"""Answering the streams of others from what this node holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

from swarm.address import Address
from swarm.discovery.peers import Peer, PeerTable
from swarm.effects import BlobGiven, BlobWanted, HoldersSought
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
    Holders,
    No,
    Records,
    Reply,
    Request,
    Sync,
    SyncReply,
    Tunnel,
    Who,
)

BlobSource = Callable[[str, bytes], bytes | None]
"""(kind, id) -> the blob if it is at hand."""
Asked: TypeAlias = BlobWanted | BlobGiven | HoldersSought
"""What the rest of the node may want to know of a request."""


class Server:
    """Answers requests from the store, the blobs and the peers of one node."""

    def __init__(self, store: RecordStore, blobs: BlobSource, table: PeerTable, rng: random.Random) -> None:
        self._store = store
        self._blobs = blobs
        self._table = table
        self._rng = rng

    def reply(self, request: Request, asker: Address) -> tuple[Reply, list[Asked]]:
        """The reply; and the blob that is not ready here, or of which something is given, or the image that is sought.

        The records of an `Exchange` have been taken in before.
        """
        match request:
            case Sync():
                return self._sync(request, asker), []
            case Exchange():
                return self._exchange(request), []
            case Get():
                return self._get(request, asker)
            case Who(holding=holding):
                return self._who(holding, asker), [HoldersSought(holding, asker)]
            case Tunnel():
                return No("a tunnel is opened by a stream of its own"), []

    def _sync(self, request: Sync, asker: Address) -> SyncReply:
        told = worth_telling(self._table.all() if request.wide else self._table.site_mates(), asker)
        chosen = self._rng.sample(told, min(TOLD_PEERS_MAX, len(told)))
        summary = self._store.summary(wide=request.wide)
        whole, rows = differing_rows(summary, request.buckets, ROWS_MAX)
        return SyncReply(whole, tuple(rows), tuple(chosen))

    def _who(self, holding: bytes, asker: Address) -> Holders:
        found = [peer for peer in self._table.all() if holding in peer.info.holdings]
        found.sort(key=lambda peer: -peer.info.heard_s)
        return Holders(tuple(worth_telling(found, asker)[:TOLD_PEERS_MAX]))

    def _exchange(self, request: Exchange) -> Records:
        found: list[Record] = []
        for kind, key in request.wanted:
            entry = self._store.get(kind, key)
            if entry is not None:
                found += entry.records
        return Records(tuple(take(found, RECORDS_MAX, RECORDS_BYTES_MAX)[0]))

    def _get(self, request: Get, asker: Address) -> tuple[Chunk | No, list[Asked]]:
        kind, blob_id = request.kind, request.blob_id
        blob = self._blobs(kind, blob_id)
        if blob is None:
            return No("does not hold it ready"), [BlobWanted(kind, blob_id, asker)]
        if request.offset >= len(blob):
            return No("the range begins behind the end"), []
        data = blob[request.offset : request.offset + request.length]
        return Chunk(len(blob), data), [BlobGiven(kind, blob_id, len(data))]


def worth_telling(peers: Sequence[Peer], asker: Address) -> list[Address]:
    """Addresses of `peers` that can mean something to the asker: private ones to private ones, public ones to all, link-local
    ones to nobody: an asker on the same link hears them by multicast, and nobody could tell it by which interface."""
    reach = "private" if asker.is_link_local else _reach(asker.host)
    return [
        peer.info.address
        for peer in peers
        if not peer.strikes and not peer.guest and _reach(peer.info.address.host) in (reach, "global")
    ]


def _reach(host: str) -> str:
    literal = ip_address(host)
    if literal.is_loopback:
        return "loopback"
    if literal.is_link_local:
        return "link"
    return "global" if literal.is_global else "private"
