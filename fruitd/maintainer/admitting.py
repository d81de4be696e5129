"""The operators' side of membership: join tokens and revocations, made, signed by as many as it takes, and described."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.root_description import named_all
from swarm.errors import KeyFileError
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.joining import TOKEN_FILE_BYTES_MAX, TokenFile, revocation_record, token_record
from swarm.news.record import Record
from swarm.signing import signed, with_signatures
from swarm.trust.key_files import generate, read_bounded, read_private
from swarm.trust.keys import verifies
from swarm.trust.root import Role, TrustRoot
from swarm.trust.signer import Signer
from swarm.trust.tokens import REVOKE_KIND, TOKEN_KIND, JoinToken, Revocation

SCHEMA = 1
Said = JoinToken | Revocation


@frozen
class Paper:
    """Something operators sign: a token with its secret key, the terms of one without it, or a revocation."""

    record: Record
    secret: TokenFile | None = None

    @classmethod
    def read(cls, path: Path) -> Paper:
        """Read any of them; raises `RefusedError`, also for a token that others on this machine could read."""
        with as_refusals():
            data = read_bounded(path, TOKEN_FILE_BYTES_MAX)
        try:
            file = TokenFile.decode(data)
        except KeyFileError as no_token:
            if data.lstrip().startswith(b"{"):
                raise RefusedError(f"{path} {no_token}") from no_token
        else:
            with as_refusals():
                read_private(path, TOKEN_FILE_BYTES_MAX)
            return cls(file.terms, file)
        try:
            paper = cls(Record.decode(data))
            paper.said()
        except (SwarmRefusedError, RefusedError) as error:
            raise RefusedError(f"{path} is neither a join token nor a revocation: {error}") from error
        return paper

    def said(self) -> Said:
        """What it says, whoever signed it; raises `RefusedError`."""
        with as_refusals():
            match self.record.kind:
                case kind if kind == TOKEN_KIND:
                    token = JoinToken.decode(self.record.body)
                    fits = self.record.key == token.token_id
                    said: Said = token
                case kind if kind == REVOKE_KIND:
                    said = Revocation.decode(self.record.body)
                    fits = self.record.key == said.target
                case kind:
                    raise RefusedError(f"it is a record of kind {kind!r:.40}")
        if not fits:
            raise RefusedError("it says something else than the record that carries it")
        return said

    def encode(self) -> bytes:
        """The file."""
        if self.secret is not None:
            return attrs.evolve(self.secret, terms=self.record).encode()
        return self.record.encode()

    def without_secret(self) -> Paper:
        """What others may see and sign."""
        return Paper(self.record)


def new_token(root: TrustRoot, name: str, now_s: float, **terms: Any) -> Paper:
    """A new token that nobody has signed. `terms`: see `JoinToken`. Raises `RefusedError`."""
    check_operators(root)
    key = generate("token")
    with as_refusals():
        record = token_record(JoinToken(root.swarm, name, key.public.raw, **terms), int(now_s))
    return Paper(record, TokenFile(key, record))


def new_revocation(
    root: TrustRoot,
    target: bytes,
    reason: str,
    now_s: float,
    *,
    lifted: bool = False,
    kept: Iterable[bytes] = (),
    after: int = 0,
) -> Paper:
    """A word about a token or a node that nobody has signed. `after`: sequence of the word before. Raises `RefusedError`."""
    check_operators(root)
    with as_refusals():
        revocation = Revocation(root.swarm, target, lifted, reason, tuple(kept))
        return Paper(revocation_record(revocation, max(int(now_s), after + 1)))


def sign_paper(paper: Paper, signers: Iterable[Signer], root: TrustRoot) -> Paper:
    """With these operators' signatures; raises `RefusedError` where a key is no operator's."""
    _of_this_swarm(paper, root)
    record = paper.record
    for signer in signers:
        public = signer.public
        if not root.holds(Role.OPERATOR, public.raw):
            raise RefusedError(
                f"key {public.name} ({public.key_id}) is no operator key of swarm {root.swarm}"
            )
        with as_refusals():
            record = signed(record, signer)
    return attrs.evolve(paper, record=record)


def merge_papers(first: Paper, others: Sequence[Paper], root: TrustRoot) -> Paper:
    """With the signatures of all of them; the secret, if any, is the first's.

    Raises `RefusedError` where they say different things, or a signature does not verify.
    """
    _of_this_swarm(first, root)
    found = []
    for paper in (first, *others):
        if paper.record.content_hash != first.record.content_hash:
            raise RefusedError("these files say different things: sign copies of one file, and merge those")
        for signature in paper.record.signatures:
            if not verifies(signature.public_key, paper.record.signed_bytes, signature.signature):
                raise RefusedError(f"the signature of key {signature.public_key.hex()[:16]} does not verify")
            found.append(signature)
    with as_refusals():
        return attrs.evolve(first, record=with_signatures(first.record, found))


def missing_signatures(paper: Paper, root: TrustRoot) -> int:
    """How many more operators have to sign."""
    valid = root.authorises(Role.OPERATOR, paper.record.signed_bytes, paper.record.signatures)
    return max(root.roles[Role.OPERATOR].threshold - valid, 0)


def check_operators(root: TrustRoot) -> None:
    """Raise `RefusedError` where nobody holds the role."""
    if not root.roles[Role.OPERATOR].keys:
        raise RefusedError(
            f"nobody may admit nodes to swarm {root.swarm}, everybody's status counts: give the operator role to a key "
            "(fruit trust rotate --add operator=NAME.pub)"
        )


def describe(paper: Paper, root: TrustRoot | None) -> dict[str, Any]:
    """For `fruit member show --json` (docs/membership.md)."""
    said = paper.said()
    described: dict[str, Any] = {"schema": SCHEMA, "swarm": said.swarm, "made_at_s": paper.record.sequence}
    if isinstance(said, JoinToken):
        described |= {
            "type": "token",
            "id": said.token_id.hex(),
            "name": said.name,
            "site": said.site,
            "labels": dict(said.labels),
            "expires_at_s": said.expires_at_s or None,
            "nodes_max": said.nodes_max or None,
            "secret": paper.secret is not None,
        }
    else:
        described |= {
            "type": "revocation",
            "id": said.target.hex(),
            "of": "token" if said.of_token else "node",
            "lifted": said.lifted,
            "reason": said.reason,
            "kept": [node_id.hex() for node_id in said.kept],
        }
    if root is None:
        return described | {"signed_by": None, "missing": None, "complete": None}
    _of_this_swarm(paper, root)
    signers = root.valid_signers(Role.OPERATOR, paper.record.signed_bytes, paper.record.signatures)
    missing = missing_signatures(paper, root)
    complete = missing == 0 and bool(root.roles[Role.OPERATOR].keys)
    return described | {"signed_by": named_all(root, signers), "missing": missing, "complete": complete}


def _of_this_swarm(paper: Paper, root: TrustRoot) -> None:
    said = paper.said()
    if said.swarm != root.swarm:
        raise RefusedError(f"it is for swarm {said.swarm}, this trust root is of {root.swarm}")
