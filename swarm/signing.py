"""Adding signatures to records: where keys (trust) and records (news) meet."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from swarm.errors import RefusedError
from swarm.news.record import RECORD_BYTES_MAX, SIGNATURES_MAX, Record, Signature
from swarm.trust.signer import Signer


def signed(record: Record, *keys: Signer) -> Record:
    """The record with these keys' signatures added, ordered by key; a key that signed before signs anew.

    Raises `RefusedError` where the record would grow beyond what travels.
    """
    return with_signatures(record, [Signature(key.public.raw, key.sign(record.signed_bytes)) for key in keys])


def with_signatures(record: Record, signatures: Iterable[Signature]) -> Record:
    """The record with these signatures added, ordered by key; they are not checked here, and replace older ones of their keys.

    Raises: as `signed`.
    """
    by_key = {s.public_key: s for s in record.signatures} | {s.public_key: s for s in signatures}
    if len(by_key) > SIGNATURES_MAX:
        raise RefusedError(
            f"{record.kind} would have {len(by_key)} signatures, the limit is {SIGNATURES_MAX}"
        )
    complete = attrs.evolve(record, signatures=tuple(by_key[raw] for raw in sorted(by_key)))
    size_bytes = len(complete.encode())
    if size_bytes > RECORD_BYTES_MAX:
        raise RefusedError(f"{record.kind} would be {size_bytes} bytes, the limit is {RECORD_BYTES_MAX}")
    return complete
