"""If one of these failed, a node would forget across restarts, or stop, over what happens to every disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from fruitd.errors import RefusedError, RetryError
from fruitd.state.journal_codec import encode_journal
from fruitd.state.node_state import NodeState
from fruitd.state.reserve import RESERVE_BYTES
from fruitd.state.waiting import HISTORY_ROWS_MAX, REFUSALS_ROWS_MAX, TEXT_CHARS_MAX
from fruitd.updater.journal import Journal
from swarm.news.record import Record

JOURNAL = Journal(highest_release=5, why="for a test")


def _record(key: bytes, sequence: int, body: bytes = b"x", kind: str = "manifest") -> Record:
    return Record(kind, key, sequence, body)


def _reopened(state: NodeState, folder: Path) -> NodeState:
    state.close()
    return NodeState(folder)


# -- durable ---------------------------------------------------------------------------------------------------------


def test_everything_comes_back(tmp_path: Path) -> None:
    """A node would begin anew at every restart."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state.save_records([_record(b"stable", 3)])
    state.add_history(1.0, "offered", "release 2", 2, "2.0")
    state.add_refusal("torrent", "forged", "10.0.0.1", 2.0)
    state.keep_share("aa", "bb", "/images/1.img")
    state.save_floor(1234.5)
    state = _reopened(state, tmp_path)
    assert state.journal() == JOURNAL
    assert state.records() == [_record(b"stable", 3)]
    assert state.history(9) == [
        {"at_s": 1.0, "what": "offered", "why": "release 2", "release": 2, "version": "2.0"}
    ]
    assert [(r["what"], r["count"], r["source"]) for r in state.refusals()] == [("torrent", 1, "10.0.0.1")]
    assert [s.path for s in state.shares()] == ["/images/1.img"]
    assert state.floor_s() == 1234.5
    assert state.notes == []
    state.close()


def test_what_was_saved_survives_a_kill(tmp_path: Path) -> None:
    """`kill -9` right after a save would lose it."""
    program = (
        "import os, sys, pathlib\n"
        "from fruitd.state.node_state import NodeState\n"
        "from fruitd.updater.journal import Journal\n"
        "from swarm.news.record import Record\n"
        "state = NodeState(pathlib.Path(sys.argv[1]))\n"
        "state.add_history(1.0, 'a', 'line')\n"
        "state.save_journal(Journal(highest_release=9))\n"
        "state.save_records([Record('manifest', b'k', 4, b'body')])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    state = NodeState(tmp_path)
    assert state.journal().highest_release == 9
    assert [r.sequence for r in state.records()] == [4]
    assert len(state.history()) == 1
    state.close()


def test_history_and_refusals_cost_no_write_of_their_own(tmp_path: Path) -> None:
    """A stranger who sends garbage would wear out the SD card."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    before = (tmp_path / "state.db-wal").stat().st_mtime_ns
    for i in range(500):
        state.add_history(float(i), "x", "y")
        state.add_refusal("datagram", f"kind {i % 7}", "10.0.0.1", float(i))
    assert (tmp_path / "state.db-wal").stat().st_mtime_ns == before
    assert len(state.history(1000)) == 500
    state.close()


def test_threads_take_turns(tmp_path: Path) -> None:
    """Two writes at once would fail, and an update with them."""
    state = NodeState(tmp_path)
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            for i in range(15):
                state.save_journal(evolve(JOURNAL, attempts=i))
                state.save_records([_record(bytes([number]), i)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(state.records()) == 4
    state.close()


# -- records, history, refusals --------------------------------------------------------------------------------------


def test_newer_records_take_the_place_of_older_ones(tmp_path: Path) -> None:
    """The state would grow with every status that was ever said."""
    state = NodeState(tmp_path)
    for sequence in (1, 5, 3):
        state.save_records([_record(b"k", sequence)])
    state.save_records([_record(b"k", 7), _record(b"k", 6), _record(b"other", 1)])
    state = _reopened(state, tmp_path)
    newest = max(r.sequence for r in state.records() if r.key == b"k")
    assert newest == 7
    assert {r.key for r in state.records()} == {b"k", b"other"}
    state.close()


def test_proof_of_equivocation_is_kept_whole(tmp_path: Path) -> None:
    """A node would forget after a restart that two manifests contradict each other, and act on one."""
    state = NodeState(tmp_path)
    state.save_records([_record(b"k", 5, b"one")])
    state.save_records([_record(b"k", 5, b"two")])
    state = _reopened(state, tmp_path)
    assert {r.body for r in state.records()} == {b"one", b"two"}
    state.forget_record("manifest", b"k")
    state = _reopened(state, tmp_path)
    assert state.records() == []
    state.close()


@pytest.mark.parametrize("kind", ["manifest", "status"])
def test_of_many_contradictions_two_are_kept(tmp_path: Path, kind: str) -> None:
    """One node that signs thousands of statuses of one sequence would fill the memory and the card of every other."""
    state = NodeState(tmp_path)
    lies = [_record(b"k", 5, b"%d" % number, kind) for number in range(20)]
    for lie in sorted(lies, key=lambda r: r.content_hash, reverse=True):
        state.save_records([lie])
    assert len(state._waiting._records.get((kind, b"k"), [])) <= 2
    smallest = sorted(lies, key=lambda r: r.content_hash)[:2]
    assert state.records() == smallest
    state.save_records([lies[0]])  # what a store would call known does not come back either
    assert state.records() == smallest
    state.close()


def test_of_contradicting_roots_the_first_outlives_any_number_of_others(tmp_path: Path) -> None:
    """Root keys that were rotated out could push the root that was followed off the disk, and lead the node at its restart."""
    state = NodeState(tmp_path)
    lies = [_record(b"k", 5, b"%d" % number, "root") for number in range(40)]
    lies.sort(key=lambda r: r.content_hash, reverse=True)
    for lie in lies:
        state.save_records([lie])
    kept = state.records()
    assert lies[0] in kept
    assert len(kept) == 8
    state.close()


def test_a_record_forgotten_and_learned_again_is_kept(tmp_path: Path) -> None:
    """A node that left and came back would be unknown after the next restart."""
    state = NodeState(tmp_path)
    state.save_records([_record(b"k", 9)])
    state.forget_record("manifest", b"k")
    state.save_records([_record(b"k", 2)])
    assert [r.sequence for r in state.records()] == [2]
    state.close()


def test_a_row_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    """One damaged record would keep the daemon from starting."""
    state = NodeState(tmp_path)
    state.save_records([_record(b"k", 1), _record(b"l", 1)])
    state._db.execute("UPDATE records SET record = x'00' WHERE key = x'6b'")
    assert [r.key for r in state.records()] == [b"l"]
    assert "left out" in state.notes[0]
    state.close()


def test_history_is_a_ring_and_shows_its_newest_lines_oldest_first(tmp_path: Path) -> None:
    """History would fill the disk, or show the wrong end of itself."""
    state = NodeState(tmp_path)
    for i in range(HISTORY_ROWS_MAX + 300):
        state.add_history(float(i), "x", "y" * 2000)
        if i % 500 == 0:
            state.flush()
    state.flush()
    assert state._db.execute("SELECT count(*) FROM history").fetchone()[0] == HISTORY_ROWS_MAX
    state.add_history(1e6, "last", "one")
    lines = state.history(3)
    assert [line["at_s"] for line in lines] == [HISTORY_ROWS_MAX + 298.0, HISTORY_ROWS_MAX + 299.0, 1e6]
    assert len(lines[0]["why"]) == TEXT_CHARS_MAX
    state.close()


def test_one_peer_with_ever_new_words_neither_fills_the_log_nor_hides_the_rest(tmp_path: Path) -> None:
    """A peer that claims one version of a trust root after the other would write a line each, and push out all that matters."""
    state = NodeState(tmp_path)
    assert state.add_refusal("record", "manifest is forged", "peer 1", 1.0, "not signed enough")
    told = [
        state.add_refusal("record", f"trust root {n} waits", "liar", 2.0 + n, "not yet") for n in range(3000)
    ]
    assert sum(told) <= 66
    lines = {line["why"]: line["count"] for line in state.refusals()}
    assert lines["manifest is forged"] == 1
    assert sum(lines.values()) == 3001
    assert state.add_refusal("record", "trust root 9999 waits", "peer 1", 2.0 + 86_400, "not yet")
    state.close()


def test_refusals_are_counted_not_listed(tmp_path: Path) -> None:
    """A flood of garbage would hide the one refusal that matters, and fill the disk."""
    state = NodeState(tmp_path)
    assert state.add_refusal("manifest", "forged", "peer 1", 1.0)
    assert not state.add_refusal("manifest", "forged", "peer 2", 2.0)
    state.flush()
    assert not state.add_refusal("manifest", "forged", "peer 3", 3.0)
    (told,) = state.refusals()
    assert (told["count"], told["first_s"], told["last_s"], told["source"]) == (3, 1.0, 3.0, "peer 3")
    for i in range(3 * REFUSALS_ROWS_MAX):
        state.add_refusal("datagram", f"reason {i}", "peer", 10.0 + i)
        if i % 100 == 0:
            state.flush()
    state.flush()
    assert state._db.execute("SELECT count(*) FROM refusals").fetchone()[0] == REFUSALS_ROWS_MAX
    assert len(state.refusals()) == REFUSALS_ROWS_MAX
    state.close()


def test_statuses_are_written_together(tmp_path: Path) -> None:
    """Ten thousand nodes that say how they are would wear out every SD card of the swarm."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    before = (tmp_path / "state.db-wal").stat().st_mtime_ns
    for i in range(1000):
        state.save_records([_record(bytes([i % 256]), i, kind="status")])
    assert (tmp_path / "state.db-wal").stat().st_mtime_ns == before
    state.save_records([_record(b"stable", 1)])
    assert len(state._db.execute("SELECT * FROM records").fetchall()) == 257
    for i in range(5000):
        state.save_records([_record(i.to_bytes(4, "big"), 1, kind="status")])
    assert len(state.records()) == 5257
    state.close()


# -- one daemon ------------------------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_state_is_told_in_one_line(tmp_path: Path) -> None:
    """Two daemons would write one slot."""
    state = NodeState(tmp_path)
    with pytest.raises(RefusedError) as refused:
        NodeState(tmp_path)
    assert str(os.getpid()) in str(refused.value)
    assert "\n" not in str(refused.value)
    state.close()
    NodeState(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    """The owner would get a stack trace for a wrong path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="cannot be used"):
        NodeState(tmp_path / "file")


# -- damage ----------------------------------------------------------------------------------------------------------


def _garbage(data: bytes) -> bytes:
    return b"this is no database" * 300


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeroed_page(data: bytes) -> bytes:
    return data[:4096] + bytes(4096) + data[8192:]


@pytest.mark.parametrize("damage", [_garbage, _truncated, _zeroed_page])
def test_a_damaged_state_is_moved_aside_and_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A damaged file would keep a node from ever starting again, or be thrown away unseen."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state.save_records([_record(bytes([i]), 1, bytes(900)) for i in range(60)])
    state.close()
    path = tmp_path / "state.db"
    path.write_bytes(damage(path.read_bytes()))
    state = NodeState(tmp_path)
    assert "damaged" in state.notes[0]
    assert (tmp_path / "state.db.broken-1").exists()
    state.save_journal(JOURNAL)
    state = _reopened(state, tmp_path)
    assert state.notes == []
    assert state.journal() == JOURNAL
    state.close()


def test_the_journal_is_carried_over_where_it_can_still_be_read(tmp_path: Path) -> None:
    """A damaged page of history would make the node forget which release is bad."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state.save_records([_record(bytes([i]), 1, bytes(900)) for i in range(60)])
    state.close()
    path = tmp_path / "state.db"
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096):  # leaves the first tables, whose pages come first
        data[page * 4096 : page * 4096 + 64] = b"\xee" * 64
    path.write_bytes(data)
    state = NodeState(tmp_path)
    assert any("carried over" in note for note in state.notes)
    assert state.journal() == JOURNAL
    state.close()


def test_trust_roots_are_carried_over_and_never_left_behind_by_a_journal(tmp_path: Path) -> None:
    """A damaged page, or a full disk and a power cut, would give the keys that were stolen back to the thief."""
    state = NodeState(tmp_path)
    state.save_records([_record(b"swarm", n, kind="root") for n in (1, 2)])
    path = tmp_path / "state.db"
    state._db.execute("INSERT OR REPLACE INTO journal VALUES (1, ?)", (b"half a journal",))
    state = _reopened(state, tmp_path)
    assert "damaged" in state.notes[0]
    assert [record.sequence for record in state.records()] == [2]
    state._reserve.held = lambda: False  # type: ignore[method-assign]
    with pytest.raises(RetryError):
        state.save_records([_record(b"swarm", 3, kind="root"), _record(b"stable", 9)])
    state.save_journal(JOURNAL)
    with sqlite3.connect(path) as other:
        kept = other.execute("SELECT kind, sequence FROM records").fetchall()
    assert kept == [("root", 3)]
    state.close()


def test_a_journal_that_cannot_be_read_is_moved_aside_with_its_state(tmp_path: Path) -> None:
    """A node would go on from half a journal."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state._db.execute("UPDATE journal SET document = ?", (encode_journal(JOURNAL)[:50],))
    state = _reopened(state, tmp_path)
    assert "damaged" in state.notes[0]
    assert state.journal() == Journal()
    state.close()


def test_damaged_states_do_not_pile_up(tmp_path: Path) -> None:
    """A dying card would be filled with copies of what it damaged."""
    for _ in range(5):
        NodeState(tmp_path).close()
        (tmp_path / "state.db").write_bytes(b"garbage" * 2000)
    NodeState(tmp_path).close()
    assert sorted(p.name for p in tmp_path.glob("*.broken-*")) == ["state.db.broken-4", "state.db.broken-5"]


def test_a_state_of_a_newer_fruitd_is_opened(tmp_path: Path) -> None:
    """A node that was rolled back could not read what the newer release left."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state._db.execute("CREATE TABLE of_the_future (x)")
    state._db.execute("ALTER TABLE history ADD COLUMN colour TEXT DEFAULT 'blue'")
    state._db.execute("PRAGMA user_version = 2")
    state = _reopened(state, tmp_path)
    state.add_history(1.0, "a", "b")
    state.save_journal(evolve(JOURNAL, attempts=2))
    assert len(state.history()) == 1
    assert state.notes == []
    state.close()


@pytest.mark.fuzz
def test_no_damage_keeps_a_node_from_starting(tmp_path: Path) -> None:
    """Some decayed sector would stop a node that nobody can reach."""
    rng = random.Random(5)
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state.save_records([_record(bytes([i]), 1, bytes(300)) for i in range(30)])
    state.close()
    good = (tmp_path / "state.db").read_bytes()
    for _ in range(20):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + 512] = rng.randbytes(min(512, len(data) - at))
        (tmp_path / "state.db").write_bytes(data)
        state = NodeState(tmp_path)
        state.records()
        state.history()
        state.refusals()
        state.save_journal(JOURNAL)
        state.close()


# -- a full disk -----------------------------------------------------------------------------------------------------


def test_a_journal_that_cannot_be_saved_is_an_error_and_the_old_one_holds(tmp_path: Path) -> None:
    """A node would act on what it will have forgotten after the next power cut."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    state._db.execute("PRAGMA max_page_count = 1")
    large = evolve(JOURNAL, why="w" * 60_000)
    with pytest.raises(RetryError, match="cannot be saved"):
        state.save_journal(large)
    assert state.journal() == JOURNAL
    assert state.trouble is not None
    state._db.execute("PRAGMA max_page_count = 100000")
    state.save_journal(large)
    assert state.trouble is None
    assert _reopened(state, tmp_path).journal() == large


def test_history_on_a_full_disk_is_dropped_and_never_raises(tmp_path: Path) -> None:
    """A line of history would stop an update."""
    state = NodeState(tmp_path)
    state._db.execute("PRAGMA max_page_count = 1")
    for i in range(HISTORY_ROWS_MAX + 10):
        state.add_history(float(i), "x", "y" * 500)
        state.add_refusal("x", f"y {i}", "z", float(i))
    state.flush()
    assert state.trouble is not None
    assert len(state.history(10)) == 10
    with pytest.raises(RetryError):
        state.save_records([_record(b"k", 1, bytes(3000))])
    state.close()


def test_the_journal_goes_before_everything_that_waits(tmp_path: Path) -> None:
    """Lines of history would take the last room on the disk, and the quarantine would not fit."""
    state = NodeState(tmp_path)
    state.save_journal(JOURNAL)
    pages = state._db.execute("PRAGMA page_count").fetchone()[0]
    state._db.execute(f"PRAGMA max_page_count = {pages}")
    for i in range(1000):
        state.add_history(float(i), "x", "y" * 500)
    state.save_journal(evolve(JOURNAL, attempts=2))
    assert state.journal().attempts == 2
    assert len(state.history(2000)) == 1000
    state.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 2 MiB. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "fruit-test", str(mount)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    return mount


@pytest.mark.root
def test_on_a_disk_that_is_really_full_the_journal_is_saved_from_the_reserve(
    small_disk: Path, request: pytest.FixtureRequest
) -> None:
    """A full disk would make a node forget which release is bad."""
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(small_disk)], check=False))
    state = NodeState(small_disk / "state")
    assert (small_disk / "state" / "reserve").stat().st_size == RESERVE_BYTES
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    for i in range(20):
        state.add_history(float(i), "x", "y" * 500)
        state.save_journal(evolve(JOURNAL, attempts=i, why="w" * 3000))
    assert not (small_disk / "state" / "reserve").exists()
    with pytest.raises(RetryError):
        state.keep_torrent(*_torrent(bytes(500_000)))
    state = _reopened(state, small_disk / "state")
    assert state.journal().attempts == 19
    filler.unlink()
    state.save_journal(evolve(JOURNAL, attempts=50))
    assert (small_disk / "state" / "reserve").stat().st_size == RESERVE_BYTES
    state.close()


def _torrent(raw: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(raw).hexdigest(), raw
