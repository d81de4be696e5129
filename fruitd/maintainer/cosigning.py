"""One record that several holders of a role sign, or sign copies of: what `fruit freshness` and `fruit stack` have in common.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import Record
from swarm.signing import signed, with_signatures
from swarm.trust.keys import verifies
from swarm.trust.root import Role, TrustRoot
from swarm.trust.signer import Signer


def sign_as(role: Role, record: Record, signers: Iterable[Signer], root: TrustRoot) -> Record:
    """With these keys' signatures; raises `RefusedError` where a key does not hold the role."""
    for signer in signers:
        public = signer.public
        if not root.holds(role, public.raw):
            raise RefusedError(f"key {public.name} ({public.key_id}) is no {role} key of swarm {root.swarm}")
        with as_refusals():
            record = signed(record, signer)
    return merge_as(role, [record], root)


def merge_as(role: Role, records: Sequence[Record], root: TrustRoot) -> Record:
    """One record with everybody's signatures; order and repetition change nothing.

    Raises `RefusedError` where they say different things, or a signature is not by a key of the role or does not verify.
    """
    first, *_ = records
    for record in records:
        if record.content_hash != first.content_hash:
            raise RefusedError("these files say different things: sign copies of one file, and merge those")
        for signature in record.signatures:
            who = root.names.get(signature.public_key, signature.public_key.hex()[:16])
            if not root.holds(role, signature.public_key):
                raise RefusedError(f"{who} has signed it and is no {role} key of swarm {root.swarm}")
            if not verifies(signature.public_key, record.signed_bytes, signature.signature):
                raise RefusedError(f"the signature of {who} does not verify")
    told = sorted((s for r in records for s in r.signatures), key=lambda s: s.signature, reverse=True)
    with as_refusals():
        return with_signatures(attrs.evolve(first, signatures=()), told)


def missing_as(role: Role, record: Record, root: TrustRoot) -> int:
    """How many more holders of the role have to sign."""
    valid = root.authorises(role, record.signed_bytes, record.signatures)
    return max(root.roles[role].threshold - valid, 0)


def more_words(missing: int) -> str:
    """For people: what it needs."""
    return "1 more signature" if missing == 1 else f"{missing} more signatures"


def needed_words(missing: int) -> str:
    """For people: the same as a sentence."""
    return f"{more_words(missing)} {'is' if missing == 1 else 'are'} needed"
