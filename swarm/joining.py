"""Joining a swarm: the token on the card becomes the node's own certificate. Records and files; the checks are trust's.

A token file (JSON) holds the token's secret key and its signed terms. Whoever has it may join until the token expires
or is revoked. A certificate file (msgpack) holds the signed terms and the node's ``member`` record, and no secret.
"""

from __future__ import annotations

import json
from typing import Any

import msgpack
from attrs import frozen

from swarm.errors import KeyFileError, Reason, RefusedError
from swarm.news.record import RECORD_BYTES_MAX, SEQUENCE_MAX, Record
from swarm.signing import signed
from swarm.trust.keys import KEY_BYTES, SecretKey
from swarm.trust.root import TrustRoot
from swarm.trust.tokens import (
    MEMBER_KIND,
    REVOKE_KIND,
    TOKEN_KIND,
    Certificate,
    JoinToken,
    Revocation,
    check_certificate,
    check_token,
    token_id_of,
)

TOKEN_FILE_BYTES_MAX = 16 * 1024
"""Two hex digits for each byte of a record, and the seed."""
CERTIFICATE_FILE_BYTES_MAX = 2 * RECORD_BYTES_MAX + 64
_TOKEN_FILE_TYPE = "fruit-join-token"  # noqa: S105  a file type, no password
_VERSION = 1


def token_record(token: JoinToken, made_at_s: int) -> Record:
    """The record that carries these terms, unsigned."""
    return Record(TOKEN_KIND, token.token_id, made_at_s, token.encode())


def revocation_record(revocation: Revocation, sequence: int) -> Record:
    """The record that carries this revocation, unsigned. `sequence`: the time, higher than that of the one before."""
    return Record(REVOKE_KIND, revocation.target, sequence, revocation.encode())


@frozen
class TokenFile:
    """A join token with its secret key, as it lies on a card."""

    key: SecretKey
    terms: Record
    """Of kind ``token``, with the signatures gathered so far."""

    @property
    def token(self) -> JoinToken:
        """What the terms say; no signature is checked."""
        return JoinToken.decode(self.terms.body)

    def encode(self) -> bytes:
        """The file: whoever reads it can join."""
        document = {
            "type": _TOKEN_FILE_TYPE,
            "version": _VERSION,
            "name": self.token.name,
            "seed": self.key.seed.hex(),
            "terms": self.terms.encode().hex(),
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> TokenFile:
        """Read a token file; raises `KeyFileError`, with no part of the secret in the message."""
        document = _document(data)
        try:
            terms = Record.decode(_hex(document["terms"], RECORD_BYTES_MAX))
            token = JoinToken.decode(terms.body)
        except RefusedError as error:
            raise KeyFileError(f"is no join token: {error}") from error
        key = SecretKey(_hex(document["seed"], KEY_BYTES), "token")
        if terms.kind != TOKEN_KIND or not terms.key == token.token_id == token_id_of(key.public.raw):
            raise KeyFileError("is damaged: its terms do not belong to its key")
        return cls(key, terms)


@frozen
class OwnCertificate:
    """What a node shows to be a member: the terms of its token, and its own ``member`` record."""

    terms: Record
    member: Record

    @property
    def token(self) -> JoinToken:
        """What the terms say."""
        return JoinToken.decode(self.terms.body)

    def encode(self) -> bytes:
        """The certificate file. It holds no secret."""
        return bytes(msgpack.packb([_VERSION, self.terms.encode(), self.member.encode()]))

    @classmethod
    def decode(cls, data: bytes) -> OwnCertificate:
        """Read a certificate file; raises `RefusedError`. Whether operators signed the terms is not looked at."""
        if len(data) > CERTIFICATE_FILE_BYTES_MAX:
            raise RefusedError("certificate file is too large")
        try:
            value = msgpack.unpackb(data, raw=False, use_list=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError(f"certificate file is not msgpack: {error}") from error
        match value:
            case [int(version), bytes(terms), bytes(member)] if version == _VERSION:
                own = cls(Record.decode(terms), Record.decode(member))
            case _:
                raise RefusedError("certificate file is none of version 1")
        certificate = check_certificate(own.member)
        if own.terms.kind != TOKEN_KIND or not own.token.token_id == certificate.token_id == own.terms.key:
            raise RefusedError("certificate file holds the terms of another token")
        return own


def join(
    file: TokenFile, identity: SecretKey, root: TrustRoot, now_s: float, after: int = 0
) -> OwnCertificate:
    """Make the certificate of a node.

    Args:
        file: the token on its card.
        identity: the node's key.
        root: the trust root of today.
        now_s: the node's time, never below its floor, seconds since 1970.
        after: sequence of the certificate it had before, 0 if none.

    Raises:
        RefusedError: the token is another swarm's, is not signed by enough operators, or has expired.
    """
    token = check_token(root, file.terms)
    made_at_s = min(max(int(now_s), after + 1), SEQUENCE_MAX)
    if token.expired(made_at_s):
        raise RefusedError(
            f"join token {token.name} has expired; ask an operator for a new one", Reason.EXPIRED
        )
    body = Certificate(token.token_id).encode()
    member = signed(Record(MEMBER_KIND, identity.node_id, made_at_s, body), file.key, identity)
    return OwnCertificate(file.terms, member)


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > TOKEN_FILE_BYTES_MAX:
        raise KeyFileError(f"is no join token: it is larger than {TOKEN_FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise KeyFileError("is no join token: it is not JSON") from error
    if not isinstance(document, dict) or document.get("type") != _TOKEN_FILE_TYPE:
        raise KeyFileError(f"is no join token: its type is not {_TOKEN_FILE_TYPE}")
    if document.get("version") != _VERSION or isinstance(document["version"], bool):
        raise KeyFileError(f"is a join token of another version than {_VERSION}; a newer fruit may read it")
    if set(document) != {"type", "version", "name", "seed", "terms"}:
        raise KeyFileError("has fields that do not belong in a join token, or lacks some that do")
    return document


def _hex(value: Any, bytes_max: int) -> bytes:
    try:
        if isinstance(value, str) and len(value) <= 2 * bytes_max:
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise KeyFileError("is no join token: a field is not hex digits")
