"""The first act of a swarm: its trust root, made, and signed by those of its root keys that are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import RECORD_BYTES_MAX, SIGNATURES_MAX, Record, Signature
from swarm.root_file import RootChain, root_record
from swarm.signing import signed
from swarm.trust.keys import KEY_BYTES, SIGNATURE_BYTES, PublicKey
from swarm.trust.root import KEYS_MAX, NOBODY, Role, RoleKeys, TrustRoot
from swarm.trust.signer import Signer


def majority(keys: int) -> int:
    """The usual threshold: more than half, so that two disjoint groups never both suffice."""
    return keys // 2 + 1


def found_swarm(
    name: str,
    root_keys: Sequence[Signer | PublicKey],
    release_keys: Sequence[PublicKey],
    *,
    freshness_keys: Sequence[PublicKey] = (),
    operator_keys: Sequence[PublicKey] = (),
    root_threshold: int | None = None,
    release_threshold: int | None = None,
    freshness_threshold: int | None = None,
    operator_threshold: int | None = None,
    expires_at_s: int = 0,
) -> bytes:
    """The file `root.fruit`: version 1 of the swarm's trust root, signed by the root keys that can sign here.

    Root keys of which only the public half is here sign later (`root_signing`). A threshold of None is the majority of
    the keys. Raises `UsageError` where keys and thresholds do not go together.
    """
    held = {
        Role.ROOT: [key if isinstance(key, PublicKey) else key.public for key in root_keys],
        Role.RELEASE: list(release_keys),
        Role.FRESHNESS: list(freshness_keys),
        Role.OPERATOR: list(operator_keys),
    }
    thresholds = {
        Role.ROOT: root_threshold,
        Role.RELEASE: release_threshold,
        Role.FRESHNESS: freshness_threshold,
        Role.OPERATOR: operator_threshold,
    }
    for role in (Role.ROOT, Role.RELEASE):
        if not held[role]:
            raise UsageError(f"nobody would hold the {role} role: give at least one --{role}-key")
    for role, keys in held.items():
        _once(role, keys)
    names = {key.raw: key.name for keys in held.values() for key in keys}
    check_names(names)
    roles = {role: role_keys(role, [k.raw for k in held[role]], thresholds[role]) for role in Role}
    with as_refusals():
        root = TrustRoot(name, 1, names, roles, expires_at_s)
        check_room(root, root.roles[Role.ROOT].keys)
        signers = [key for key in root_keys if not isinstance(key, PublicKey)]
        return RootChain.of([signed(root_record(root), *signers)]).encode()


def role_keys(role: Role, keys: Iterable[bytes], threshold: int | None) -> RoleKeys:
    """Who holds a role; a threshold of None is the majority. Raises `UsageError` in words."""
    holders = frozenset(keys)
    if not holders:
        if threshold:
            raise UsageError(f"--{role}-threshold {threshold}, but nobody would hold the {role} role")
        return NOBODY
    needed = majority(len(holders)) if threshold is None else threshold
    most = min(len(holders), SIGNATURES_MAX)
    if not 1 <= needed <= most:
        raise UsageError(
            f"threshold {needed} of role {role} is not from 1 to {most}: {len(holders)} keys would hold it"
        )
    return RoleKeys(needed, holders)


def check_names(names: Mapping[bytes, str]) -> None:
    """Raise `UsageError` where people could not tell two keys apart, or there are more than a root has room for."""
    if len(names) > KEYS_MAX:
        raise UsageError(f"{len(names)} keys would hold a role; a trust root has room for {KEYS_MAX}")
    seen: set[str] = set()
    for name in names.values():
        if name in seen:
            raise UsageError(f"two keys are both named {name}: nobody could tell them apart")
        seen.add(name)


def check_room(root: TrustRoot, signers: frozenset[bytes]) -> None:
    """Raise `RefusedError` where the root, signed by all who may sign it, would not fit the record that carries it."""
    if len(signers) > SIGNATURES_MAX:
        raise RefusedError(
            f"{len(signers)} root keys could sign this root, before and after taken together; there is room for "
            f"{SIGNATURES_MAX}: change fewer at once"
        )
    full: Record = attrs.evolve(
        root_record(root),
        signatures=tuple(Signature(bytes(KEY_BYTES), bytes(SIGNATURE_BYTES)) for _ in signers),
    )
    if len(full.encode()) > RECORD_BYTES_MAX:
        raise RefusedError(
            "with all its signatures the trust root would be larger than 4 KiB: take shorter names or fewer keys"
        )


def _once(role: Role, keys: Sequence[PublicKey]) -> None:
    seen: dict[bytes, str] = {}
    for key in keys:
        if key.raw in seen:
            raise UsageError(f"{role} keys {seen[key.raw]} and {key.name} are one key given twice")
        seen[key.raw] = key.name
