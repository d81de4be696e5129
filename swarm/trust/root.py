"""The trust root: which keys may do what in a swarm (design D2).

Body of the record of kind ``root`` (sequence = version, key = swarm name in UTF-8, a zero byte, version in four
bytes, big-endian): msgpack ``[2, swarm, version, expires_at_s, [[public_key, name], ...], [[threshold,
[key_index, ...]], ...]]``; the keys ordered by their bytes, the roles in the order of `Role`, each role's indexes
rising. Each version is a record of its own, so that a store holds the whole chain and gossip carries it. Root N+1
counts where a threshold of N and of N+1 signed it (`check_successor`).

Source: TUF specification 1.0.34, sections 2.1, 4.3, 5.3 and 6.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgpack
from attrs import field, frozen

from swarm.errors import KeyFileError, NotYetError, Reason, RefusedError
from swarm.trust.keys import PublicKey, verifies
from swarm.trust.signed import SignatureLike, SignedFact
from swarm.trust.times import TIME_S_MAX

ROOT_KIND = "root"
KEYS_MAX = 24
"""All roles together. More do not fit a record of 4 KiB beside their names and as many signatures."""
SWARM_NAME_BYTES_MAX = 59
"""With a zero byte and the version it is the key of a record, of at most 64 bytes."""
VERSION_MAX = 2**31 - 1
_FORMAT = 2


class Role(StrEnum):
    """What a key may be trusted with."""

    ROOT = "root"
    """Says who holds the roles."""
    RELEASE = "release"
    """Signs manifests and torrents."""
    FRESHNESS = "freshness"
    """Says that a manifest is still current."""
    OPERATOR = "operator"
    """Signs membership, holds and configuration."""


@frozen
class RoleKeys:
    """Who holds a role, and how many of them must agree. Threshold 0 and no keys: nobody holds it."""

    threshold: int
    keys: frozenset[bytes]
    """Public keys."""


NOBODY = RoleKeys(0, frozenset())


def _copied(names: Mapping[bytes, str]) -> dict[bytes, str]:
    return dict(names)


def _all_roles(roles: Mapping[Role, RoleKeys]) -> dict[Role, RoleKeys]:
    return {role: roles.get(role, NOBODY) for role in Role}


@frozen(slots=False)
class TrustRoot:
    """Who may do what in one swarm. Making one checks it; raises `RefusedError` in words."""

    swarm: str
    version: int
    names: Mapping[bytes, str] = field(converter=_copied)
    """What people call each key; decides nothing."""
    roles: Mapping[Role, RoleKeys] = field(converter=_all_roles)
    expires_at_s: int = 0
    """Whole seconds since 1970 (UTC); 0: never."""

    def __attrs_post_init__(self) -> None:
        _check_swarm_name(self.swarm)
        if not 1 <= self.version <= VERSION_MAX:
            raise RefusedError(f"trust root version {self.version} is not from 1 to {VERSION_MAX}")
        if not 0 <= self.expires_at_s <= TIME_S_MAX:
            raise RefusedError(f"trust root's expiry {self.expires_at_s} is not from 0 to {TIME_S_MAX}")
        for role in (Role.ROOT, Role.RELEASE):
            if not self.roles[role].keys:
                raise RefusedError(f"trust root gives nobody the {role} role")
        for role, held in self.roles.items():
            _check_role(role, held)
        holders = frozenset[bytes]().union(*(held.keys for held in self.roles.values()))
        if holders != set(self.names) or len(holders) > KEYS_MAX:
            raise RefusedError(
                f"trust root must name each key that holds a role, at most {KEYS_MAX}, no others"
            )
        for public_key, name in self.names.items():
            _check_key(public_key, name)

    def expired(self, now_s: float) -> bool:
        """True from its expiry on. Looked at only at the end of a chain (TUF 5.3.10), and it never stops what is newer."""
        return 0 < self.expires_at_s <= now_s

    def holds(self, role: Role, public_key: bytes) -> bool:
        """True if this key holds the role."""
        return public_key in self.roles[role].keys

    def authorises(self, role: Role, message: bytes, signatures: Iterable[SignatureLike]) -> int:
        """How many distinct keys of the role validly signed `message`. Other signatures count for nothing."""
        return len(self.valid_signers(role, message, signatures))

    def valid_signers(
        self, role: Role, message: bytes, signatures: Iterable[SignatureLike], enough: int = KEYS_MAX
    ) -> frozenset[bytes]:
        """The distinct keys of the role that validly signed `message`; no more are looked for once there are `enough`."""
        valid: set[bytes] = set()
        for s in signatures:
            if len(valid) >= enough:
                break
            if (
                self.holds(role, s.public_key)
                and s.public_key not in valid
                and verifies(s.public_key, message, s.signature)
            ):
                valid.add(s.public_key)
        return frozenset(valid)

    def check_threshold(self, role: Role, fact: SignedFact) -> None:
        """Raise `RefusedError` unless as many distinct keys of the role signed as its threshold asks for."""
        threshold = self.roles[role].threshold
        if threshold < 1:
            raise RefusedError(f"nobody holds the {role} role in swarm {self.swarm}", Reason.NOT_SIGNED)
        # No further signature can change the answer; each one costs a Pi a third of a millisecond.
        valid = len(self.valid_signers(role, fact.signed_bytes, fact.signatures, threshold))
        if valid < threshold:
            raise RefusedError(
                f"{fact.kind} has {valid} valid signatures by {role} keys of swarm {self.swarm}, "
                f"it needs {threshold} of {len(self.roles[role].keys)}",
                Reason.NOT_SIGNED,
            )

    @cached_property
    def key(self) -> bytes:
        """The key of the record that carries this root; that of no other version, so that a store keeps them all."""
        return self.swarm.encode() + b"\0" + self.version.to_bytes(4, "big")

    def encode(self) -> bytes:
        """The body of the record."""
        order = sorted(self.names)
        index = {public_key: at for at, public_key in enumerate(order)}
        keys = [[public_key, self.names[public_key]] for public_key in order]
        roles = [[self.roles[r].threshold, sorted(index[k] for k in self.roles[r].keys)] for r in Role]
        return bytes(msgpack.packb([_FORMAT, self.swarm, self.version, self.expires_at_s, keys, roles]))

    @classmethod
    def decode(cls, body: bytes) -> TrustRoot:
        """Read a body; raises `RefusedError` on anything `encode` could not have written.

        No signature is checked.
        """
        try:
            value = msgpack.unpackb(body, raw=False, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"trust root is not msgpack: {error}") from error
        match value:
            case [int(form), str(swarm), version, expires_at_s, list(keys), list(roles)] if form == _FORMAT:
                names = dict(_key_row(row) for row in keys)
            case _:
                raise RefusedError(f"trust root is not of format {_FORMAT}; a newer fruitd may read it")
        order = list(names)
        if len(roles) != len(Role):
            raise RefusedError(f"trust root does not have its {len(Role)} roles")
        held = {role: _role_row(row, order) for role, row in zip(Role, roles, strict=True)}
        root = cls(swarm, _whole(version, "version"), names, held, _whole(expires_at_s, "expiry"))
        if root.encode() != body:
            raise RefusedError("trust root is not in its one canonical encoding")
        return root


def read_root(fact: SignedFact) -> TrustRoot:
    """The trust root in a record of kind ``root``, whoever signed it; raises `RefusedError`."""
    if fact.kind != ROOT_KIND:
        raise RefusedError(
            f"record is of kind {fact.kind!r}, a trust root is of kind {ROOT_KIND!r}", Reason.WRONG_KIND
        )
    root = TrustRoot.decode(fact.body)
    if fact.key != root.key or fact.sequence != root.version:
        raise RefusedError("trust root's swarm and version are not those of the record that carries it")
    return root


def check_root(fact: SignedFact) -> TrustRoot:
    """As `read_root`, and signed by the threshold of its own root keys.

    That makes a root whole, not trusted: trust comes from the operator who put the file on the node.
    """
    root = read_root(fact)
    root.check_threshold(Role.ROOT, fact)
    return root


def check_successor(trusted: TrustRoot, fact: SignedFact) -> TrustRoot:
    """The root that follows the trusted one, or `RefusedError` saying why it does not (`NotYetError`: one is missing).

    Neither root's expiry is looked at: a node that slept for years must still be able to follow the chain to its end.
    """
    root = read_root(fact)
    if root.swarm != trusted.swarm:
        raise RefusedError(
            f"trust root is of swarm {root.swarm!r}, this is {trusted.swarm!r}", Reason.WRONG_SWARM
        )
    # Exactly N+1: no root is skipped, none comes back (TUF 5.3.5). Before the signatures, which cost more.
    if root.version > trusted.version + 1:
        raise NotYetError(f"trust root {root.version} waits for {trusted.version + 1}, which comes before it")
    if root.version <= trusted.version:
        raise RefusedError(
            f"trust root {root.version} does not follow {trusted.version}: it is not newer", Reason.OLDER
        )
    trusted.check_threshold(Role.ROOT, fact)  # those who were trusted hand over (TUF 5.3.4)
    root.check_threshold(Role.ROOT, fact)  # those who take over have their keys, and agree (TUF 5.3.4)
    return root


def _check_swarm_name(swarm: str) -> None:
    if not swarm or not swarm.isprintable() or len(swarm.encode()) > SWARM_NAME_BYTES_MAX:
        raise RefusedError(f"swarm name is not 1 to {SWARM_NAME_BYTES_MAX} bytes of printable text")


def _check_role(role: Role, held: RoleKeys) -> None:
    least = 1 if held.keys else 0
    if not least <= held.threshold <= len(held.keys):
        raise RefusedError(
            f"threshold {held.threshold} of role {role} is not from {least} to its {len(held.keys)} keys"
        )


def _check_key(public_key: bytes, name: str) -> None:
    try:
        PublicKey(public_key, name)
    except KeyFileError as error:
        raise RefusedError(f"trust root: {error}") from error


def _key_row(row: Any) -> tuple[bytes, str]:
    match row:
        case [bytes(public_key), str(name)]:
            return public_key, name
    raise RefusedError("trust root has a key that is not [public key, name]")


def _role_row(row: Any, order: list[bytes]) -> RoleKeys:
    match row:
        case [threshold, list(indexes)]:
            if not all(isinstance(i, int) and 0 <= i < len(order) for i in indexes):
                raise RefusedError("trust root has a role held by a key that is not listed")
            return RoleKeys(_whole(threshold, "threshold"), frozenset(order[i] for i in indexes))
    raise RefusedError("trust root has a role that is not [threshold, keys]")


def _whole(value: Any, what: str) -> int:
    # A bool is an int to Python and would give one root a second encoding.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise RefusedError(f"trust root's {what} is not a whole number")
