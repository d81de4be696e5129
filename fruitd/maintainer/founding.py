"""The first act of a swarm: its trust root, made and signed by its root keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fruitd.errors import UsageError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import SIGNATURES_MAX, Record
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.trust.keys import PublicKey, SecretKey, key_id
from swarm.trust.root import Role, RoleKeys, TrustRoot, read_root

SCHEMA = 1


def majority(keys: int) -> int:
    """The usual threshold: more than half, so that two disjoint groups never both suffice."""
    return keys // 2 + 1


def found_swarm(
    name: str,
    root_keys: Sequence[SecretKey],
    release_keys: Sequence[PublicKey],
    *,
    root_threshold: int | None = None,
    release_threshold: int | None = None,
) -> bytes:
    """The file `root.fruit`: version 1 of the swarm's trust root, signed by all its root keys.

    A threshold of None is the majority of the keys. Raises `UsageError` where keys and thresholds do not go
    together.
    """
    _distinct("root", [key.public for key in root_keys])
    _distinct("release", release_keys)
    roles = {
        Role.ROOT: _role("root", [key.public for key in root_keys], root_threshold),
        Role.RELEASE: _role("release", release_keys, release_threshold),
    }
    names = {key.raw: key.name for key in [*release_keys, *(key.public for key in root_keys)]}
    with as_refusals():
        root = TrustRoot(name, 1, names, roles)
        return signed(root_record(root), *root_keys).encode()


def describe_root(data: bytes) -> dict[str, Any]:
    """What a trust root file says, for `fruit trust show --json` (docs/maintainer.md); also one not signed enough."""
    with as_refusals("trust root"):
        record = Record.decode(data)
        root = read_root(record)
    signers = root.valid_signers(Role.ROOT, record.signed_bytes, record.signatures)
    return {
        "schema": SCHEMA,
        "swarm": root.swarm,
        "version": root.version,
        "roles": {
            role.value: {"threshold": held.threshold, "keys": named_all(root, held.keys)}
            for role, held in root.roles.items()
        },
        "signed_by": named_all(root, signers),
        "complete": len(signers) >= root.roles[Role.ROOT].threshold,
    }


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


def _role(role: str, keys: Sequence[PublicKey], threshold: int | None) -> RoleKeys:
    if not keys:
        raise UsageError(f"nobody would hold the {role} role: give at least one --{role}-key")
    needed = majority(len(keys)) if threshold is None else threshold
    most = min(len(keys), SIGNATURES_MAX)
    if not 1 <= needed <= most:
        raise UsageError(
            f"--{role}-threshold {needed} is not from 1 to {most}; {len(keys)} {role} keys were given"
        )
    return RoleKeys(needed, frozenset(key.raw for key in keys))


def _distinct(role: str, keys: Sequence[PublicKey]) -> None:
    seen: dict[bytes, str] = {}
    for key in keys:
        if key.raw in seen:
            raise UsageError(f"{role} keys {seen[key.raw]} and {key.name} are one key given twice")
        if key.name in seen.values():
            raise UsageError(f"two {role} keys are both named {key.name}: nobody could tell them apart")
        seen[key.raw] = key.name
