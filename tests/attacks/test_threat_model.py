"""docs/security.md names tests: each exists, and each named attack has its row."""

from __future__ import annotations

import re
from pathlib import Path

from tests.attacks.table import TUF, UPTANE

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def missing(text: str) -> list[str]:
    """Tests that the text names and that are not there."""
    found = []
    for path, name in NAMED.findall(text):
        file = ROOT / path
        if not file.is_file() or (name and f"def {name}(" not in file.read_text()):
            found.append(f"{path}::{name}")
    return found


def test_every_test_that_the_threat_model_names_exists() -> None:
    """A promise would rest on a test that nobody wrote, or that was renamed."""
    text = (ROOT / "docs" / "security.md").read_text()
    assert len(NAMED.findall(text)) > 25
    assert missing(text) == []
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for attack in (*TUF, *UPTANE):
        assert NAMED.search(rows[attack]), f"{attack} names no test"


def test_a_test_that_is_not_there_is_noticed() -> None:
    """The test before this one could not fail."""
    assert missing("`tests/attacks/test_nothing.py`, `tests/attacks/test_lies.py::test_of_nothing`") == [
        "tests/attacks/test_nothing.py::",
        "tests/attacks/test_lies.py::test_of_nothing",
    ]
