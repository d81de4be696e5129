"""What the power part has to know of other nodes, from swarm, store and trust root."""

from __future__ import annotations

from fruitd.power.part import Surroundings
from swarm.core import SwarmCore
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.status import STATUS_KIND, NodeStatus
from swarm.trust.keys import key_id
from swarm.trust.root import Role
from swarm.trust.trusted_set import TrustedSet


def surroundings_of(swarm: SwarmCore, store: RecordStore, trusted: TrustedSet) -> Surroundings:
    """Looks at them anew at each call."""

    def heard_s() -> dict[bytes, float]:
        return {peer.node_id: peer.heard_s for peer in swarm.peers()}

    def name_of(node_id: bytes) -> str:
        entry = store.get(STATUS_KIND, node_id)
        record = entry.record if entry is not None else None
        return NodeStatus.decode(record.body).name if record is not None else ""

    def signers_of(record: Record) -> str:
        root = trusted.root
        signers = root.valid_signers(Role.OPERATOR, record.signed_bytes, record.signatures)
        named = sorted(root.names.get(raw) or key_id(raw) for raw in signers)
        return ", ".join(named) or "nobody who may"

    return Surroundings(heard_s, name_of, signers_of)
