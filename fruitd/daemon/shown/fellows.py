"""The nodes of the swarm as this one sees them, members and others, for the API (docs/api.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swarm.roll import Membership
from swarm.status import NodeStatus
from swarm.trust.tokens import Revocation

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

Json = dict[str, Any]


def own_membership(daemon: Daemon) -> Json:
    """Of this node, for its status."""
    own = daemon.core.membership
    member = own.membership
    return {"needed": own.needed, "member": as_json(member) if member else None, "why": own.why_not()}


def node_rows(daemon: Daemon) -> list[Json]:
    """What every node said of itself, ordered by site and name."""
    heard = {peer.node_id: peer.heard_s for peer in daemon.core.swarm.peers()}
    now_s = daemon.time.now_s()
    roll = daemon.core.membership.roll
    too_many = roll.too_many()
    rows = []
    for entry in daemon.core.store.entries("status"):
        if entry.record is None:
            continue
        node_id, said = entry.record.key, NodeStatus.decode(entry.record.body)
        own = node_id == daemon.identity.node_id
        heard_s = now_s if own else heard.get(node_id)
        member = roll.membership(node_id)
        rows.append(
            {
                "id": node_id.hex(),
                "name": said.name,
                "site": said.site or (member.token.site if member is not None else ""),
                "release": said.release or None,
                "version": said.version or None,
                "state": said.state,
                "why": said.why,
                "heard_s_ago": None if heard_s is None else round(now_s - heard_s, 1),
                "quarantined": [q.release for q in said.quarantined],
                "hardware": list(said.hardware),
                "slot_bytes": said.slot_bytes or None,
                "member": as_json(member, counts=node_id not in too_many) if member is not None else None,
                "self": own,
            }
        )
    rows.sort(key=lambda row: (str(row["site"]), str(row["name"]), str(row["id"])))
    return rows


def stranger_rows(daemon: Daemon) -> list[Json]:
    """Peers that are no members, where only members count: they have the swarm key, and no certificate that is known here."""
    roll, now_s = daemon.core.membership.roll, daemon.time.now_s()
    if not roll.closed:
        return []
    rows = [
        {
            "id": peer.node_id.hex(),
            "name": peer.name,
            "site": peer.site,
            "address": str(peer.address),
            "heard_s_ago": None if peer.heard_s == float("-inf") else round(now_s - peer.heard_s, 1),
        }
        for peer in daemon.core.swarm.peers()
        if roll.membership(peer.node_id) is None
    ]
    return sorted(rows, key=lambda row: (str(row["site"]), str(row["name"]), str(row["id"])))


def roll_of(daemon: Daemon) -> Json:
    """Every token with its members, and what is revoked."""
    roll = daemon.core.membership.roll
    names = _names(daemon)
    too_many, members = roll.too_many(), roll.members()
    tokens = [
        {
            "id": token.token_id.hex(),
            "name": token.name,
            "site": token.site,
            "labels": dict(token.labels),
            "expires_at_s": token.expires_at_s or None,
            "nodes_max": token.nodes_max or None,
            "revoked": _reason(roll.revocation_of(token.token_id)),
            "members": [
                {
                    "id": member.node_id.hex(),
                    "name": names.get(member.node_id, ""),
                    "since_s": member.since_s,
                    "counts": member.node_id not in too_many,
                }
                for member in members[token.token_id]
            ],
        }
        for token in roll.tokens()
    ]
    tokens.sort(key=lambda row: (str(row["name"]), str(row["id"])))
    revoked = [
        {
            "id": revocation.target.hex(),
            "of": "token" if revocation.of_token else "node",
            "reason": revocation.reason,
            "kept": [node_id.hex() for node_id in revocation.kept],
        }
        for revocation in roll.revocations()
    ]
    return {"closed": roll.closed, "tokens": tokens, "revoked": revoked}


def as_json(member: Membership, *, counts: bool = True) -> Json:
    """One membership."""
    return {
        "token": member.token.name,
        "token_id": member.token.token_id.hex(),
        "site": member.token.site,
        "labels": dict(member.token.labels),
        "since_s": member.since_s,
        "counts": counts,
    }


def _names(daemon: Daemon) -> dict[bytes, str]:
    """What nodes call themselves."""
    entries = daemon.core.store.entries("status")
    return {e.record.key: NodeStatus.decode(e.record.body).name for e in entries if e.record is not None}


def _reason(revocation: Revocation | None) -> str | None:
    return revocation.reason if revocation is not None else None
