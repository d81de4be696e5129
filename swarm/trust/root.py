"""The trust root: which keys may do what in a swarm (design D2).

Body of the record of kind ``root`` (key = swarm name in UTF-8, sequence = version):
msgpack ``[1, swarm, version, [[public_key, name], ...], [[threshold, [key_index, ...]], ...]]``; the keys
ordered by their bytes, the roles in the order of `Role`, each role's indexes rising. Root N+1 will count
where a threshold of N and of N+1 signed it; `check_threshold` is the same for both, so that the chain needs
nothing new here.

Source: TUF specification 1.0.34, sections 2.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgpack
from attrs import field, frozen

from swarm.errors import KeyFileError, RefusedError
from swarm.trust.keys import PublicKey, verifies
from swarm.trust.signed import SignatureLike, SignedFact

ROOT_KIND = "root"
KEYS_MAX = 24
"""All roles together. More do not fit a record of 4 KiB beside their names and as many signatures."""
SWARM_NAME_BYTES_MAX = 64
"""The name is the key of a record."""
VERSION_MAX = 2**31 - 1
_FORMAT = 1


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

    def __attrs_post_init__(self) -> None:
        _check_swarm_name(self.swarm)
        if not 1 <= self.version <= VERSION_MAX:
            raise RefusedError(f"trust root version {self.version} is not from 1 to {VERSION_MAX}")
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

    def holds(self, role: Role, public_key: bytes) -> bool:
        """True if this key holds the role."""
        return public_key in self.roles[role].keys

    def authorises(self, role: Role, message: bytes, signatures: Iterable[SignatureLike]) -> int:
        """How many distinct keys of the role validly signed `message`. Other signatures count for nothing."""
        return len(self.valid_signers(role, message, signatures))

    def valid_signers(
        self, role: Role, message: bytes, signatures: Iterable[SignatureLike]
    ) -> frozenset[bytes]:
        """The distinct keys of the role that validly signed `message`."""
        claimed = [s for s in signatures if self.holds(role, s.public_key)]
        return frozenset(s.public_key for s in claimed if verifies(s.public_key, message, s.signature))

    def check_threshold(self, role: Role, fact: SignedFact) -> None:
        """Raise `RefusedError` unless as many distinct keys of the role signed as its threshold asks for."""
        threshold = self.roles[role].threshold
        if threshold < 1:
            raise RefusedError(f"nobody holds the {role} role in swarm {self.swarm}")
        valid = self.authorises(role, fact.signed_bytes, fact.signatures)
        if valid < threshold:
            raise RefusedError(
                f"{fact.kind} has {valid} valid signatures by {role} keys of swarm {self.swarm}, "
                f"it needs {threshold} of {len(self.roles[role].keys)}"
            )

    @cached_property
    def key(self) -> bytes:
        """The key of the record that carries this root."""
        return self.swarm.encode()

    def encode(self) -> bytes:
        """The body of the record."""
        order = sorted(self.names)
        index = {public_key: at for at, public_key in enumerate(order)}
        keys = [[public_key, self.names[public_key]] for public_key in order]
        roles = [[self.roles[r].threshold, sorted(index[k] for k in self.roles[r].keys)] for r in Role]
        return bytes(msgpack.packb([_FORMAT, self.swarm, self.version, keys, roles]))

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
            case [int(form), str(swarm), int(version), list(keys), list(roles)] if form == _FORMAT:
                names = dict(_key_row(row) for row in keys)
            case _:
                raise RefusedError(f"trust root is not of format {_FORMAT}; a newer fruitd may read it")
        order = list(names)
        if len(roles) != len(Role):
            raise RefusedError(f"trust root does not have its {len(Role)} roles")
        held = {role: _role_row(row, order) for role, row in zip(Role, roles, strict=True)}
        root = cls(swarm, version, names, held)
        if root.encode() != body:
            raise RefusedError("trust root is not in its one canonical encoding")
        return root


def read_root(fact: SignedFact) -> TrustRoot:
    """The trust root in a record of kind ``root``, whoever signed it; raises `RefusedError`."""
    if fact.kind != ROOT_KIND:
        raise RefusedError(f"record is of kind {fact.kind!r}, a trust root is of kind {ROOT_KIND!r}")
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
        case [int(threshold), list(indexes)]:
            if not all(isinstance(i, int) and 0 <= i < len(order) for i in indexes):
                raise RefusedError("trust root has a role held by a key that is not listed")
            return RoleKeys(threshold, frozenset(order[i] for i in indexes))
    raise RefusedError("trust root has a role that is not [threshold, keys]")
