"""Changing who may do what: the next trust root, made from the one that counts now. Nobody has signed it yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from fruitd.errors import UsageError
from fruitd.maintainer.founding import check_names, check_room, majority, role_keys
from fruitd.maintainer.mistakes import as_refusals
from swarm.root_file import RootChain, root_record
from swarm.trust.keys import PublicKey, key_id
from swarm.trust.root import Role, RoleKeys, TrustRoot

Chosen = str | PublicKey
"""A key that holds a role: its name or id in the trust root, or the key itself."""


@frozen
class Change:
    """What is to be different in the next root."""

    add: tuple[tuple[Role, PublicKey], ...] = ()
    remove: tuple[tuple[Role, Chosen], ...] = ()
    replace: tuple[tuple[Chosen, PublicKey], ...] = ()
    """An old key, and the new one that takes over every role the old one holds."""
    thresholds: Mapping[Role, int] = field(factory=dict)
    expires_at_s: int | None = None
    """None: not given."""


def rotate(data: bytes, change: Change, *, expires_at_s: int) -> bytes:
    """The file with the next root added, unsigned. `expires_at_s` is the new root's expiry where `change` gives none.

    Raises:
        UsageError: the change cannot be meant, in words.
        RefusedError: the file cannot be continued.
    """
    with as_refusals("trust root"):
        chain = RootChain.decode(data)
        now = chain.check()  # A root that does not count has no successor: it has to be signed first.
        root = _changed(now, change, expires_at_s)
        check_room(root, now.roles[Role.ROOT].keys | root.roles[Role.ROOT].keys)
        return RootChain.of([*chain.records, root_record(root)]).encode()


def _changed(now: TrustRoot, change: Change, expires_at_s: int) -> TrustRoot:
    names = dict(now.names)
    keys = {role: set(held.keys) for role, held in now.roles.items()}
    for old, new in change.replace:
        _replace(now, keys, old, new)
        names[new.raw] = new.name
    for role, chosen in change.remove:
        keys[role].remove(_find(now, chosen, keys[role], f"{role} role"))
    for role, new in change.add:
        if new.raw in keys[role]:
            raise UsageError(f"{new.name} ({new.key_id}) holds the {role} role already")
        keys[role].add(new.raw)
        names[new.raw] = new.name
    for role in (Role.ROOT, Role.RELEASE):
        if not keys[role]:
            raise UsageError(f"nobody would hold the {role} role; add a key before the last one goes")
    roles = {role: _role(role, now.roles[role], keys[role], change.thresholds) for role in Role}
    if roles == now.roles and change.expires_at_s is None:
        raise UsageError(
            "nothing would change; say what should (--add, --remove, --replace, --threshold), or give --expires to renew it"
        )
    holders = set[bytes]().union(*keys.values())
    names = {raw: name for raw, name in names.items() if raw in holders}
    check_names(names)
    until_s = expires_at_s if change.expires_at_s is None else change.expires_at_s
    if roles == now.roles and until_s == now.expires_at_s:
        raise UsageError("nothing would change: it expires on that very day already")
    return evolve(now, version=now.version + 1, names=names, roles=roles, expires_at_s=until_s)


def _replace(now: TrustRoot, keys: dict[Role, set[bytes]], old: Chosen, new: PublicKey) -> None:
    gone = _find(now, old, set(now.names), "role")
    if gone == new.raw:
        raise UsageError(f"{new.name} ({new.key_id}) cannot be replaced by itself")
    for role, held in keys.items():
        if gone in held:
            if new.raw in held:
                raise UsageError(
                    f"{new.name} ({new.key_id}) holds the {role} role already; remove the old key instead"
                )
            held.remove(gone)
            held.add(new.raw)


def _role(role: Role, before: RoleKeys, keys: set[bytes], thresholds: Mapping[Role, int]) -> RoleKeys:
    threshold = thresholds.get(role)
    if threshold is None and before.keys and keys:
        threshold = before.threshold  # Who comes or goes does not silently change how many are needed.
        if threshold > len(keys):
            raise UsageError(
                f"{role} needs {threshold} keys, and {len(keys)} would be left: give --threshold {role}="
                f"{majority(len(keys))}, or add a key"
            )
    return role_keys(role, keys, threshold)


def _find(root: TrustRoot, chosen: Chosen, among: set[bytes], what: str) -> bytes:
    if isinstance(chosen, PublicKey):
        fitting = {chosen.raw} & among
        words = f"{chosen.name} ({chosen.key_id})"
    else:
        fitting = {raw for raw in among if chosen in (root.names.get(raw), key_id(raw))}
        words = chosen
    if not fitting:
        holders = ", ".join(sorted(root.names.get(raw, key_id(raw)) for raw in among))
        raise UsageError(f"{words} does not hold the {what}; these do: {holders or 'nobody'}")
    if len(fitting) > 1:
        raise UsageError(f"{words} names more than one key; give its id (fruit trust show)")
    return fitting.pop()
