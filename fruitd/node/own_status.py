"""What a node tells the swarm about itself, from what its updater knows, and when."""

from __future__ import annotations

import random
from collections.abc import Iterable

from fruitd.updater.journal import Journal, State
from swarm.status import INFOHASH_PREFIX_BYTES, NodeStatus, QuarantinedRelease

STATUS_EVERY_S = 1800.0
"""How often an unchanged node says so again. Shorter: fresher `fruit nodes`, more gossip when idle (about 300 B a node,
a time, to every node); longer: a silent node is noticed later by people (the beacon notices within minutes)."""
STATUS_GAP_S = 2.0
"""Least time between two status records."""
STATUS_PASSING_S = 30.0
"""A state that an update merely passes through is told only once it has lasted this long: every status goes to every node.
Shorter: swarm-wide progress, at a cost that grows with the square of the swarm; longer: a slow download is not seen."""
STANDING = frozenset({State.IDLE, State.COMMITTED, State.REFUSED, State.QUARANTINED})
"""States that are told at once."""


class StatusPlan:
    """When the next status record is due. `due_s` is steady time."""

    def __init__(self, rng: random.Random) -> None:
        self.due_s = float("inf")
        self._said_s = float("-inf")
        self._rng = rng

    def changed(self, state: State | None, now_s: float) -> None:
        """The update is in this state now; None for a node without slots."""
        standing = state is None or state in STANDING
        pause_s = self._rng.uniform(0.2, STATUS_GAP_S) if standing else STATUS_PASSING_S
        due_s = max(now_s + pause_s, self._said_s + STATUS_GAP_S)
        # A state that is passed through does not put off what is due, nor does it bring forward what may be over by then.
        self.due_s = due_s if standing else min(self.due_s, due_s)

    def said(self, now_s: float) -> None:
        """A status record has been made."""
        self.due_s = now_s + STATUS_EVERY_S * self._rng.uniform(0.85, 1.15)
        self._said_s = now_s


def node_status(
    name: str,
    site: str,
    software: str,
    journal: Journal | None,
    active_slot: str | None,
    *,
    at_s: float,
    uptime_s: float,
    hardware: Iterable[str] = (),
    slot_bytes: int = 0,
    held_back: str | None = None,
) -> NodeStatus:
    """The body of the next status record; `journal` None is a node without slots. `held_back`: why nothing new is begun."""
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
        why=_why(journal, held_back),
        quarantined=tuple(QuarantinedRelease(q.release, _prefix(q.infohash)) for q in quarantined),
        uptime_s=int(uptime_s),
        software=software,
        hardware=tuple(sorted(hardware)),
        slot_bytes=slot_bytes,
    )


def _why(journal: Journal | None, held_back: str | None) -> str:
    if journal is None:
        return "has no slots: relays news and seeds"
    return held_back if held_back is not None and journal.state in STANDING else journal.why


def _prefix(infohash: str) -> bytes:
    return bytes.fromhex(infohash)[:INFOHASH_PREFIX_BYTES]
