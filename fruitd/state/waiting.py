"""Writes to the state that wait for the next save, so that many become one: SD cards wear. Bounded; the oldest gives way."""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any

from attrs import asdict, frozen

from swarm.news.record import Record
from swarm.trust.root import ROOT_KIND

HISTORY_ROWS_MAX = 2_000
REFUSALS_ROWS_MAX = 256
"""Different refusals told apart; beyond it the one that was seen longest ago goes."""
WORDS_FOR_ONE_REASON_MAX = 64
"""Different words in a day for one reason of refusal. More: one peer that names ever new versions and kinds fills the log and
pushes out what others were refused for. Fewer: what is different looks the same."""
DAY_S = 86_400
TEXT_CHARS_MAX = 512
RECORD_KEYS_MAX = 4_096
"""Keys whose records may wait. More: more memory while the disk is full. Fewer: more of them are asked of peers again."""
PROOF_RECORDS = 2
"""Records of one key and sequence that contradict each other: the same two that a store keeps. A node can sign any number."""
ROOTS_OF_ONE_VERSION_MAX = 8
"""Of trust roots the first are kept, for the one that was followed may have been pushed out of the store by later ones."""


@frozen
class HistoryLine:
    """One line of the node's history."""

    at_s: float
    what: str
    why: str
    release: int | None
    version: str | None


@frozen
class RefusalLine:
    """Something refused, counted under (`what`, `why`)."""

    what: str
    why: str
    source: str
    count: int
    first_s: float
    last_s: float
    reason: str = ""
    """The same in stable words."""

    def after(self, before: RefusalLine) -> RefusalLine:
        """Both counts as one."""
        return RefusalLine(
            self.what,
            self.why,
            self.source,
            before.count + self.count,
            before.first_s,
            max(before.last_s, self.last_s),
            self.reason or before.reason,
        )


class WaitingWrites:
    """Records, history and refusals that are not on disk yet."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, bytes], list[Record]] = {}
        self._forgotten: set[tuple[str, bytes]] = set()
        self._history: deque[HistoryLine] = deque(maxlen=HISTORY_ROWS_MAX)
        self._refusals: dict[tuple[str, str], RefusalLine] = {}
        self._seen: dict[tuple[str, str], None] = {}
        self._words: dict[tuple[str, str], set[str]] = {}
        self._words_day = 0

    def __bool__(self) -> bool:
        return bool(self._records or self._forgotten or self._history or self._refusals)

    @property
    def crowded(self) -> bool:
        """True if records would soon have to give way."""
        return len(self._records) >= RECORD_KEYS_MAX // 2

    def clear(self) -> None:
        """Everything is on disk."""
        self._records.clear()
        self._forgotten.clear()
        self._history.clear()
        self._refusals.clear()

    def put_record(self, record: Record) -> None:
        """In place of older ones of its key; of one sequence two are kept, as in a store; of trust roots the first few."""
        waiting = self._records.setdefault((record.kind, record.key), [])
        waiting[:] = [r for r in waiting if r.sequence >= record.sequence]
        if all(r.sequence == record.sequence and r.content_hash != record.content_hash for r in waiting):
            waiting.append(record)
        if record.kind == ROOT_KIND:
            del waiting[ROOTS_OF_ONE_VERSION_MAX:]
        elif len(waiting) > PROOF_RECORDS:
            waiting.sort(key=lambda r: r.content_hash)
            del waiting[PROOF_RECORDS:]
        if len(self._records) > RECORD_KEYS_MAX:
            del self._records[next(iter(self._records))]

    def forget_record(self, kind: str, key: bytes) -> None:
        """The rows of this key go."""
        self._records.pop((kind, key), None)
        self._forgotten.add((kind, key))

    def add_history(self, at_s: float, what: str, why: str, release: int | None, version: str | None) -> None:
        """Add a line, its texts bounded."""
        self._history.append(HistoryLine(at_s, what[:TEXT_CHARS_MAX], why[:TEXT_CHARS_MAX], release, version))

    def add_refusal(self, what: str, why: str, source: str, now_s: float, reason: str = "") -> bool:
        """Count one; True if it is the first of its kind since this object was made, or since long ago."""
        what, why, source = (text[:TEXT_CHARS_MAX] for text in (what, why, source))
        why = self._bounded(what, why, reason, now_s) if reason else why
        line = RefusalLine(what, why, source, 1, now_s, now_s, reason[:TEXT_CHARS_MAX])
        before = self._refusals.pop((line.what, line.why), None)
        self._refusals[line.what, line.why] = line if before is None else line.after(before)
        if len(self._refusals) > REFUSALS_ROWS_MAX:
            del self._refusals[next(iter(self._refusals))]
        new = (line.what, line.why) not in self._seen
        self._seen[line.what, line.why] = None
        if len(self._seen) > REFUSALS_ROWS_MAX:
            del self._seen[next(iter(self._seen))]
        return new

    def _bounded(self, what: str, why: str, reason: str, now_s: float) -> str:
        """Why, in its own words unless there were too many different ones for this reason today."""
        if self._words_day != int(now_s // DAY_S):
            self._words_day = int(now_s // DAY_S)
            self._words.clear()
        words = self._words.setdefault((what, reason), set())
        if why not in words and len(words) >= WORDS_FOR_ONE_REASON_MAX:
            return f"{reason}, in more words than are told apart in a day"
        words.add(why)
        return why

    def write(self, db: sqlite3.Connection) -> None:
        """Write everything inside the caller's transaction; nothing is cleared here, as that may still fail."""
        db.executemany("DELETE FROM records WHERE kind = ? AND key = ?", sorted(self._forgotten))
        for records in self._records.values():
            _write_records(db, records)
        if self._history:
            sql = "INSERT INTO history (at_s, what, why, release, version) VALUES (:at_s, :what, :why, :release, :version)"
            db.executemany(sql, [asdict(line) for line in self._history])
            db.execute(
                "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (HISTORY_ROWS_MAX,)
            )
        if self._refusals:
            db.executemany(
                "INSERT INTO refusals (what, why, source, count, first_s, last_s, reason)"
                " VALUES (:what, :why, :source, :count, :first_s, :last_s, :reason)"
                " ON CONFLICT (what, why)"
                " DO UPDATE SET source = :source, count = count + :count, last_s = :last_s, reason = :reason",
                [asdict(line) for line in self._refusals.values()],
            )
            db.execute(
                "DELETE FROM refusals WHERE (what, why) NOT IN"
                " (SELECT what, why FROM refusals ORDER BY last_s DESC LIMIT ?)",
                (REFUSALS_ROWS_MAX,),
            )

    def write_roots(self, db: sqlite3.Connection) -> None:
        """As `write`, for the trust roots alone: a journal that was written under one must not outlive it."""
        for (kind, _), records in self._records.items():
            if kind == ROOT_KIND:
                _write_records(db, records)

    def history(self, db: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
        """The newest lines, oldest first, those on disk and those that wait."""
        lines = [*reversed(self._history)][:limit]
        sql = "SELECT at_s, what, why, release, version FROM history ORDER BY id DESC LIMIT ?"
        lines += [HistoryLine(*row) for row in db.execute(sql, (limit - len(lines),))]
        return [asdict(line) for line in reversed(lines)]

    def refusals(self, db: sqlite3.Connection) -> list[dict[str, Any]]:
        """All of them, latest first, those on disk and those that wait."""
        sql = "SELECT what, why, source, count, first_s, last_s, reason FROM refusals"
        lines = {(row[0], row[1]): RefusalLine(*row) for row in db.execute(sql)}
        for key, line in self._refusals.items():
            lines[key] = line.after(lines[key]) if key in lines else line
        return [asdict(line) for line in sorted(lines.values(), key=lambda x: -x.last_s)[:REFUSALS_ROWS_MAX]]


def _write_records(db: sqlite3.Connection, records: list[Record]) -> None:
    """The records of one key, in place of older ones."""
    kind, key, newest = records[0].kind, records[0].key, max(r.sequence for r in records)
    db.execute("DELETE FROM records WHERE kind = ? AND key = ? AND sequence < ?", (kind, key, newest))
    for r in records:
        row = (kind, key, r.content_hash, r.sequence, r.encode())
        if kind != ROOT_KIND or _has_room(db, key, r.content_hash):
            db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", row)
    if kind != ROOT_KIND:
        db.execute(
            "DELETE FROM records WHERE kind = ? AND key = ? AND hash NOT IN"
            " (SELECT hash FROM records WHERE kind = ? AND key = ? ORDER BY hash LIMIT ?)",
            (kind, key, kind, key, PROOF_RECORDS),
        )


def _has_room(db: sqlite3.Connection, key: bytes, content_hash: bytes) -> bool:
    """Whether one more trust root of this key is kept."""
    sql = "SELECT count(*) FROM records WHERE kind = ? AND key = ? AND hash != ?"
    others: int = db.execute(sql, (ROOT_KIND, key, content_hash)).fetchone()[0]
    return others < ROOTS_OF_ONE_VERSION_MAX
