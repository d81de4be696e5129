"""Answering the streams of others: a pure function of what this node holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from swarm.address import Address
from swarm.discovery.peers import Peer
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
    Sync,
    SyncReply,
)

BlobSource = Callable[[str, bytes], bytes | None]
"""(kind, id) -> the blob if it is at hand."""


def answer_sync(request: Sync, store: RecordStore, told: Sequence[Address]) -> SyncReply:
    """The rows in which the asker's store and this one differ."""
    whole, rows = differing_rows(store.summary(), request.buckets, ROWS_MAX)
    return SyncReply(whole, tuple(rows), tuple(told[:TOLD_PEERS_MAX]))


def answer_exchange(request: Exchange, store: RecordStore) -> Records:
    """The records the asker wants, as many as fit."""
    found: list[Record] = []
    for kind, key in request.wanted:
        entry = store.get(kind, key)
        if entry is not None:
            found += entry.records
    return Records(tuple(take(found, RECORDS_MAX, RECORDS_BYTES_MAX)[0]))


def answer_get(request: Get, blobs: BlobSource) -> Chunk | No:
    """A range of a blob."""
    blob = blobs(request.kind, request.blob_id)
    if blob is None:
        return No("does not hold it ready")
    if request.offset >= len(blob):
        return No("the range begins behind the end")
    return Chunk(len(blob), blob[request.offset : request.offset + request.length])


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
