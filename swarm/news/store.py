"""The store of records: what this node knows, and how two stores that meet come to agree (design D1).

Per (kind, key) the store keeps the verified record with the highest sequence. Two verified records of one
sequence with different content are proof of equivocation: the store keeps the two with the smallest content
hashes, whatever came first, and nobody may act on either until a higher sequence settles it. What a store
holds is therefore a function of the set of records it was ever offered: order and repetition do not matter,
and merging is a join.

Records of a *chain*, such as trust roots, are judged one by the one before, so the store keeps all of them. Two stores agree
about a chain where they agree about its newest record; those before it are held for whoever missed them and are not told in
summaries, because a node that was given a late root could never judge the early ones.

The bounds are joins too: where a kind is full, the keys with the highest (sequence, key) stay. So full stores
agree as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from attrs import field, frozen

from swarm.errors import Reason, RefusedError
from swarm.news.limits import NEWS_LIMITS, KindLimits
from swarm.news.record import RECORD_BYTES_MAX, Record

CHAIN_AHEAD_MAX = 64
"""Records of a chain asked for at a time: one message, so that a peer that claims a far number costs one question."""
HORIZON_STEP_S = 3_600.0
"""Expiry moves in steps, so that stores which prune at different moments of an hour still hold the same."""

Summary = list[tuple[str, bytes, int, bytes]]
"""Rows of (kind, key, sequence, hash8): all another store needs to tell what each of the two lacks."""


class Standing(StrEnum):
    """What an offered record was to the store."""

    NEW = "new"
    """Verified and now held: pass it on."""
    KNOWN = "known"
    """Nothing the store did not have."""
    OLDER = "older"
    """Behind what is held, expired, or too old for a full store. Not verified."""
    DISPUTED = "disputed"
    """Verified, and proof that its signers said two things at once: pass it on, act on neither."""


@frozen
class Outcome:
    """What became of an offered record, and what it pushed out."""

    standing: Standing
    displaced: tuple[Record, ...] = ()
    """Records of the same (kind, key) that are no longer held."""
    forgotten: tuple[tuple[str, bytes], ...] = ()
    """Other (kind, key) that had to go because the kind is full."""

    @property
    def news(self) -> bool:
        """True where the store changed: the record is worth keeping on disk and passing on."""
        return self.standing in (Standing.NEW, Standing.DISPUTED)


def _by_hash(record: Record) -> bytes:
    return record.content_hash


def _sorted_records(records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=_by_hash))


@frozen
class Entry:
    """What is held for one (kind, key): one record, or two of one sequence that contradict each other."""

    records: tuple[Record, ...] = field(converter=_sorted_records)

    @property
    def disputed(self) -> bool:
        """True where two valid records contradict each other."""
        return len(self.records) > 1

    @property
    def record(self) -> Record | None:
        """The record a node may act on; None while the entry is disputed."""
        return None if self.disputed else self.records[0]

    @property
    def sequence(self) -> int:
        """The same in all records of the entry."""
        return self.records[0].sequence

    @property
    def hash8(self) -> bytes:
        """Eight bytes that tell this content from another of the same sequence, in summaries."""
        if not self.disputed:
            return self.records[0].content_hash[:8]
        return hashlib.sha256(b"".join(r.content_hash for r in self.records)).digest()[:8]


class RecordStore:
    """Verified records, bounded, in memory. Pure: making them durable is the shell's work.

    Args:
        verdict: raises `RefusedError` for a record nobody should believe. Called once for each record that
        would
            change the store, never for one that is known or older: repeats cost a comparison, no signature
            check.
        limits: the kinds that are held at all; records of other kinds are refused.
    """

    def __init__(
        self, verdict: Callable[[Record], None], limits: Mapping[str, KindLimits] = NEWS_LIMITS
    ) -> None:
        self._verdict = verdict
        self._limits = dict(limits)
        self._entries: dict[str, dict[bytes, Entry]] = {kind: {} for kind in self._limits}
        self._turn = {kind: number for number, kind in enumerate(self._limits)}
        self._horizon = dict.fromkeys(self._limits, 0)
        self._sums = {False: 0, True: 0}
        """Of what leaves a site (False), and of what stays in it (True)."""
        self._lowest_held: dict[str, tuple[int, bytes]] = {}
        self._ends: dict[tuple[str, bytes], Entry] = {}

    def offer(self, record: Record) -> Outcome:
        """Take a record in if it is news.

        Raises `RefusedError`, with the store unchanged, if it must not be believed.
        """
        limits = self._limits.get(record.kind)
        if limits is None:
            raise RefusedError(f"records of kind {record.kind!r} are not known here", Reason.UNKNOWN_KIND)
        held = self._entries[record.kind].get(record.key)
        standing = self._standing(record, held)
        if standing in (Standing.KNOWN, Standing.OLDER):
            return Outcome(standing)
        if len(record.encode()) > RECORD_BYTES_MAX:
            raise RefusedError(f"record is larger than {RECORD_BYTES_MAX} bytes")
        self._verdict(record)
        if standing is Standing.DISPUTED and held is not None:
            return self._dispute(held, record)
        forgotten = self._make_room(record, limits) if held is None else ()
        self._put(record.kind, record.key, Entry((record,)))
        return Outcome(standing, held.records if held else (), forgotten)

    def holds_kind(self, kind: str) -> bool:
        """False for a kind this store refuses."""
        return kind in self._limits

    def get(self, kind: str, key: bytes) -> Entry | None:
        """What is held for (kind, key)."""
        return self._entries.get(kind, {}).get(key)

    def entries(self, kind: str) -> list[Entry]:
        """All entries of a kind, ordered by key."""
        held = self._entries.get(kind, {})
        return [held[key] for key in sorted(held)]

    def digest(self, *, wide: bool = False) -> bytes:
        """16 bytes, equal in two stores exactly if both hold the same news; `wide`: the same of what leaves a site.

        The sum, modulo 2**2048, of the records' hashes stretched to that width (AdHash): cheap to keep up to
        date, independent of order, and so wide that nobody can choose records whose hashes cancel out, as
        they could with XOR.
        Source: Bellare & Micciancio 1997; Wagner 2002 for the width.
        """
        ends = b"".join(self._ends[name].hash8 for name in sorted(self._ends))
        total = self._sums[False] + (0 if wide else self._sums[True])
        return hashlib.sha256((total % _SUM_MODULUS).to_bytes(_SUM_BYTES, "big") + ends).digest()[:16]

    def stays(self, kind: str) -> bool:
        """True for a kind that is not told outside the site it was made in."""
        limits = self._limits.get(kind)
        return limits is not None and limits.stays

    def summary(self, *, wide: bool = False) -> Summary:
        """One row for each entry, or for the newest of each chain, ordered by kind and key; `wide`: of what leaves a site."""
        rows = [
            (kind, key, entry.sequence, entry.hash8)
            for kind, held in self._entries.items()
            if not self._limits[kind].chain and not (wide and self._limits[kind].stays)
            for key, entry in held.items()
        ]
        return sorted(rows + [self.row(entry.records[0]) for entry in self._ends.values()])

    def row(self, record: Record) -> tuple[str, bytes, int, bytes]:
        """What a summary says of the entry that this record belongs to."""
        entry = self.get(record.kind, record.key)
        hash8 = entry.hash8 if entry is not None else record.content_hash[:8]
        return record.kind, self.row_key(record), record.sequence, hash8

    def row_key(self, record: Record) -> bytes:
        """The key under which a summary tells of this record: its own, or the name of its chain."""
        limits = self._limits.get(record.kind)
        chain = record.key[:-_LINK_BYTES]
        if limits is None or not limits.chain or record.key != _link(chain, record.sequence):
            return record.key
        return chain

    def missing_from(self, summary: Summary) -> list[Record]:
        """The records held here that the store behind `summary` lacks, kinds in the order of the limits; of a chain the
        oldest first, else the newest."""
        theirs = {(kind, key): (sequence, hash8) for kind, key, sequence, hash8 in summary}
        lacking: list[Record] = []
        for kind, held in self._entries.items():
            sign = 1 if self._limits[kind].chain else -1
            ordered = sorted(held.items(), key=lambda item: (sign * item[1].sequence, item[0]))
            for _, entry in ordered:
                sequence, hash8 = theirs.get((kind, self.row_key(entry.records[0])), (-1, b""))
                if entry.sequence > sequence or (entry.sequence == sequence and entry.hash8 != hash8):
                    lacking.extend(entry.records)
        return lacking

    def wanted(self, summary: Summary) -> list[tuple[str, bytes]]:
        """The (kind, key) that the store behind `summary` knows more of, and that this one would keep; kinds in the order of
        the limits; of a chain those that follow what is held, oldest first."""
        wanted: list[tuple[str, bytes]] = []
        for kind, key, sequence, hash8 in summary:
            if kind not in self._limits:
                continue
            if self._limits[kind].chain:
                wanted += [(kind, link) for link in self._links_wanted(kind, key, sequence, hash8)]
            elif self._would_keep(kind, key, sequence, hash8):
                wanted.append((kind, key))
        return sorted(wanted, key=lambda row: self._turn[row[0]])

    def behind_a_chain(self, summary: Summary) -> bool:
        """True if the store behind `summary` knows more of a chain that is held here too."""
        return any(
            kind in self._limits
            and self._limits[kind].chain
            and self._links_wanted(kind, key, sequence, hash8)
            for kind, key, sequence, hash8 in summary
        )

    def rejudge(self, kinds: Iterable[str]) -> tuple[list[tuple[str, bytes]], list[Record]]:
        """Judge again what is held of these kinds, because what it is judged by has changed.

        Returns:
            The (kind, key) of which a record is believed no more and was dropped; and what is left where it was one of two:
            a dispute that has settled itself.
        """
        fallen: list[tuple[str, bytes]] = []
        left: list[Record] = []
        for kind in kinds:
            for key, entry in sorted(self._entries.get(kind, {}).items()):
                kept = tuple(record for record in entry.records if self._stands(record))
                if len(kept) == len(entry.records):
                    continue
                fallen.append((kind, key))
                self.forget(kind, key)
                if kept:
                    self._put(kind, key, Entry(kept))
                    left += kept
        return fallen, left

    def forget(self, kind: str, key: bytes) -> bool:
        """Drop what is held for (kind, key); False if nothing was. A peer may offer it again."""
        held = self._entries.get(kind, {})
        if key not in held:
            return False
        self._lowest_held.pop(kind, None)
        self._add(held.pop(key), -1)
        return True

    def prune(self, now_s: float) -> list[tuple[str, bytes]]:
        """Drop what has expired at `now_s` (seconds since 1970); returns what was dropped."""
        dropped = []
        for kind, limits in self._limits.items():
            if limits.lifetime_s is None:
                continue
            expired_s = (now_s - limits.lifetime_s) // HORIZON_STEP_S * HORIZON_STEP_S
            # It may go back: a clock that once ran ahead, or was led astray by a stolen key, must not cost news for ever.
            self._horizon[kind] = max(0, int(expired_s * 1000))
            held = self._entries[kind]
            dropped += [(kind, key) for key in sorted(held) if held[key].sequence < self._horizon[kind]]
        for kind, key in dropped:
            self.forget(kind, key)
        return dropped

    def _standing(self, record: Record, held: Entry | None) -> Standing:
        """What the record would be if its signatures hold. Looks at no signature."""
        if held is None:
            late = self._too_late(record.kind, record.key, record.sequence)
            return Standing.OLDER if late else Standing.NEW
        if record.sequence != held.sequence:
            return Standing.NEW if record.sequence > held.sequence else Standing.OLDER
        hashes = [r.content_hash for r in held.records]
        if record.content_hash in hashes or (held.disputed and record.content_hash > max(hashes)):
            return Standing.KNOWN
        return Standing.DISPUTED

    def _would_keep(self, kind: str, key: bytes, sequence: int, hash8: bytes) -> bool:
        held = self._entries[kind].get(key)
        if held is None:
            return not self._too_late(kind, key, sequence)
        return sequence > held.sequence or (sequence == held.sequence and hash8 != held.hash8)

    def _links_wanted(self, kind: str, chain: bytes, sequence: int, hash8: bytes) -> list[bytes]:
        """Keys of a chain's records that follow the newest held, up to `sequence`; none of a chain not held."""
        end = self._ends.get((kind, chain))
        if end is None:
            return []
        if sequence == end.sequence and hash8 != end.hash8:
            return [_link(chain, sequence)]
        last = min(sequence, end.sequence + CHAIN_AHEAD_MAX)
        return [_link(chain, number) for number in range(end.sequence + 1, last + 1)]

    def _stands(self, record: Record) -> bool:
        try:
            self._verdict(record)
        except RefusedError:
            return False
        return True

    def _too_late(self, kind: str, key: bytes, sequence: int) -> bool:
        """True for a key not held that is expired, or that a full store would drop at once."""
        held = self._entries[kind]
        if sequence < self._horizon[kind]:
            return True
        return len(held) >= self._limits[kind].keys_max and (sequence, key) < self._lowest(kind)

    def _lowest(self, kind: str) -> tuple[int, bytes]:
        """The (sequence, key) that would go first; remembered, since a summary asks often."""
        if kind not in self._lowest_held:
            self._lowest_held[kind] = min((e.sequence, key) for key, e in self._entries[kind].items())
        return self._lowest_held[kind]

    def _make_room(self, record: Record, limits: KindLimits) -> tuple[tuple[str, bytes], ...]:
        if len(self._entries[record.kind]) < limits.keys_max:
            return ()
        _, key = self._lowest(record.kind)
        self.forget(record.kind, key)
        return ((record.kind, key),)

    def _dispute(self, held: Entry, record: Record) -> Outcome:
        kept = _sorted_records((*held.records, record))[:2]
        displaced = tuple(r for r in held.records if r not in kept)
        self._put(record.kind, record.key, Entry(kept))
        return Outcome(Standing.DISPUTED, displaced)

    def _put(self, kind: str, key: bytes, entry: Entry) -> None:
        held = self._entries[kind].get(key)
        if held is not None:
            self._add(held, -1)
        self._lowest_held.pop(kind, None)
        self._entries[kind][key] = entry
        self._add(entry, 1)

    def _add(self, entry: Entry, sign: int) -> None:
        if self._limits[entry.records[0].kind].chain:
            self._end_chain(entry, sign)
            return
        stays = self._limits[entry.records[0].kind].stays
        for record in entry.records:
            element = hashlib.shake_256(record.content_hash).digest(_SUM_BYTES)
            self._sums[stays] = (self._sums[stays] + sign * int.from_bytes(element, "big")) % _SUM_MODULUS

    def _end_chain(self, entry: Entry, sign: int) -> None:
        """Note which entry of this one's chain is the newest, as it comes or goes."""
        kind, chain = entry.records[0].kind, self.row_key(entry.records[0])
        end = self._ends.get((kind, chain))
        if sign > 0 and (end is None or entry.sequence >= end.sequence):
            self._ends[kind, chain] = entry
        elif sign < 0 and entry == end:
            del self._ends[kind, chain]
            for other in self._entries[kind].values():
                if self.row_key(other.records[0]) == chain:
                    self._end_chain(other, 1)


_LINK_BYTES = 5


def _link(chain: bytes, sequence: int) -> bytes:
    """The key of a chain's record with this sequence; no such key for a sequence that no chain reaches."""
    return chain + b"\0" + sequence.to_bytes(4, "big") if sequence < 2**32 else b""


_SUM_BYTES = 256
_SUM_MODULUS = 1 << (8 * _SUM_BYTES)
