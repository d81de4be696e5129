"""Signing the newest trust root of a file, and bringing together what people signed apart from each other. Pure.

Signatures are a set: in whichever order people sign and somebody merges, the same bytes come out. Only valid signatures
of those who may sign are kept: nobody fills a file up with rubbish.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import Record, Signature
from swarm.root_file import RootChain
from swarm.signing import with_signatures
from swarm.trust.keys import verifies
from swarm.trust.root import Role
from swarm.trust.signer import Signer


def sign_root(data: bytes, signers: Iterable[Signer]) -> tuple[bytes, list[Signer]]:
    """The file with these signatures added to its newest root, and who of them had not signed it before.

    Raises `RefusedError` where a key holds the root role neither before the change nor after it.
    """
    with as_refusals("trust root"):
        chain = RootChain.decode(data)
    entitled = _entitled(chain)
    record = _tidy(chain.newest_record, entitled)
    new = []
    for signer in signers:
        public = signer.public
        if public.raw not in entitled:
            holders = ", ".join(sorted(_name(chain, raw) for raw in entitled))
            raise RefusedError(
                f"key {public.name} ({public.key_id}) holds the root role of swarm {chain.newest.swarm} neither before nor "
                f"after this change; these do: {holders}"
            )
        if any(s.public_key == public.raw for s in record.signatures):
            continue  # A second signature of one key changes nothing, and some tokens would make another one.
        with as_refusals():
            made = Signature(public.raw, signer.sign(record.signed_bytes))
            record = with_signatures(record, [made])
        new.append(signer)
    with as_refusals("trust root"):
        return RootChain.of([*chain.records[:-1], record]).encode(), new


def merge_roots(files: Sequence[bytes]) -> bytes:
    """One file with everybody's signatures; the same bytes whatever the order.

    Raises `RefusedError` where the files are not about one and the same change.
    """
    if not files:
        raise UsageError("there is nothing to merge")
    with as_refusals("trust root"):
        chains = [RootChain.decode(data) for data in files]
    longest = max(
        chains, key=lambda chain: len(chain.records)
    )  # the same whatever the order: so are the words
    for chain in chains:
        _check_same_change(longest, chain)
    records = []
    for at, record in enumerate(longest.records):
        versions = [r for chain in chains for r in chain.records if r.sequence == record.sequence]
        together = attrs.evolve(record, signatures=tuple(s for r in versions for s in r.signatures))
        before = RootChain(longest.records[: at + 1], longest.roots[: at + 1])
        records.append(_tidy(together, _entitled(before)))
    with as_refusals("trust root"):
        return RootChain.of(records).encode()


def _check_same_change(longest: RootChain, chain: RootChain) -> None:
    if longest.newest.swarm != chain.newest.swarm:
        raise RefusedError(
            f"one file is of swarm {longest.newest.swarm!r}, another of {chain.newest.swarm!r}"
        )
    if longest.newest.version != chain.newest.version:
        raise RefusedError(
            f"one file ends with root {longest.newest.version}, another with {chain.newest.version}: merge files of one change"
        )
    oldest, theirs = longest.records[0], chain.records[0]
    # Who adds a root of their own before the first would otherwise be whom the merged file begins with.
    if oldest.sequence != theirs.sequence:
        raise RefusedError(
            f"one file begins with root {oldest.sequence}, another with {theirs.sequence}: merge files that were "
            "made from the same one, the one you trust (fruit trust show tells what a file begins with)"
        )
    content = {record.sequence: record.content_hash for record in longest.records}
    for record in chain.records:
        if content.get(record.sequence) != record.content_hash:
            raise RefusedError(
                f"the files hold two different roots {record.sequence} of swarm {chain.newest.swarm}: compare them with "
                "fruit trust show; all but one of them have to be thrown away"
            )


def _entitled(chain: RootChain) -> frozenset[bytes]:
    """Whose signatures under the newest root mean anything: root keys before the change, and after it."""
    before = frozenset() if chain.before is None else chain.before.roles[Role.ROOT].keys
    return before | chain.newest.roles[Role.ROOT].keys


def _tidy(record: Record, entitled: frozenset[bytes]) -> Record:
    """The record with one valid signature of each entitled key that signed, ordered by key."""
    valid: dict[bytes, Signature] = {}
    for signature in sorted(record.signatures, key=lambda s: (s.public_key, s.signature)):
        raw = signature.public_key
        if raw in entitled and raw not in valid and verifies(raw, record.signed_bytes, signature.signature):
            valid[raw] = signature
    return attrs.evolve(record, signatures=tuple(valid[raw] for raw in sorted(valid)))


def _name(chain: RootChain, raw: bytes) -> str:
    for root in reversed(chain.roots):
        if raw in root.names:
            return root.names[raw]
    return raw.hex()[:16]
