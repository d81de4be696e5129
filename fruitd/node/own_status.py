"""What a node tells the swarm about itself, from what its updater knows."""

from __future__ import annotations

from fruitd.updater.journal import Journal
from swarm.status import INFOHASH_PREFIX_BYTES, NodeStatus, QuarantinedRelease


def node_status(
    name: str,
    site: str,
    software: str,
    journal: Journal | None,
    active_slot: str | None,
    *,
    at_s: float,
    uptime_s: float,
) -> NodeStatus:
    """The body of the next status record; `journal` None is a node without slots."""
    content = journal.slots.get(active_slot or "") if journal is not None else None
    quarantined = journal.quarantined if journal is not None else ()
    return NodeStatus(
        at_s=int(at_s),
        name=name,
        site=site,
        release=content.target.release if content else 0,
        version=content.target.version if content else "",
        infohash8=_prefix(content.target.infohash) if content else b"",
        state=str(journal.state) if journal is not None else "relay",
        why=journal.why if journal is not None else "has no slots: relays news and seeds",
        quarantined=tuple(QuarantinedRelease(q.release, _prefix(q.infohash)) for q in quarantined),
        uptime_s=int(uptime_s),
        software=software,
    )


def _prefix(infohash: str) -> bytes:
    return bytes.fromhex(infohash)[:INFOHASH_PREFIX_BYTES]
