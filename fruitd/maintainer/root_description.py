"""What a trust root file says: who may do what, what changes, who has signed and who still has to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from swarm.root_file import RootChain
from swarm.trust.keys import key_id
from swarm.trust.root import Role, TrustRoot

SCHEMA = 1


def describe_root(data: bytes, *, now_s: float = 0.0, previous: bytes | None = None) -> dict[str, Any]:
    """A trust root file, for `fruit trust show --json` (docs/releasing.md); also one not signed enough.

    Changes are told against the end of `previous`, or without it against the root before in the file.
    """
    with as_refusals("trust root"):
        chain = RootChain.decode(data)
    before = chain.before
    if previous is not None:
        before = continued(chain, previous).newest
    root = chain.newest
    rounds = signing_rounds(chain)
    return {
        "schema": SCHEMA,
        "swarm": root.swarm,
        "version": root.version,
        "chain": [r.version for r in chain.roots],
        "expires_at_s": root.expires_at_s,
        "expired": root.expired(now_s),
        "roles": {
            role.value: {"threshold": held.threshold, "keys": named_all(root, held.keys)}
            for role, held in root.roles.items()
        },
        "changes": _changes(before, root) if before is not None else None,
        "signed_by": _signed_by(rounds),
        "rounds": rounds,
        "complete": all(row["missing"] == 0 for row in rounds),
    }


def signing_rounds(chain: RootChain) -> list[dict[str, Any]]:
    """Whose agreement the newest root needs: that of the root before it, where there is one, and that of its own."""
    record = chain.newest_record
    rounds = []
    for root in (chain.before, chain.newest):
        if root is None:
            continue
        held = root.roles[Role.ROOT]
        signers = root.valid_signers(Role.ROOT, record.signed_bytes, record.signatures)
        rounds.append(
            {
                "version": root.version,
                "threshold": held.threshold,
                "signed_by": named_all(root, signers),
                "missing": max(held.threshold - len(signers), 0),
                "not_signed_by": named_all(root, held.keys - signers),
            }
        )
    return rounds


def continued(chain: RootChain, previous: bytes) -> RootChain:
    """The chain of `previous`, a root file that its owner trusts; `RefusedError` unless `chain` continues it."""
    with as_refusals("previous trust root"):
        trusted = RootChain.decode(previous)
        trusted.check()
    held = {record.sequence: record.content_hash for record in chain.records}
    if chain.newest.swarm != trusted.newest.swarm:
        raise RefusedError(
            f"the file is of swarm {chain.newest.swarm!r}, the previous one is of {trusted.newest.swarm!r}"
        )
    if held.get(trusted.newest.version) != trusted.newest_record.content_hash:
        raise RefusedError(
            f"the file does not continue the previous one: root {trusted.newest.version}, which you trust, is not in it"
        )
    return trusted


def named(root: TrustRoot, public_key: bytes) -> dict[str, str]:
    """A key as JSON shows it; the name is the one the trust root gives it, or empty."""
    return {
        "id": key_id(public_key),
        "name": root.names.get(public_key, ""),
        "public": public_key.hex(),
    }


def named_all(root: TrustRoot, public_keys: Iterable[bytes]) -> list[dict[str, str]]:
    """Keys as JSON shows them, ordered by name."""
    return sorted((named(root, k) for k in public_keys), key=lambda key: (key["name"], key["public"]))


def _signed_by(rounds: list[dict[str, Any]]) -> list[dict[str, str]]:
    by_key = {key["public"]: key for row in rounds for key in row["signed_by"]}
    return sorted(by_key.values(), key=lambda key: (key["name"], key["public"]))


def _changes(before: TrustRoot, after: TrustRoot) -> dict[str, Any]:
    roles = {}
    for role in Role:
        old, new = before.roles[role], after.roles[role]
        if old != new:
            roles[role.value] = {
                "added": named_all(after, new.keys - old.keys),
                "removed": named_all(before, old.keys - new.keys),
                "threshold": [old.threshold, new.threshold],
            }
    return {
        "since_version": before.version,
        "roles": roles,
        "expires_at_s": [before.expires_at_s, after.expires_at_s],
    }
