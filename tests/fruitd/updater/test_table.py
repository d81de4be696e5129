"""If one of these failed, some event in some state would have no answer, or the picture in the documents would be untrue."""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import pytest

from fruitd.boot_facts import BootFacts
from fruitd.errors import BugError
from fruitd.updater import effects as do
from fruitd.updater import events as on
from fruitd.updater.diagram import page_blocks
from fruitd.updater.journal import Journal, State
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from fruitd.updater.table import IGNORED, ILLEGAL, ROWS, TABLE

PAGE = Path(__file__).parents[3] / "docs" / "states.md"


def test_every_event_has_one_answer_in_every_state() -> None:
    """An event nobody thought of would stop the daemon."""
    assert set(TABLE) == {(state, event) for state in State for event in get_args(on.Event)}
    assert sum(len(row.states) for row in ROWS) == len(TABLE)


def test_every_handler_exists_and_is_in_the_table() -> None:
    """A handler's name would be misspelt, and found out in the field."""
    named = {row.handler for row in ROWS} - {IGNORED, ILLEGAL}
    written = {name.removeprefix("_on_") for name in dir(Updater) if name.startswith("_on_")}
    assert named == written


def test_the_picture_in_the_documents_is_the_table() -> None:
    """People would read a picture of another machine: run `python -m fruitd.updater` and paste what it prints."""
    text = PAGE.read_text(encoding="utf-8")
    block = text.split("<!-- table -->\n")[1].split("<!-- end of table -->")[0]
    assert block == page_blocks()


def test_an_illegal_event_is_a_bug_in_tests_and_a_note_in_the_field() -> None:
    """A mistake of ours would pass unseen, or would stop a node that nobody can reach."""
    for strict in (True, False):
        updater = Updater(Journal(), UpdateSettings(), random.Random(1), strict=strict)
        updater.handle(on.Started(BootFacts("1", "a", "a", None)), 1.0)
        before = updater.journal
        if strict:
            with pytest.raises(BugError):
                updater.handle(on.SlotArmed("00"), 2.0)
        else:
            effects = updater.handle(on.SlotArmed("00"), 2.0)
            assert [e.what for e in effects if isinstance(e, do.Note)] == ["bug"]
        assert updater.journal == before


def test_an_event_before_the_start_is_a_bug() -> None:
    """An updater would act without knowing which slot runs, and might write that very slot."""
    updater = Updater(Journal(), UpdateSettings(), random.Random(1))
    effects = updater.handle(on.Resume(), 1.0)
    assert [type(e) for e in effects] == [do.Note]
    assert updater.next_wakeup_s(1.0) is None
