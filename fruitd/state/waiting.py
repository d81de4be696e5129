"""Writes to the state that wait for the next save, so that many become one: SD cards wear. Bounded; the oldest gives way."""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any

from attrs import asdict, frozen

from swarm.news.record import Record

HISTORY_ROWS_MAX = 2_000
REFUSALS_ROWS_MAX = 256
"""Different refusals told apart; beyond it the one that was seen longest ago goes."""
TEXT_CHARS_MAX = 512
RECORD_KEYS_MAX = 4_096
"""Keys whose records may wait. More: more memory while the disk is full. Fewer: more of them are asked of peers again."""


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

    def after(self, before: RefusalLine) -> RefusalLine:
        """Both counts as one."""
        return RefusalLine(
            self.what,
            self.why,
            self.source,
            before.count + self.count,
            before.first_s,
            max(before.last_s, self.last_s),
        )


class WaitingWrites:
    """Records, history and refusals that are not on disk yet."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, bytes], list[Record]] = {}
        self._forgotten: set[tuple[str, bytes]] = set()
        self._history: deque[HistoryLine] = deque(maxlen=HISTORY_ROWS_MAX)
        self._refusals: dict[tuple[str, str], RefusalLine] = {}
        self._seen: dict[tuple[str, str], None] = {}

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
        """In place of older ones of its key; two of one sequence are both kept."""
        waiting = self._records.setdefault((record.kind, record.key), [])
        waiting[:] = [
            r for r in waiting if r.sequence >= record.sequence and r.content_hash != record.content_hash
        ]
        if all(r.sequence == record.sequence for r in waiting):
            waiting.append(record)
        if len(self._records) > RECORD_KEYS_MAX:
            del self._records[next(iter(self._records))]

    def forget_record(self, kind: str, key: bytes) -> None:
        """The rows of this key go."""
        self._records.pop((kind, key), None)
        self._forgotten.add((kind, key))

    def add_history(self, at_s: float, what: str, why: str, release: int | None, version: str | None) -> None:
        """Add a line, its texts bounded."""
        self._history.append(HistoryLine(at_s, what[:TEXT_CHARS_MAX], why[:TEXT_CHARS_MAX], release, version))

    def add_refusal(self, what: str, why: str, source: str, now_s: float) -> bool:
        """Count one; True if it is the first of its kind since this object was made, or since long ago."""
        line = RefusalLine(
            what[:TEXT_CHARS_MAX], why[:TEXT_CHARS_MAX], source[:TEXT_CHARS_MAX], 1, now_s, now_s
        )
        before = self._refusals.pop((line.what, line.why), None)
        self._refusals[line.what, line.why] = line if before is None else line.after(before)
        if len(self._refusals) > REFUSALS_ROWS_MAX:
            del self._refusals[next(iter(self._refusals))]
        new = (line.what, line.why) not in self._seen
        self._seen[line.what, line.why] = None
        if len(self._seen) > REFUSALS_ROWS_MAX:
            del self._seen[next(iter(self._seen))]
        return new

    def write(self, db: sqlite3.Connection) -> None:
        """Write everything inside the caller's transaction; nothing is cleared here, as that may still fail."""
        db.executemany("DELETE FROM records WHERE kind = ? AND key = ?", sorted(self._forgotten))
        for (kind, key), records in self._records.items():
            newest = max(r.sequence for r in records)
            db.execute("DELETE FROM records WHERE kind = ? AND key = ? AND sequence < ?", (kind, key, newest))
            for r in records:
                row = (kind, key, r.content_hash, r.sequence, r.encode())
                db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", row)
        if self._history:
            sql = "INSERT INTO history (at_s, what, why, release, version) VALUES (:at_s, :what, :why, :release, :version)"
            db.executemany(sql, [asdict(line) for line in self._history])
            db.execute(
                "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (HISTORY_ROWS_MAX,)
            )
        if self._refusals:
            db.executemany(
                "INSERT INTO refusals VALUES (:what, :why, :source, :count, :first_s, :last_s) ON CONFLICT (what, why)"
                " DO UPDATE SET source = :source, count = count + :count, last_s = :last_s",
                [asdict(line) for line in self._refusals.values()],
            )
            db.execute(
                "DELETE FROM refusals WHERE (what, why) NOT IN"
                " (SELECT what, why FROM refusals ORDER BY last_s DESC LIMIT ?)",
                (REFUSALS_ROWS_MAX,),
            )

    def history(self, db: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
        """The newest lines, oldest first, those on disk and those that wait."""
        lines = [*reversed(self._history)][:limit]
        sql = "SELECT at_s, what, why, release, version FROM history ORDER BY id DESC LIMIT ?"
        lines += [HistoryLine(*row) for row in db.execute(sql, (limit - len(lines),))]
        return [asdict(line) for line in reversed(lines)]

    def refusals(self, db: sqlite3.Connection) -> list[dict[str, Any]]:
        """All of them, latest first, those on disk and those that wait."""
        sql = "SELECT what, why, source, count, first_s, last_s FROM refusals"
        lines = {(row[0], row[1]): RefusalLine(*row) for row in db.execute(sql)}
        for key, line in self._refusals.items():
            lines[key] = line.after(lines[key]) if key in lines else line
        return [asdict(line) for line in sorted(lines.values(), key=lambda x: -x.last_s)[:REFUSALS_ROWS_MAX]]
