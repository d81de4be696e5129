"""Who is one of us: join tokens, the certificates made from them, and revocations (design D7). Pure codecs and checks.

Three kinds of record:

``token``
    Key: the token's id. Sequence: when it was made, whole seconds since 1970. Body: msgpack
    ``[1, swarm, name, token_public, expires_at_s, nodes_max, site, [[label, value], ...]]``. Signed by a threshold of
    the ``operator`` role. These are the terms on which nodes may join; whoever holds the token's secret key may.
``member``
    Key: the node's id. Sequence: when it was made. Body: msgpack ``[1, token_id]``. Two signatures: by the token's
    secret key (I was let in) and by the node's identity key (I am the one). It outlives the secret of the token.
``revoke``
    Key: a token's id or a node's id. Sequence: when it was said. Body: msgpack
    ``[1, swarm, target, lifted, reason, [node_id, ...]]``. Signed by a threshold of the ``operator`` role. The nodes
    named keep the membership that they have by a token that is revoked.

What is checked here depends on the record and the trust root alone. Whether a certificate counts depends also on what
else a node holds: that is `swarm.roll`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, TypeVar

import msgpack
from attrs import field, frozen

from swarm.errors import Reason, RefusedError
from swarm.trust.keys import KEY_BYTES, NODE_ID_BYTES, node_id_of, verifies
from swarm.trust.root import Role, TrustRoot
from swarm.trust.signed import SignedFact

TOKEN_KIND = "token"  # noqa: S105  a kind of record, no password
MEMBER_KIND = "member"
REVOKE_KIND = "revoke"
TOKEN_ID_BYTES = 16
"""Shorter than a node id, so that no revocation of one can be taken for one of the other."""
NAME_CHARS_MAX = 40
"""Of a token's name and site: what a status record has room for."""
LABELS_MAX = 8
LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,23}")
VALUE_CHARS_MAX = 40
NODES_MAX = 1_000_000
REASON_CHARS_MAX = 160
KEPT_MAX = 100
"""Nodes that a revoked token's revocation leaves members: as many as a record of 4 KiB holds beside its signatures."""
TIME_S_MAX = 2**53 - 1
_TOKEN_ID_DOMAIN = b"fruit-token-id-1\0"
_FORMAT = 1
_SIGNATURES = 2
"""Of a certificate: by the token's key and by the node's."""

Body = TypeVar("Body", "JoinToken", "Certificate", "Revocation")
Labels = tuple[tuple[str, str], ...]


def token_id_of(token_public: bytes) -> bytes:
    """The id of the token with this public key."""
    return hashlib.sha256(_TOKEN_ID_DOMAIN + token_public).digest()[:TOKEN_ID_BYTES]


def _in_order(labels: Labels) -> Labels:
    return tuple(sorted(labels))


@frozen
class JoinToken:
    """The terms on which nodes may join. Making one checks it; raises `RefusedError` in words."""

    swarm: str
    name: str
    """What people call it; decides nothing."""
    public: bytes
    """Its Ed25519 public key, 32 bytes."""
    expires_at_s: int = 0
    """No certificate made later counts. Whole seconds since 1970; 0: never."""
    nodes_max: int = 0
    """How many nodes may join by it; more are shown and do not count. 0: any number."""
    site: str = ""
    """Where its nodes are; empty: not told."""
    labels: Labels = field(default=(), converter=_in_order)
    """(label, value), ordered."""

    def __attrs_post_init__(self) -> None:
        _text(self.swarm, "swarm", 64, least=1)
        _text(self.name, "name", NAME_CHARS_MAX, least=1)
        if not isinstance(self.public, bytes) or len(self.public) != KEY_BYTES:
            raise RefusedError(f"token public key is not {KEY_BYTES} bytes")
        _whole(self.expires_at_s, "token expiry", TIME_S_MAX)
        _whole(self.nodes_max, "token node count", NODES_MAX)
        _text(self.site, "site", NAME_CHARS_MAX)
        if len(self.labels) > LABELS_MAX or len(dict(self.labels)) != len(self.labels):
            raise RefusedError(f"token does not have at most {LABELS_MAX} labels, each once")
        for label, value in self.labels:
            if not LABEL.fullmatch(label):
                raise RefusedError(
                    f"label {label!r:.40} is not 1 to 24 of a-z, 0-9 and ._-, a letter or digit first"
                )
            _text(value, f"label {label}", VALUE_CHARS_MAX)

    @property
    def token_id(self) -> bytes:
        """16 bytes; the key of its record."""
        return token_id_of(self.public)

    def expired(self, at_s: float) -> bool:
        """True from its expiry on."""
        return 0 < self.expires_at_s <= at_s

    def encode(self) -> bytes:
        """The body of the record."""
        labels = [list(pair) for pair in self.labels]
        terms = [self.swarm, self.name, self.public, self.expires_at_s, self.nodes_max, self.site, labels]
        return bytes(msgpack.packb([_FORMAT, *terms]))

    @classmethod
    def decode(cls, body: bytes) -> JoinToken:
        """Read a body; raises `RefusedError` on anything `encode` could not have written. No signature is checked."""
        match _unpacked(body, "join token"):
            case [str(swarm), str(name), bytes(public), expires_at_s, nodes_max, str(site), list(labels)]:
                pairs = tuple(_label(pair) for pair in labels)
                expires_at_s = _whole(expires_at_s, "token expiry", TIME_S_MAX)
                nodes_max = _whole(nodes_max, "token node count", NODES_MAX)
                token = cls(swarm, name, public, expires_at_s, nodes_max, site, pairs)
            case _:
                raise RefusedError("join token does not have the fields of one")
        return _canonical(token, body, "join token")


@frozen
class Certificate:
    """A node's membership by a token."""

    token_id: bytes

    def encode(self) -> bytes:
        """The body of the record."""
        return bytes(msgpack.packb([_FORMAT, self.token_id]))

    @classmethod
    def decode(cls, body: bytes) -> Certificate:
        """Read a body; raises `RefusedError`. No signature is checked."""
        match _unpacked(body, "certificate"):
            case [bytes(token_id)] if len(token_id) == TOKEN_ID_BYTES:
                return _canonical(cls(token_id), body, "certificate")
        raise RefusedError("certificate does not name a token")


def _ordered(node_ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(sorted(set(node_ids)))


@frozen
class Revocation:
    """A token or a node is no longer believed, or (`lifted`) is again. Making one checks it; raises `RefusedError`."""

    swarm: str
    target: bytes
    """A token's id (16 bytes) or a node's id (20)."""
    lifted: bool
    reason: str
    kept: tuple[bytes, ...] = field(default=(), converter=_ordered)
    """Nodes that stay members by a revoked token, ordered. Empty: none does."""

    def __attrs_post_init__(self) -> None:
        _text(self.swarm, "swarm", 64, least=1)
        _text(self.reason, "reason", REASON_CHARS_MAX)
        if not isinstance(self.target, bytes) or len(self.target) not in (TOKEN_ID_BYTES, NODE_ID_BYTES):
            raise RefusedError("revocation is neither of a token nor of a node")
        if self.kept and (self.lifted or not self.of_token):
            raise RefusedError("revocation keeps members of what is not a revoked token")
        if len(self.kept) > KEPT_MAX or any(len(node_id) != NODE_ID_BYTES for node_id in self.kept):
            raise RefusedError(f"revocation does not keep at most {KEPT_MAX} nodes")

    @property
    def of_token(self) -> bool:
        """True where a token is meant, False where it is a node."""
        return len(self.target) == TOKEN_ID_BYTES

    def encode(self) -> bytes:
        """The body of the record."""
        said = [self.swarm, self.target, self.lifted, self.reason, list(self.kept)]
        return bytes(msgpack.packb([_FORMAT, *said]))

    @classmethod
    def decode(cls, body: bytes) -> Revocation:
        """Read a body; raises `RefusedError` on anything `encode` could not have written. No signature is checked."""
        match _unpacked(body, "revocation"):
            case [str(swarm), bytes(target), bool(lifted), str(reason), list(kept)] if len(kept) <= KEPT_MAX:
                if not all(isinstance(node_id, bytes) for node_id in kept):
                    raise RefusedError("revocation keeps what is no node")
                revocation = cls(swarm, target, lifted, reason, tuple(kept))
            case _:
                raise RefusedError("revocation does not have the fields of one")
        return _canonical(revocation, body, "revocation")


# ---------------------------------------------------------------------- checks by the trust root


def check_token(root: TrustRoot, fact: SignedFact) -> JoinToken:
    """The terms in a ``token`` record that enough operators signed, or `RefusedError`."""
    _of_kind(fact, TOKEN_KIND)
    root.check_threshold(Role.OPERATOR, fact)
    token = JoinToken.decode(fact.body)
    if token.swarm != root.swarm:
        raise RefusedError(
            f"join token is for swarm {token.swarm!r}, this is {root.swarm!r}", Reason.WRONG_SWARM
        )
    if fact.key != token.token_id:
        raise RefusedError("join token travels under another token's key", Reason.DISAGREES)
    return token


def check_certificate(fact: SignedFact) -> Certificate:
    """The certificate in a ``member`` record that both its token's key and its node's key signed, or `RefusedError`.

    Whether the token is one of this swarm's is not said by that: see `swarm.roll`.
    """
    _of_kind(fact, MEMBER_KIND)
    if len(fact.signatures) != _SIGNATURES:
        raise RefusedError(
            f"certificate has {len(fact.signatures)} signatures, it needs exactly {_SIGNATURES}",
            Reason.NOT_SIGNED,
        )
    certificate = Certificate.decode(fact.body)
    signers = [s.public_key for s in fact.signatures]
    if certificate.token_id not in map(token_id_of, signers):
        raise RefusedError("certificate is not signed by the key of its token", Reason.NOT_SIGNED)
    if fact.key not in map(node_id_of, signers):
        raise RefusedError(
            "certificate is signed by another node than the one it is about", Reason.WRONG_NODE
        )
    if not all(verifies(s.public_key, fact.signed_bytes, s.signature) for s in fact.signatures):
        raise RefusedError("certificate has a signature that does not verify", Reason.NOT_SIGNED)
    return certificate


def check_revocation(root: TrustRoot, fact: SignedFact) -> Revocation:
    """The revocation in a ``revoke`` record that enough operators signed, or `RefusedError`."""
    _of_kind(fact, REVOKE_KIND)
    root.check_threshold(Role.OPERATOR, fact)
    revocation = Revocation.decode(fact.body)
    if revocation.swarm != root.swarm:
        raise RefusedError(
            f"revocation is for swarm {revocation.swarm!r}, this is {root.swarm!r}", Reason.WRONG_SWARM
        )
    if fact.key != revocation.target:
        raise RefusedError("revocation travels under another key than what it revokes", Reason.DISAGREES)
    return revocation


# ---------------------------------------------------------------------- small things


def _of_kind(fact: SignedFact, kind: str) -> None:
    if fact.kind != kind:
        raise RefusedError(f"record is of kind {fact.kind!r:.40}, not of kind {kind!r}", Reason.WRONG_KIND)


def _unpacked(body: bytes, what: str) -> list[Any]:
    """The fields behind the format number."""
    try:
        value = msgpack.unpackb(body, raw=False, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise RefusedError(f"{what} is not msgpack: {error}") from error
    match value:
        case [int(form), *fields] if form == _FORMAT and not isinstance(form, bool):
            return fields
    raise RefusedError(f"{what} is not of format {_FORMAT}; a newer fruitd may read it")


def _canonical(made: Body, body: bytes, what: str) -> Body:
    if made.encode() != body:
        raise RefusedError(f"{what} is not in its one canonical encoding")
    return made


def _label(pair: Any) -> tuple[str, str]:
    match pair:
        case [str(label), str(value)]:
            return label, value
    raise RefusedError("join token has a label that is not [label, value]")


def _whole(value: Any, what: str, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise RefusedError(f"{what} is not a whole number from 0 to {most}")


def _text(value: Any, what: str, chars_max: int, *, least: int = 0) -> None:
    if not isinstance(value, str) or not least <= len(value) <= chars_max or not value.isprintable():
        raise RefusedError(f"{what} is not printable text of {least} to {chars_max} characters")
