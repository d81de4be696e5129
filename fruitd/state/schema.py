"""The tables of a node's state, and opening a database file that may be missing, damaged or of another version.

Tables are only ever added, and columns only added with defaults: after a rollback an older fruitd opens what a newer one left.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY CHECK (id = 1), document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, key BLOB NOT NULL, hash BLOB NOT NULL, sequence INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (kind, key, hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL,
    release INTEGER, version TEXT);
CREATE TABLE IF NOT EXISTS refusals (
    what TEXT NOT NULL, why TEXT NOT NULL, source TEXT NOT NULL, count INTEGER NOT NULL,
    first_s REAL NOT NULL, last_s REAL NOT NULL, PRIMARY KEY (what, why)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shares (
    infohash TEXT PRIMARY KEY, torrent_sha256 TEXT NOT NULL, path TEXT NOT NULL) WITHOUT ROWID
"""
_PARCELS = """
CREATE TABLE IF NOT EXISTS parcels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, infohash TEXT NOT NULL UNIQUE, torrent_sha256 TEXT NOT NULL, path TEXT NOT NULL)
"""
"""Added since: a table of its own, because what wrote to `shares` before did not name its columns."""
_COLUMNS = (("refusals", "reason", "TEXT NOT NULL DEFAULT ''"),)
"""Added since the tables were first made; what writes to them names its columns, so that it does not mind others."""
CHECKPOINT_PAGES = 64
"""Pages in the write-ahead log before they go to the main file: 256 KiB. More: more disk held twice. Fewer: more writes."""
BROKEN_KEPT_MAX = 2
"""Damaged databases kept for a person to look at; older ones are deleted, so that they cannot fill the disk."""


def connect(path: Path) -> sqlite3.Connection:
    """Open, check and prepare the database. Raises `sqlite3.DatabaseError` where it is damaged."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA journal_size_limit={CHECKPOINT_PAGES * 4096}")
        db.execute("PRAGMA cache_size=-256")
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("COMMIT")
        db.execute(_PARCELS)
        for table, column, kind in _COLUMNS:
            if column not in {row[1] for row in db.execute(f"PRAGMA table_info({table})")}:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    except BaseException:  # whatever ends it, the file must not stay locked
        db.close()
        raise
    return db


def salvage_journal(path: Path) -> bytes | None:
    """The journal document out of a damaged database, if its page can still be read."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5.0)) as db:
            row = db.execute("SELECT document FROM journal WHERE id = 1").fetchone()
    except sqlite3.Error:
        return None
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def salvage_roots(path: Path) -> list[bytes]:
    """The trust roots out of a damaged database, as far as they can still be read."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5.0)) as db:
            rows = db.execute("SELECT record FROM records WHERE kind = 'root'").fetchall()
    except sqlite3.Error:
        return []
    return [row[0] for row in rows if isinstance(row[0], bytes)]


def move_aside(path: Path) -> Path:
    """Give a damaged database (and its log) another name in the same folder; returns the name."""
    broken = sorted(path.parent.glob(f"{path.name}.broken-*"), key=_number)
    for old in broken[: max(len(broken) - BROKEN_KEPT_MAX + 1, 0)]:
        old.unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.broken-{_number(broken[-1]) + 1 if broken else 1}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
