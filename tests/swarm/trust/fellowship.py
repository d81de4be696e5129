"""A closed swarm in memory, for the tests of membership: operators, tokens, certificates, revocations."""

from __future__ import annotations

import attrs

from swarm.joining import TokenFile, join, revocation_record, token_record
from swarm.news.record import Record
from swarm.signing import signed
from swarm.status import NodeStatus, status_record
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.tokens import JoinToken, Revocation
from tests.swarm.trust.ceremony import key, trust_root

OPERATORS = (key("olga"), key("otto"))
NOW_S = 1_800_000_000


def closed_root(threshold: int = 1, operators: tuple[SecretKey, ...] = OPERATORS) -> TrustRoot:
    """The usual root, with operators."""
    root = trust_root()
    names = {**root.names, **{k.public.raw: k.name for k in operators}}
    held = RoleKeys(threshold, frozenset(k.public.raw for k in operators))
    return attrs.evolve(root, names=names, roles={**root.roles, Role.OPERATOR: held})


def token_file(name: str = "batch", *signers: SecretKey, **terms: object) -> TokenFile:
    """A token, signed by these (by default by the first operator)."""
    secret = key(f"token {name}".replace(" ", "-"))
    token = JoinToken("fruits", name, secret.public.raw, **terms)
    return TokenFile(secret, signed(token_record(token, NOW_S - 1000), *(signers or OPERATORS[:1])))


def member_record(node: SecretKey, file: TokenFile, now_s: float = NOW_S, after: int = 0) -> Record:
    """The node's certificate."""
    return join(file, node, closed_root(), now_s, after).member


def status(node: SecretKey, now_s: float = NOW_S) -> Record:
    """The node says that it is well."""
    said = NodeStatus(int(now_s), node.name, "", 0, "", b"", "idle", "", (), 0, "test")
    return status_record(said, node, now_s)


def revoked(target: bytes, sequence: int = NOW_S, *signers: SecretKey, **words: object) -> Record:
    """An operator's word about a token or a node."""
    said = {"lifted": False, "reason": "stolen"} | words
    revocation = Revocation("fruits", target, **said)
    return signed(revocation_record(revocation, sequence), *(signers or OPERATORS[:1]))
