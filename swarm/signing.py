"""Adding signatures to records: where keys (trust) and records (news) meet."""

from __future__ import annotations

import attrs

from swarm.errors import RefusedError
from swarm.news.record import RECORD_BYTES_MAX, SIGNATURES_MAX, Record, Signature
from swarm.trust.keys import SecretKey


def signed(record: Record, *keys: SecretKey) -> Record:
    """The record with these keys' signatures added, ordered by key; a key that signed before signs anew.

    Raises `RefusedError` where the record would grow beyond what travels.
    """
    made = {key.public.raw: Signature(key.public.raw, key.sign(record.signed_bytes)) for key in keys}
    by_key = {s.public_key: s for s in record.signatures} | made
    if len(by_key) > SIGNATURES_MAX:
        raise RefusedError(
            f"{record.kind} would have {len(by_key)} signatures, the limit is {SIGNATURES_MAX}"
        )
    complete = attrs.evolve(record, signatures=tuple(by_key[raw] for raw in sorted(by_key)))
    size_bytes = len(complete.encode())
    if size_bytes > RECORD_BYTES_MAX:
        raise RefusedError(f"{record.kind} would be {size_bytes} bytes, the limit is {RECORD_BYTES_MAX}")
    return complete
