"""Records over the API: what this node holds, and taking one from somebody on this machine, judged like any other news."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from fruitd.errors import RefusedError, UsageError
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.news.record import Record
from swarm.news.store import Standing
from swarm.trust.keys import key_id, verifies

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

Json = dict[str, Any]
ROWS_AT_ONCE = 64
"""Rows made before other tasks get their turn: each verifies signatures, a third of a millisecond on a Pi."""
_OUTCOMES = {
    Standing.NEW: "accepted",
    Standing.KNOWN: "known",
    Standing.OLDER: "older",
    Standing.DISPUTED: "disputed",
}


async def take_record(daemon: Daemon, encoded: bytes) -> Json:
    """Offer one encoded record to the node; what it was to it. Raises `FruitError` where it must not be believed."""
    try:
        record = Record.decode(encoded)
    except SwarmRefusedError as error:
        raise UsageError(str(error)) from error
    try:
        standing, effects = daemon.journaled.offer(record, daemon.time.now_s())
    except SwarmRefusedError as error:
        daemon.refuse("record", str(error), "API", error.reason)
        raise RefusedError(str(error)) from error
    daemon.submit(effects)
    await trio.lowlevel.checkpoint()
    return {
        "outcome": _OUTCOMES[standing],
        "kind": record.kind,
        "key": record.key.hex(),
        "sequence": record.sequence,
        "content_hash": record.content_hash.hex(),
    }


async def held_records(daemon: Daemon, kind: str) -> list[Json]:
    """Every record of a kind, ordered by key; of a dispute both. Raises `UsageError` for a kind no node holds."""
    if not daemon.core.store.holds_kind(kind):
        raise UsageError(f"there are no records of kind {kind[:40]!r}")
    rows = []
    for entry in daemon.core.store.entries(kind):
        for record in entry.records:
            rows.append(_row(record, disputed=entry.disputed))
            if len(rows) % ROWS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
    return rows


def _row(record: Record, *, disputed: bool) -> Json:
    signers = [
        s.public_key
        for s in record.signatures
        if verifies(s.public_key, record.signed_bytes, s.signature)
    ]  # fmt: skip
    return {
        "kind": record.kind,
        "key": record.key.hex(),
        "sequence": record.sequence,
        "content_hash": record.content_hash.hex(),
        "record": record.encode().hex(),
        "signed_by": [key_id(public_key) for public_key in signers],
        "disputed": disputed,
    }
