"""The history of bays on disk: if it failed, it would fill the card, take the node down with it, or tell what never was."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fruitd.state.figures as figures
from fruitd.errors import RetryError
from fruitd.power.averages import Mean, Row, Sums
from fruitd.state.figures import FILE, FUTURE_S, PAGE_BYTES, PAGES_MAX, FigureStore
from swarm.power import Place

T0 = 1_800_000_000
QUARTER = 900
FOUR = [Place(board, bay) for board in range(2) for bay in range(2)]


def row(at_s: int, place: Place = FOUR[0], watts: float = 2.0, **extremes: float | None) -> Row:
    mean = Mean(900.0, 900.0)
    sums = Sums(
        900.0, Mean(900.0, 4500.5), Mean(800.0, 320.0), Mean(890.0, 890 * watts), mean, Mean(900.0, 810.0)
    )
    sums.read(extremes.get("volts_min", 4.98), extremes.get("watts_max", 3.1))
    return Row(at_s, place, sums)


def full(store: FigureStore, quarters: int, begins_s: int = T0) -> None:
    for quarter in range(quarters):
        at_s = begins_s + quarter * QUARTER
        store.add([row(at_s, place) for place in FOUR], at_s + QUARTER)


def kept(folder: Path) -> list[int]:
    """When the rows of the first bay began."""
    with sqlite3.connect(folder / FILE) as db:
        return [
            at_s
            for (at_s,) in db.execute("SELECT at_s FROM bays WHERE address = 0 AND bay = 0 ORDER BY at_s")
        ]


def test_rows_come_back_as_they_were_and_add_up(tmp_path: Path) -> None:
    """Watts, hearts or joules would be other ones after a restart."""
    store = FigureStore(tmp_path)
    first = row(T0)
    store.add([first, row(T0, FOUR[1], volts_min=None, watts_max=None)], T0)
    store.add([row(T0 + QUARTER, watts=4.0, volts_min=4.5, watts_max=5.0)], T0)
    one, other = FigureStore(tmp_path).spans(T0, QUARTER, 1)
    assert one == first
    assert (other.place, other.sums.volts_min, other.sums.watts_max) == (FOUR[1], None, None)
    (both,) = store.spans(T0 - QUARTER, 3 * QUARTER, 2, FOUR[0])
    assert (both.at_s, both.sums.volts_min, both.sums.watts_max) == (T0 - QUARTER, 4.5, 5.0)
    assert both.sums.watts == Mean(1780.0, 890 * 6.0)
    assert store.spans(T0 + 2 * QUARTER, QUARTER, 5) == []


def test_a_row_of_the_same_time_is_replaced(tmp_path: Path) -> None:
    """After a clock that went back every write would fail."""
    store = FigureStore(tmp_path)
    store.add([row(T0)], T0)
    store.add([row(T0, watts=5.0)], T0)
    (one,) = store.spans(T0, QUARTER, 1)
    assert one.sums.watts.value == 5.0


def test_the_file_is_the_daemons_alone(tmp_path: Path) -> None:
    """Whoever has an account on the Pi could read, or forge, when its neighbours were at home."""
    before = os.umask(0)
    try:
        FigureStore(tmp_path).add([row(T0)], T0)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    """A question would write to the card."""
    assert FigureStore(tmp_path).spans(T0, QUARTER, 96) == []
    assert list(tmp_path.iterdir()) == []


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_the_oldest_rows_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history would fill the disk, or end when it is full."""
    monkeypatch.setattr(figures, "ROWS_MAX", 40)
    store = FigureStore(tmp_path)
    full(store, 25)
    assert kept(tmp_path) == [T0 + quarter * QUARTER for quarter in range(15, 25)]
    assert len(store.spans(T0, QUARTER, 25)) == 40


def test_rows_of_a_clock_that_was_wrong_go_before_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One day with a clock in 2099 would stay for ever, and in the end be all that is kept."""
    monkeypatch.setattr(figures, "ROWS_MAX", 40)
    store = FigureStore(tmp_path)
    full(store, 5)
    full(store, 4, begins_s=T0 + 10**9)
    assert len(kept(tmp_path)) == 9
    tomorrow = T0 + int(FUTURE_S)
    store.add([row(tomorrow, place) for place in FOUR], T0)
    store.add([row(T0 + 5 * QUARTER, place) for place in FOUR], T0)
    assert kept(tmp_path) == [*(T0 + quarter * QUARTER for quarter in range(6)), tomorrow]


def test_a_full_history_fits_its_bound_and_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows would be thrown away long before their two weeks, or the file grow without end."""
    rng = random.Random(1)
    share = 32
    monkeypatch.setattr(figures, "ROWS_MAX", figures.ROWS_MAX // share)
    store = FigureStore(tmp_path)
    places = [Place(board, bay) for board in range(16) for bay in range(2)]
    for quarter in range(50):
        rows = [row(T0 + quarter * QUARTER, place, watts=rng.uniform(0, 12)) for place in places]
        store.add(rows, T0)
        if quarter == 42:
            size = (tmp_path / FILE).stat().st_size
    assert (tmp_path / FILE).stat().st_size <= size + 2 * PAGE_BYTES
    assert size <= 0.85 * PAGES_MAX * PAGE_BYTES / share


def test_at_the_bound_on_pages_the_oldest_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fills the pages, the newest would not be kept any more."""
    monkeypatch.setattr(figures, "PAGES_MAX", 6)
    monkeypatch.setattr(figures, "ROWS_MAX", 800)
    store = FigureStore(tmp_path)
    full(store, 200)
    assert (tmp_path / FILE).stat().st_size <= 6 * PAGE_BYTES
    found = kept(tmp_path)
    assert found[-1] == T0 + 199 * QUARTER
    assert 20 < len(found) < 200
    assert store.notes == []


# -- damage and trouble --------------------------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 3000)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-PAGE_BYTES])


def _zeroed_page(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:PAGE_BYTES] + bytes(PAGE_BYTES) + data[2 * PAGE_BYTES :])


def _huge(path: Path) -> None:
    os.truncate(path, PAGE_BYTES * (PAGES_MAX + 1))


def _sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as db:
            for statement in statements:
                db.execute(statement)

    return change


DAMAGES = [
    _garbage,
    _truncated,
    _zeroed_page,
    _huge,
    _sql("DROP TABLE bays", "CREATE TABLE bays (at_s INTEGER, address INTEGER, bay INTEGER)"),
]
WRONG_ROWS = [
    _sql("UPDATE bays SET watts = 'many'"),
    _sql("UPDATE bays SET volts_min = x'ff'"),
    _sql("UPDATE bays SET watts_ms = NULL"),
    _sql("UPDATE bays SET address = 'x' || address"),
    _sql("UPDATE bays SET bay = 2 + bay"),
    _sql("UPDATE bays SET watts = 9223372036854775807"),
    _sql("UPDATE bays SET volts_min = -1"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_by_the_next_write_and_begun_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """One bad block, and nothing would be kept any more."""
    store = FigureStore(tmp_path)
    full(store, 60)
    damage(tmp_path / FILE)
    store.add([row(T0 + 60 * QUARTER)], T0)
    assert kept(tmp_path) == [T0 + 60 * QUARTER]
    (note,) = store.notes
    assert "damaged" in note
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("damage", [*DAMAGES, *WRONG_ROWS])
def test_damage_is_noticed_by_reading_and_nothing_of_it_shown(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """What a broken card made up would be shown as measured, or the question end in a bug."""
    store = FigureStore(tmp_path)
    full(store, 60)
    damage(tmp_path / FILE)
    assert store.spans(T0, QUARTER, 60) == []
    assert len(store.notes) == 1
    full(store, 2)
    assert len(store.spans(T0, QUARTER, 60)) == 8


def test_a_write_that_was_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    """Every power cut would cost two weeks."""
    store = FigureStore(tmp_path)
    full(store, 3)
    pid = os.fork()
    if pid == 0:  # dies in the middle of its transaction, with everything written but its end
        db = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN IMMEDIATE")
        for quarter in range(200):
            figures_of = (
                f"SELECT at_s + {100_000 + quarter} * {QUARTER}, address, bay, {', '.join(figures._COLUMNS)}"
            )
            db.execute(f"INSERT INTO bays {figures_of} FROM bays WHERE at_s = {T0}")
        os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / f"{FILE}-journal").stat().st_size > 0
    store.add([row(T0 + 3 * QUARTER)], T0)
    assert kept(tmp_path) == [T0 + quarter * QUARTER for quarter in range(4)]
    assert store.notes == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_trouble_with_the_disk_is_told_in_words_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A full or dying card would take the node with it, or its history be thrown away for it."""
    store = FigureStore(tmp_path)
    full(store, 2)

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fail)
        with pytest.raises(RetryError, match=os.strerror(number)):
            full(store, 3)
    assert len(kept(tmp_path)) == 2
    full(store, 3)
    assert len(kept(tmp_path)) == 3


def test_what_can_only_be_read_is_read(tmp_path: Path) -> None:
    """A card that went read-only could not even be asked what it knows."""
    store = FigureStore(tmp_path)
    full(store, 2)
    real = sqlite3.connect

    with pytest.MonkeyPatch.context() as patched:

        def read_only(path: object, **options: object) -> sqlite3.Connection:
            if not str(path).endswith("?mode=ro"):
                raise sqlite3.OperationalError("attempt to write a readonly database")
            return real(path, **options)  # type: ignore[arg-type, call-overload, no-any-return]

        patched.setattr(sqlite3, "connect", read_only)
        assert len(store.spans(T0, QUARTER, 4)) == 8
        with pytest.raises(RetryError, match="readonly"):
            full(store, 1)
    assert len(kept(tmp_path)) == 2


def test_a_real_full_disk_costs_the_new_rows_only(tmp_path: Path) -> None:
    """A card without room would lose what it has as well."""
    code = f"""
import resource, signal
from pathlib import Path
from tests.fruitd.state.test_figures import FigureStore, full, T0, FILE
from fruitd.errors import RetryError
folder = Path({str(tmp_path)!r})
store = FigureStore(folder)
full(store, 20)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / FILE).stat().st_size, resource.RLIM_INFINITY))
try:
    full(store, 200, T0 + 10**6)
except RetryError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cannot be used" in told
    assert kept(tmp_path)[:20] == [T0 + quarter * QUARTER for quarter in range(20)]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_what_stands_in_its_place_is_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A link would let the daemon write elsewhere."""
    make(tmp_path / FILE)
    with pytest.raises(RetryError, match="cannot be used"):
        FigureStore(tmp_path).add([row(T0)], T0)
    assert not (tmp_path / FILE).is_file() or (tmp_path / FILE).is_symlink()
