"""Finding where two stores differ without telling each other all they hold.

Both cut their summaries into the same buckets by the hash of (kind, key) and compare one digest for each.
Only the rows of buckets that differ travel. With 4,000 records and one difference that is 600 bytes and 65
rows, not 4,000 rows.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable, Sequence

import msgpack

from swarm.news.record import Record
from swarm.news.store import RecordStore, Summary

BUCKETS = 64
"""More: a longer question; fewer: more rows for each difference. Both sides must use the same number."""
BUCKET_DIGEST_BYTES = 8


def bucket_of(kind: str, key: bytes) -> int:
    """The bucket of a (kind, key). CRC-32 spreads; it protects nothing and need not."""
    return zlib.crc32(kind.encode() + b"\0" + key) % BUCKETS


def bucket_digests(summary: Summary) -> tuple[bytes, ...]:
    """One digest for each bucket of an ordered summary; equal digests, equal rows."""
    rows: list[list[tuple[str, bytes, int, bytes]]] = [[] for _ in range(BUCKETS)]
    for row in summary:
        rows[bucket_of(row[0], row[1])].append(row)
    return tuple(_digest(bucket) for bucket in rows)


def differing_rows(
    summary: Summary, theirs: Sequence[bytes], rows_max: int
) -> tuple[tuple[int, ...], Summary]:
    """The buckets told whole and the rows to tell, for a peer whose bucket digests are `theirs`.

    At most `rows_max` rows. Buckets that do not fit are left for the next time; if not even the first fits,
    its first rows are told, and no bucket is called whole.
    """
    mine = bucket_digests(summary)
    unequal = {number for number in range(BUCKETS) if mine[number] != theirs[number]}
    by_bucket: dict[int, Summary] = {number: [] for number in unequal}
    for row in summary:
        number = bucket_of(row[0], row[1])
        if number in unequal:
            by_bucket[number].append(row)
    whole: list[int] = []
    told: Summary = []
    for number in sorted(unequal):
        if len(told) + len(by_bucket[number]) > rows_max:
            break
        whole.append(number)
        told += by_bucket[number]
    if not whole and unequal:
        told = by_bucket[min(unequal)][:rows_max]
    return tuple(whole), told


def lacking(
    store: RecordStore, buckets: Collection[int], rows: Summary, *, wide: bool = False
) -> list[Record]:
    """What the store behind `rows` lacks, as far as `buckets`, which it told whole, can show it; `wide`: of what leaves sites."""
    if not buckets:
        return []
    missing = [r for r in store.missing_from(rows) if bucket_of(r.kind, store.row_key(r)) in buckets]
    return [r for r in missing if not (wide and store.stays(r.kind))]


def take(records: Iterable[Record], count_max: int, bytes_max: int) -> tuple[list[Record], list[Record]]:
    """Split `records` into the first that fit into one message, and the rest."""
    pending = list(records)
    size = 0
    for index, record in enumerate(pending):
        size += len(record.encode())
        if index == count_max or size > bytes_max:
            return pending[:index], pending[index:]
    return pending, []


def _digest(rows: Summary) -> bytes:
    if not rows:
        return bytes(BUCKET_DIGEST_BYTES)
    return hashlib.sha256(bytes(msgpack.packb(rows))).digest()[:BUCKET_DIGEST_BYTES]
