"""`fruit stack history`: if it failed, an operator would not see which bay draws too much, or since when its heart is still."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from fruitd.cli.stack_history_picture import NOT_MEASURED, bay_over_time, bays
from tests.fruitd.api.fake_node import FakeNode
from tests.fruitd.cli.test_node_commands import daemon, fruit

GOLDEN = Path(__file__).parent / "stack_histories"
SINCE_S, SPAN_S, SPANS = 1_800_000_000, 3600, 24
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def figures(watts: float | None, spans: int = 1, **changes: Any) -> Json:
    """Of so many spans at that power; None: only volts are measured on this board."""
    known_s = float(SPAN_S * spans)
    made: Json = {
        "watched_s": known_s, "measured_s": 0.0 if watts is None else known_s,
        "energy_j": None if watts is None else watts * known_s, "watts_mean": watts,
        "watts_max": None if watts is None else watts + 0.5, "volts_mean": 5.042, "volts_min": 4.981,
        "amperes_mean": None if watts is None else watts / 5, "powered_share": 1.0, "beat_share": 1.0,
    }  # fmt: skip
    return {**made, **changes}


def points(*watts: float | None, first: int = 0) -> list[Json]:
    return [{"at_s": SINCE_S + (first + at) * SPAN_S, **figures(w)} for at, w in enumerate(watts)]


def row(bay: str, name: str, over_time: list[Json], **changes: Any) -> Json:
    known = [p["watts_mean"] for p in over_time if p["watts_mean"] is not None]
    mean = sum(known) / len(known) if known else None
    made = {"bay": bay, "node": (name.encode().hex() * 20)[:40] or None, "name": name}
    return {**made, **figures(mean, len(over_time)), "points": over_time, **changes}


def answer(*rows: Json, **changes: Any) -> Json:
    made = {
        "schema": 1, "stack": "rack-1", "owns": True, "trouble": "", "since_s": SINCE_S,
        "until_s": SINCE_S + SPANS * SPAN_S, "span_s": SPAN_S, "bays": list(rows),
    }  # fmt: skip
    return {**made, **changes}


OFF = figures(0.0, watts_max=0.0, volts_mean=None, volts_min=None, powered_share=0.0, beat_share=0.0)
DAY = points(*(1.5 + 0.1 * at for at in range(24)))
HOLE = points(2.0, 2.5, 3.0) + points(1.0, 0.5, first=6)
RACK = answer(
    row("0:0", "fruit-02", DAY, beat_share=0.9996),
    row("0:1", "fruit-03", HOLE, beat_share=0.413, volts_min=4.41),
    row("3:0", "", [{"at_s": SINCE_S, **OFF}], **OFF),
    row("254:1", "a-node-with-a-very-long-name", points(None, None), energy_j=None),
)


def drawn(shown: RenderableType, width: int = 80, encoding: str = "utf-8") -> str:
    """As on a terminal of that width that has no colour."""
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding, errors="replace")
    console = Console(width=width, highlight=False, no_color=True, file=file)
    console.print(shown)
    console.file.flush()
    return written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("name", "width", "encoding"),
    [("80-columns", 80, "utf-8"), ("50-columns", 50, "utf-8"), ("ascii", 80, "ascii")],
)
def test_all_bays(name: str, width: int, encoding: str) -> None:
    """A figure would stand under another one's heading, or the bar be question marks on an old terminal.

    Where a change is meant: put what is drawn into the file, and look at it.
    """
    lines = [line.rstrip() for line in drawn(bays(RACK), width, encoding).splitlines()]
    assert lines == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("width", [80, 50, 30])
def test_one_bay(width: int) -> None:
    """The hour in which it began would be cut off."""
    lines = [line.rstrip() for line in drawn(bay_over_time(RACK, "0:1"), width).splitlines()]
    assert lines == (GOLDEN / f"one-bay-{width}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("width", [24, 30, 40, 47, 48, 67, 68, 77, 78, 79, 80, 200])
@pytest.mark.parametrize("bay", [None, "0:1", "254:1"])
def test_nothing_is_cut_off_and_nothing_sticks_out(width: int, bay: str | None) -> None:
    """The figure that matters would be outside the terminal, or lose its last digit."""
    text = drawn(bays(RACK) if bay is None else bay_over_time(RACK, bay), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    squeezed = "".join(text.split())
    needed = ["fruit-03", "1.80", "4.41", "41%", "99%", "32.4kJ"] if bay is None else ["01-15"]
    needed += ["01-1514:00", "1.80", "41%"] if bay == "0:1" else []
    assert not [words for words in needed if words not in squeezed]


def test_a_bar_has_a_column_for_each_span_and_a_hole_where_nothing_was_measured() -> None:
    """A night without the bus would look as a night without power."""
    lines = drawn(bays(RACK)).splitlines()
    (hole,) = (line for line in lines if "fruit-03" in line)
    assert hole.split()[-1] == "▅▆▇" + 3 * NOT_MEASURED + "▃▂" + 16 * NOT_MEASURED
    (off,) = (line for line in lines if line.startswith("3:0"))
    assert off.split()[-1] == "▁" + 23 * NOT_MEASURED
    (rising,) = (line for line in lines if "fruit-02" in line)
    assert rising.split()[-1] == "".join(sorted(rising.split()[-1]))
    assert rising.split()[-1][-1] == "█"


def test_of_one_bay_there_are_at_most_24_lines_and_holes_are_shown() -> None:
    """A table would scroll away, or pretend that the time between two lines was measured."""
    table = [line for line in drawn(bay_over_time(RACK, "0:0")).splitlines() if line.startswith("01-1")]
    assert len(table) == 24
    lines = [line for line in drawn(bay_over_time(RACK, "0:1")).splitlines() if line.startswith("01-1")]
    assert [line.split()[2] for line in lines] == ["2.00", "2.50", "3.00", "-", "-", "-", "1.00", "0.50"]


def test_an_empty_history_says_why() -> None:
    """A newcomer would take an empty screen for a broken cable."""
    for shown in (bays(answer()), bay_over_time(RACK, "7:1")):
        text = " ".join(drawn(shown).split())
        assert "every quarter of an hour" in text
    assert "bay 7:1" in text
    assert "/dev/ttyUSB0: no such device" in drawn(bays(answer(trouble="/dev/ttyUSB0: no such device")))
    assert "another node has the bus now" in drawn(bays(answer(owns=False)))


def test_what_a_peer_says_cannot_draw_on_the_terminal() -> None:
    """A liar's name could clear the screen, or draw a healthy bay over a dead one."""
    evil = "\x1b[2J\r\n0:0 ada"
    for width in (80, 50):
        shown = drawn(bays(answer(row("0:1", evil, DAY), stack=evil, trouble=evil)), width)
        one = drawn(bay_over_time(answer(row("0:1", evil, DAY)), "0:1"), width)
        assert "\x1b" not in shown + one
        assert not [line for line in (shown + one).splitlines() if line.startswith("0:0")]


def test_the_command(tmp_path: Path) -> None:
    """A node's name would lead to another bay, or a script get words for JSON."""
    socket, node = tmp_path / "api.sock", FakeNode()
    with daemon(node, socket):
        shown = fruit("stack", "history", socket=socket)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "fruit-04" in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 80
        for named in ("3:1", "fruit-04", "4c4c4c4c"):
            table = fruit("stack", "history", named, "--hours", "6", socket=socket).stdout
            assert "bay 3:1  fruit-04" in table
        told = json.loads(fruit("stack", "history", "3:1", "--json", socket=socket).stdout)
        assert told["bays"][0]["energy_j"] == 6516.2
        nobody = fruit("stack", "history", "fruit-99", socket=socket)
        assert nobody.returncode == 1
        assert "fruit-99" in nobody.stderr
        assert fruit("stack", "history", "--hours", "0", socket=socket).returncode == 2
    asked = [(hours, str(place), points) for hours, place, points in node.asked_history]
    assert asked == [(24, "None", 24), *[(6, "3:1", 24)] * 3, (24, "3:1", 1344)]


def test_the_help_shows_an_example() -> None:
    """A newcomer would have to guess how the command is called."""
    shown = fruit("stack", "history", "--help").stdout
    assert "fruit stack history 3:1 --hours 6" in shown.split("Example:")[1]
