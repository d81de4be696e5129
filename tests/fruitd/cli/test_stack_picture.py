"""`fruit stack show`: if it failed, an operator would switch the wrong bay, or not see which one is dead."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fruitd.cli.stack_picture import heart, stack
from tests.fruitd.cli.stack_answer import RACK, Json, answer, bay, board
from tests.fruitd.cli.stack_answer import stack as told

GOLDEN = Path(__file__).parent / "stack_pictures"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(shown: Json, width: int = 80, encoding: str = "utf-8") -> str:
    """As on a terminal of that width that has no colour."""
    written = io.BytesIO()
    console = Console(
        width=width,
        highlight=False,
        no_color=True,
        file=io.TextIOWrapper(written, encoding, errors="replace"),
    )
    console.print(stack(shown))
    console.file.flush()
    return written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("name", "width", "encoding"),
    [("80-columns", 80, "utf-8"), ("40-columns", 40, "utf-8"), ("ascii", 80, "ascii")],
)
def test_the_picture(name: str, width: int, encoding: str) -> None:
    """Half of each board would be missing on a narrow terminal, or every heart be a question mark on an old one.

    Where a change is meant: put what is drawn into the file, and look at it.
    """
    lines = [line.rstrip() for line in drawn(RACK, width, encoding).splitlines()]
    assert lines == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("width", [20, 40, 77, 78, 79, 80, 200])
def test_nothing_is_cut_off_and_nothing_sticks_out(width: int) -> None:
    """A word that somebody needs would be outside the terminal, or break the frames."""
    lines = drawn(RACK, width).splitlines()
    assert max(map(len, lines)) <= width
    words = "".join(drawn(RACK, width).replace("│", " ").split())
    for needed in ("fruit-05", "silentfor184s,powercycle1of3", "byolga:cardisreplaced", "412J"):
        assert needed in words, needed


def test_each_state_of_a_bay_has_a_mark_of_its_own_without_colour() -> None:
    """A node that hangs would look as one that beats."""
    states = [
        {"heartbeat": True}, {"heartbeat": False}, {"heartbeat": None}, {"powered": False, "heartbeat": None},
    ]  # fmt: skip
    for encoding in ("utf-8", "ascii"):
        marks = set()
        for state in states:
            lines = drawn(answer(told(board(0, bay("0:0", "ada", **state)))), encoding=encoding).splitlines()
            marks.add(next(line for line in lines if "0:0" in line).split()[1])
        assert len(marks) == len(states)


def test_what_a_peer_says_cannot_draw_on_the_terminal() -> None:
    """A liar's status could clear the screen, or draw a healthy board over a dead one."""
    evil = "\x1b[2J\r\nboard 9"
    shown = drawn(
        answer(
            told(board(0, bay("0:0", evil, why=evil, supply=evil, state=evil, version=evil))),
            events=[{"at_s": 1, "why": evil}],
        )
    )
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("board 9")]


def test_without_a_stack_it_says_what_to_do() -> None:
    """An empty screen would leave people alone with their cables."""
    assert "docs/hardware.md" in drawn(answer())
    trouble = answer(own={"stack": "rack-1", "owns": False, "trouble": "/dev/ttyUSB0: no such device"})
    assert "/dev/ttyUSB0: no such device" in drawn(trouble)


def test_what_waits_because_of_another_master_is_shown() -> None:
    """A command that waits, or a turn that does not come, would look like a failure."""
    own = {"stack": "rack-1", "owns": True, "trouble": "", "bus_waits": "another master asks the boards"}
    assert "turns and switching wait: another master asks the boards" in drawn(answer(own=own))
    told = drawn(answer(own={**own, "trouble": "mend the network"}))
    assert "mend the network" in told
    assert "switching wait" not in told


def test_who_is_asked_to_pause_is_told() -> None:
    """A heart that stops because somebody looks for its bay would be taken for a failure."""
    assert "4c4c4c4c is asked to pause its heartbeat" in drawn(answer(learning="4c" * 20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "♥ 48 °C"),
        ({"celsius": None}, "♥"),
        ({"heartbeat": "none", "celsius": None}, "-"),
        ({"heartbeat": "silent", "well": False}, "✗ unwell 48 °C"),
        ({"heartbeat": "paused"}, "♥ paused 48 °C"),
        ({"throttled": True}, "♥ throttled"),
        ({"undervoltage": True, "throttled": True}, "low supply"),
    ],
)
def test_hearts_and_supplies_in_the_list_of_nodes(changes: Json, words: str) -> None:
    """`fruit nodes` would show a node with a dying supply as well."""
    power = {"heartbeat": "beating", "well": True, "undervoltage": False, "throttled": False, "celsius": 48.3}
    assert heart({**power, **changes}).plain == words
    assert heart(None).plain == "-"
