"""What a node keeps across restarts, on its data partition and never in a slot (design D9).

What `save_...` and `keep_...` were given is durable when they return. History, refusals and statuses wait for the next such write
or for `flush`, because SD cards wear; a power cut may cost the last of them. On a full disk a reserve is given up so that the
journal can still be saved; the rest waits, and history and refusals are dropped beyond a bound and never raise.

Every method may be called from any thread; one at a time gets in.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from fruitd.errors import RefusedError, RetryError
from fruitd.state.journal_codec import decode_journal, encode_journal
from fruitd.state.reserve import Reserve
from fruitd.state.schema import connect, move_aside, salvage_journal, salvage_roots
from fruitd.state.torrent_shelf import TorrentShelf
from fruitd.state.waiting import WaitingWrites
from fruitd.updater.journal import Journal
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.news.record import Record

COMES_AGAIN = frozenset({"status", "member", "health", "power", "pause"})
"""Records of these kinds need not be on disk at once: their nodes say them again."""
RECORDS_ROWS_MAX = 50_000
"""More than a swarm of 10,000 nodes has; the store has its own, smaller bound."""


@frozen
class SharedImage:
    """An image file outside the slots that this node serves because it was published here."""

    infohash: str
    torrent_sha256: str
    path: str
    parcel: bool = False
    """It is a parcel, not an image."""


class NodeState:
    """The state folder of one node: `state.db`, `torrents/`, `reserve` and `lock`."""

    def __init__(self, folder: Path) -> None:
        """Open it, making what is missing.

        `notes` then holds what had to be done about damage, for the log and the history. Raises `RefusedError` if another
        daemon has it, or if it cannot be used at all.
        """
        self.notes: list[str] = []
        self.trouble: str | None = None
        """Why the last write failed; None when it went well. For `fruit doctor`."""
        self._folder = folder
        self._gate = threading.RLock()
        self._waiting = WaitingWrites()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._reserve = Reserve(folder)
            self._shelf = TorrentShelf(folder / "torrents")
        except OSError as error:
            raise RefusedError(f"state folder {folder} cannot be used: {error.strerror or error}") from error
        try:
            self._db, self._journal = self._open()
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise RefusedError(f"state in {folder} cannot be opened: {error}") from error
        self._reserve.held()

    # -- opening and closing -------------------------------------------------------------------------------------

    def _take_lock(self) -> int:
        path = self._folder / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise RefusedError(
                f"another fruitd (process {holder}) runs on the state in {self._folder}; stop it, or set another state_dir"
            ) from None
        with contextlib.suppress(OSError):  # a full disk must not keep the node from starting
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def _open(self) -> tuple[sqlite3.Connection, Journal]:
        path = self._folder / "state.db"
        try:
            db = self._connect(path)
        except sqlite3.OperationalError:
            raise  # no permission, no room: that says nothing against the database itself
        except sqlite3.DatabaseError as error:
            return self._start_anew(path, str(error))
        document = _document(db)
        if document is None:
            return db, Journal()
        try:
            return db, decode_journal(document)
        except RefusedError as error:
            db.close()
            return self._start_anew(path, str(error))

    def _connect(self, path: Path) -> sqlite3.Connection:
        try:
            return connect(path)
        except sqlite3.OperationalError as error:
            self._failed(error)
            self._reserve.give_up()  # opening needs a little room too; the reserve is for that as well
            return connect(path)

    def _start_anew(self, path: Path, why: str) -> tuple[sqlite3.Connection, Journal]:
        """Damage: nothing is thrown away, and the journal is carried over where it can still be read."""
        document, roots = salvage_journal(path), salvage_roots(path)
        aside = move_aside(path)
        self.notes.append(
            f"the state was damaged ({why}); it is kept as {aside.name}, and a new one is begun"
        )
        journal = Journal()
        if document is not None:
            with contextlib.suppress(RefusedError):
                journal = decode_journal(document)
                self.notes.append("what is known of updates was carried over from the damaged state")
        db = connect(path)
        db.execute("INSERT INTO journal VALUES (1, ?)", (encode_journal(journal),))
        for raw in roots:  # judged anew like all that was kept
            with contextlib.suppress(SwarmRefusedError):
                self._waiting.put_record(Record.decode(raw))
        return db, journal

    def close(self) -> None:
        """Write what waits, and let go of the state. May be repeated."""
        with self._gate:
            if self._lock < 0:
                return
            self.flush()
            self._db.close()
            os.close(self._lock)
            self._lock = -1

    # -- writing -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:  # whatever ends it, the next transaction has to begin anew
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def save_journal(self, journal: Journal) -> None:
        """Durable at return. Raises `RetryError` if it cannot be saved; the one saved before then still holds."""
        document = encode_journal(journal)
        with self._gate:
            with_the_rest = self._reserve.held()
            for _ in range(2):
                try:
                    with self._transaction() as db:
                        db.execute("INSERT OR REPLACE INTO journal VALUES (1, ?)", (document,))
                        if with_the_rest:
                            self._waiting.write(db)
                        else:
                            self._waiting.write_roots(db)
                except sqlite3.Error as error:
                    self._failed(error)
                    self._make_room(error)
                    with_the_rest = False
                    continue
                self._journal = journal
                self._wrote(with_the_rest)
                return
            raise RetryError(f"the journal cannot be saved: {self.trouble}")

    def flush(self) -> None:
        """Write what waits. On failure it goes on waiting; what is beyond the bounds is dropped. Never raises."""
        with self._gate:
            if not self._waiting:
                return
            if not self._reserve.held():
                self.trouble = (
                    f"the disk under {self._folder} is full; only what is known of updates is still written"
                )
                return
            try:
                with self._transaction() as db:
                    self._waiting.write(db)
            except sqlite3.Error as error:
                self._failed(error)
            else:
                self._wrote(the_rest=True)

    def has_room(self) -> bool:
        """False while the disk is full: then only the journal is written, and nothing that could be done without."""
        with self._gate:
            return self._reserve.held()

    def _wrote(self, the_rest: bool) -> None:
        if the_rest:
            self._waiting.clear()
        if not self._waiting:
            self.trouble = None

    def _failed(self, error: sqlite3.Error) -> None:
        self.trouble = f"the state in {self._folder} cannot be written: {error}"

    def _make_room(self, error: sqlite3.Error) -> None:
        """Give the reserve up, so that the log can be worked into the database and emptied, and the journal fits again."""
        if _is_full(error):
            self._reserve.give_up()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- the journal ---------------------------------------------------------------------------------------------

    def journal(self) -> Journal:
        """The journal that is on disk."""
        return self._journal

    # -- records -------------------------------------------------------------------------------------------------

    def save_records(self, records: Iterable[Record]) -> None:
        """Keep verified records in place of older ones of their keys. Two of one sequence are both kept: they are proof.

        Durable at return, except statuses and certificates, which wait for the next write: they come again by themselves,
        and a swarm of 10,000 nodes says seventeen a second. Raises `RetryError` if it cannot be written; it is then tried
        again with the next write.
        """
        with self._gate:
            at_once = False
            for record in records:
                self._waiting.put_record(record)
                at_once = at_once or record.kind not in COMES_AGAIN
            if not at_once and not self._waiting.crowded:
                return
            self.flush()
            if self._waiting:
                raise RetryError(self.trouble or "the state cannot be written")

    def forget_record(self, kind: str, key: bytes) -> None:
        """The record of this key is no longer wanted; its row goes with the next write."""
        with self._gate:
            self._waiting.forget_record(kind, key)

    def records(self) -> list[Record]:
        """Every record kept. A row that cannot be read is left out and noted: the swarm has it."""
        with self._gate:
            self.flush()
            found = []
            for (row,) in self._db.execute("SELECT record FROM records LIMIT ?", (RECORDS_ROWS_MAX,)):
                try:
                    found.append(Record.decode(row))
                except (SwarmRefusedError, TypeError) as error:
                    self.notes.append(f"a record in the state is left out: {error}")
            return found

    # -- history and refusals ------------------------------------------------------------------------------------

    def add_history(
        self, at_s: float, what: str, why: str, release: int | None = None, version: str | None = None
    ) -> None:
        """Add a line. Never raises; on disk after the next write."""
        with self._gate:
            self._waiting.add_history(at_s, what, why, release, version)

    def history(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest `limit` lines, oldest first, as the API shows them."""
        with self._gate:
            return self._waiting.history(self._db, limit)

    def add_refusal(self, what: str, why: str, source: str, now_s: float, reason: str = "") -> bool:
        """Count something refused under (`what`, `why`). Never raises; on disk after the next write. `reason`: the same in
        stable words.

        Returns:
            True if it was not refused before, as far as this run of the daemon knows: worth a line in the log.
        """
        with self._gate:
            return self._waiting.add_refusal(what, why, source, now_s, reason)

    def refusals(self) -> list[dict[str, Any]]:
        """What was refused, latest first, as the API shows it."""
        with self._gate:
            return self._waiting.refusals(self._db)

    # -- small facts ---------------------------------------------------------------------------------------------

    def meta(self, name: str) -> bytes | None:
        """A small fact by name, such as the floor of the clock."""
        with self._gate:
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def set_meta(self, name: str, value: bytes) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def floor_s(self) -> float:
        """The lower bound of calendar time that was saved last; 0 if none was."""
        value = self.meta("floor_s")
        try:
            floor_s = float(value) if value is not None else 0.0
        except ValueError:
            return 0.0
        return floor_s if math.isfinite(floor_s) else 0.0

    def save_floor(self, floor_s: float) -> None:
        """Durable at return; raises `RetryError`."""
        self.set_meta("floor_s", repr(floor_s).encode())

    def followed_root(self) -> bytes:
        """The body of the trust root that judged last; empty if none was saved."""
        return self.meta("followed root") or b""

    def save_followed_root(self, body: bytes) -> None:
        """Of two that contradict each other it is the one that came first. Durable at return; raises `RetryError`."""
        self.set_meta("followed root", body)

    def shares(self) -> list[SharedImage]:
        """What is served from outside the slots: image files, then parcels, of these the oldest first."""
        with self._gate:
            images = self._db.execute("SELECT infohash, torrent_sha256, path FROM shares").fetchall()
            parcels = self._db.execute(
                "SELECT infohash, torrent_sha256, path FROM parcels ORDER BY id"
            ).fetchall()
        rows = [(*row, False) for row in images] + [(*row, True) for row in parcels]
        return [SharedImage(*row) for row in rows]

    def keep_share(self, infohash: str, torrent_sha256: str, path: str | None, parcel: bool = False) -> None:
        """Remember a shared file, or (`path` None) forget it. Durable at return; raises `RetryError`."""
        table = "parcels" if parcel else "shares"
        if path is None:
            self._write(f"DELETE FROM {table} WHERE infohash = ?", (infohash,))  # noqa: S608  one of two names
            return
        sql = f"INSERT OR REPLACE INTO {table} (infohash, torrent_sha256, path) VALUES (?, ?, ?)"  # noqa: S608
        self._write(sql, (infohash, torrent_sha256, path))

    def _write(self, sql: str, row: tuple[Any, ...]) -> None:
        with self._gate:
            try:
                with self._transaction() as db:
                    db.execute(sql, row)
            except sqlite3.Error as error:
                self._failed(error)
                raise RetryError(self.trouble) from error
            self._wrote(the_rest=False)

    # -- torrents ------------------------------------------------------------------------------------------------

    def keep_torrent(self, sha256: str, raw: bytes) -> None:
        """Durable at return; raises `RetryError`."""
        self._shelf.keep(sha256, raw)

    def torrents(self) -> list[bytes]:
        """Every torrent kept that is still what its name says."""
        return self._shelf.all()

    def prune_torrents(self, keep: Collection[str]) -> None:
        """Delete torrents not in `keep` (SHA-256, hex) and not of a shared image."""
        self._shelf.prune({*keep, *(share.torrent_sha256 for share in self.shares())})


def _document(db: sqlite3.Connection) -> bytes | None:
    row = db.execute("SELECT document FROM journal WHERE id = 1").fetchone()
    if row is None:
        return None
    return row[0] if isinstance(row[0], bytes) else b""


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
