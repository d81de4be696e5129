"""What was measured of the bays of a stack, in a database of its own beside the state: losing it costs history, and nothing else.

It is open only while it is written or read. A file that is damaged, or not ours, is deleted and begun anew; when it is full the
oldest rows go. Every method may be called from any thread; one at a time gets in.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from fruitd.errors import RetryError
from fruitd.power.averages import Row, Sums
from swarm.power import ADDRESS_MAX, BAYS, Place

FILE = "figures.db"
ROWS_MAX = 14 * 24 * 4 * 32
"""Two weeks of 32 bays, a row for each every quarter of an hour; fewer bays reach further back. More: more disk, and more to read
for each write."""
PAGE_BYTES = 4096
PAGES_MAX = 1024
"""The file never grows beyond 4 MiB, whatever is in it; `ROWS_MAX` rows take three quarters of that."""
FUTURE_S = 86_400.0
"""Rows dated further ahead than this were dated by a clock that was wrong: they go first, or they would stay for ever. Shorter:
of a Pi without a clock, which starts some hours in the past, the last rows go instead of the oldest."""
BUSY_S_MAX = 2.0
"""Nobody else should have it open. Longer: the next sweep of the bus waits for it."""
MILLI_MAX = 10**15
"""No sum is larger: a kilowatt for thirty years, in thousandths of a joule."""
_COLUMNS = (
    "watched_ms", "volts_ms", "volts", "amperes_ms", "amperes", "watts_ms", "watts", "powered_ms", "powered", "beats_ms", "beats",
    "volts_min", "watts_max",
)  # fmt: skip
"""In thousandths. Without `_ms`: the integral over those seconds."""
_TABLE = f"""CREATE TABLE IF NOT EXISTS bays (at_s INTEGER NOT NULL, address INTEGER NOT NULL, bay INTEGER NOT NULL,
    {", ".join(f"{column} INTEGER" for column in _COLUMNS)}, PRIMARY KEY (at_s, address, bay)) WITHOUT ROWID"""
_INSERT = f"""INSERT OR REPLACE INTO bays (at_s, address, bay, {", ".join(_COLUMNS)})
    VALUES ({", ".join("?" * (3 + len(_COLUMNS)))})"""  # noqa: S608  our own names
_SUMS = ", ".join(f"SUM({column})" for column in _COLUMNS[:-2]) + ", MIN(volts_min), MAX(watts_max)"
_SPAN = f"SELECT address, bay, {_SUMS} FROM bays WHERE at_s >= ? AND at_s < ?"  # noqa: S608  our own names
_DROP = "DELETE FROM bays WHERE at_s <= (SELECT at_s FROM bays ORDER BY at_s LIMIT 1 OFFSET ?)"
T = TypeVar("T")


class FigureStore:
    """`figures.db` in the state folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened or made yet."""
        self._path = folder / FILE
        self._gate = threading.Lock()
        self.notes: list[str] = []
        """What had to be done about damage, for the log."""

    def add(self, rows: Sequence[Row], now_s: float) -> None:
        """Durable at return; the oldest rows go. A row of the same time and bay is replaced.

        `now_s`: calendar time. Raises `RetryError` where the file cannot be written; what it held is still there then.
        """
        put = [_encoded(row) for row in rows]
        with self._gate:
            try:
                self._in_file(self._to_write, lambda db: _put(db, put, now_s))
            except RetryError as error:
                if _code(error.__cause__) != sqlite3.SQLITE_FULL:
                    raise
                # The bound on pages, if not the disk: then an eighth of what is there makes room.
                self._in_file(self._to_write, lambda db: _put(db, put, now_s, ROWS_MAX // 8))

    def spans(self, since_s: float, span_s: float, count: int, place: Place | None = None) -> list[Row]:
        """Every bay's rows, or those of one, added up over `count` spans of time that follow each other; times as in `add`.

        A span in which nothing of a bay was measured is left out. Raises `RetryError` where the file cannot be read.
        """
        with self._gate:
            if not self._path.exists():
                return []
            return self._in_file(self._to_read, lambda db: list(_spans(db, since_s, span_s, count, place)))

    # ------------------------------------------------------------------ the file

    def _in_file(
        self, opened: Callable[[], sqlite3.Connection], work: Callable[[sqlite3.Connection], T]
    ) -> T:
        try:
            try:
                return self._worked(opened, work)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
                self._delete(str(error))
                return self._worked(self._to_write, work)
        except (OSError, sqlite3.Error) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or error
            raise RetryError(f"{self._path} cannot be used: {words}") from error

    @staticmethod
    def _worked(opened: Callable[[], sqlite3.Connection], work: Callable[[sqlite3.Connection], T]) -> T:
        with contextlib.closing(opened()) as db:
            db.execute("PRAGMA cache_size=-128")
            db.text_factory = bytes  # there is no text in it; what is none may not even be decoded
            return work(db)

    def _to_write(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._check_size()
        db = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_S_MAX)
        try:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute(f"PRAGMA max_page_count={PAGES_MAX}")
            db.execute(_TABLE)
        except BaseException:  # whatever ends it, the file must not stay locked
            db.close()
            raise
        return db

    def _to_read(self) -> sqlite3.Connection:
        """Also where nothing can be written."""
        self._check_size()
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S_MAX
        )

    def _check_size(self) -> None:
        if self._path.stat().st_size > PAGES_MAX * PAGE_BYTES:
            raise sqlite3.DatabaseError("it is larger than it can have become")

    def _delete(self, why: str) -> None:
        for suffix in ("-journal", ""):
            self._path.with_name(FILE + suffix).unlink(missing_ok=True)
        self.notes.append(f"{self._path} was damaged ({why}); it was deleted, and a new one is begun")


# ---------------------------------------------------------------------- in the open file


def _put(db: sqlite3.Connection, rows: Sequence[tuple[int | None, ...]], now_s: float, drop: int = 0) -> None:
    """In one transaction. `drop`: so many rows go at least."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (held,) = db.execute("SELECT COUNT(*) FROM bays").fetchone()
        excess = max(held + len(rows) - ROWS_MAX, min(drop, held))
        if excess > 0:
            excess -= db.execute("DELETE FROM bays WHERE at_s > ?", (now_s + FUTURE_S,)).rowcount
        if excess > 0:
            db.execute(_DROP, (excess - 1,))
        db.executemany(_INSERT, rows)
        db.execute("COMMIT")
    except BaseException:  # whatever ends it, half of the rows must not stay
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _spans(
    db: sqlite3.Connection, since_s: float, span_s: float, count: int, place: Place | None
) -> Iterator[Row]:
    """A query for each span: what is sorted at once is small."""
    sql = _SPAN + (" AND address = ? AND bay = ?" if place is not None else "") + " GROUP BY address, bay"
    which = (place.address, place.bay) if place is not None else ()
    for number in range(count):
        from_s = since_s + number * span_s
        for address, bay, *milli in db.execute(sql, (from_s, from_s + span_s, *which)):
            yield _decoded(from_s, address, bay, milli)


def _encoded(row: Row) -> tuple[int | None, ...]:
    sums = row.sums
    means = [part for mean in sums.means for part in (mean.known_s, mean.area)]
    values = (sums.watched_s, *means, sums.volts_min, sums.watts_max)
    milli = (None if value is None else round(1000 * value) for value in values)
    return row.at_s, row.place.address, row.place.bay, *milli


def _decoded(at_s: float, address: object, bay: object, milli: Sequence[object]) -> Row:
    """Raises `sqlite3.DatabaseError` on what `_encoded` cannot have written: a damaged file."""
    sane = [v for v in milli if v is None or (isinstance(v, int) and 0 <= v <= MILLI_MAX)]
    values = [v if v is None else v / 1000 for v in sane]
    sums = [value for value in values[:-2] if value is not None]
    if len(values) != len(milli) or len(sums) != len(_COLUMNS) - 2:
        raise sqlite3.DatabaseError("it holds what are no figures")
    if not isinstance(address, int) or not 0 <= address <= ADDRESS_MAX or bay not in range(BAYS):
        raise sqlite3.DatabaseError("it names what is no bay")
    made = Sums(sums[0], volts_min=values[-2], watts_max=values[-1])
    for mean, known_s, area in zip(made.means, sums[1::2], sums[2::2], strict=True):
        mean.known_s, mean.area = known_s, area
    return Row(int(at_s), Place(address, int(bool(bay))), made)


def _is_damage(error: sqlite3.Error) -> bool:
    """The file is no database, a broken one, or one with other tables. Trouble with the disk is none of these."""
    return type(error) is sqlite3.DatabaseError or _code(error) == sqlite3.SQLITE_ERROR


def _code(error: BaseException | None) -> int:
    """SQLite's own; 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0)
