"""The log: its lines can be read by machines and people, and never give a secret away."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.logs import VALUE_CHARS_MAX, as_json, as_text, get_logger, harmless, setup_logging
from swarm.address import Address


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    setup_logging("warning")


def logged(style: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    setup_logging(level, style, stream)
    return stream


def test_json_lines_have_stable_keys() -> None:
    """A log collector would lose the time, the level or the event of a node's lines."""
    stream = logged("json")
    log = get_logger(room="updater")
    log.info("slot armed", release=2, path=Path("/dev/b"), peer=Address("10.0.0.1", 5))
    log.debug("too small to tell")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert list(event)[:3] == ["time", "level", "event"]
    assert event["time"].endswith("Z")
    expected = {"room": "updater", "release": 2, "path": "/dev/b", "peer": "10.0.0.1:5"}
    assert event == {"time": event["time"], "level": "info", "event": "slot armed"} | expected


def test_auto_is_json_unless_a_person_looks() -> None:
    """Under a service manager the log would be prose."""
    stream = logged("auto")
    get_logger().warning("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    setup_logging("info", "auto", terminal)
    get_logger().warning("hello", n=1)
    assert terminal.getvalue().endswith(" warning hello  n=1\n")


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_secret_is_written(style: str) -> None:
    """A key handed to a log line by mistake would stand in the journal of every node."""
    stream = logged(style)
    key = b"\x17SECRETSECRETSECRETSECRETSECRETSE"

    class Keyring:
        def __repr__(self) -> str:
            return f"Keyring({key!r})"

    get_logger(ring=Keyring()).info(
        "sealed", data=key, nested={"a": [key], "seed": "5ec4e7"}, swarm_key="5ec4e7", view=memoryview(key)
    )
    text = stream.getvalue()
    assert "SECRET" not in text
    assert "5ec4e7" not in text
    assert text.count("<withheld>") == 2
    assert "<33 bytes>" in text


def test_a_fault_of_ours_has_its_traceback() -> None:
    """A bug on a node nobody can visit could not be found."""
    stream = logged("json")
    try:
        {}["missing"]
    except KeyError:
        get_logger().exception("a bug")
    event = json.loads(stream.getvalue())
    assert event["level"] == "error"
    assert "KeyError" in event["exception"]
    assert "test_logs.py" in event["exception"]


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    """A full disk under the log would stop the node."""

    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    setup_logging("info", "json", Full())
    get_logger().error("disk is full")
    closed = io.StringIO()
    closed.close()
    setup_logging("info", "json", closed)
    get_logger().error("nobody reads this")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_no_value_breaks_a_line(event: str, fields: dict[str, object]) -> None:
    """A peer's name could forge log lines, or drive the operator's terminal."""
    full = {**fields, "event": event, "level": "info", "time": "2026-01-01T00:00:00Z"}
    clean = harmless(None, "info", dict(full))
    assert isinstance(json.loads(as_json(None, "info", clean)), dict)
    text = as_text(None, "info", {k: v for k, v in clean.items() if k != "exception"})
    assert text.isprintable()


def test_rich_is_not_loaded_for_the_log() -> None:
    """The idle daemon would be 3.8 MiB larger than it needs to be."""
    code = "import fruitd.logs, sys; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_too_long_keeps_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback in the log would stop before the line that says what went wrong."""
    setup_logging("info", "json")
    get_logger().error(
        "bug", exception="first line" + "." * 10 * VALUE_CHARS_MAX + "ZeroDivisionError: last line"
    )
    said = json.loads(capsys.readouterr().err)["exception"]
    assert len(said) <= VALUE_CHARS_MAX
    assert said.startswith("first line")
    assert said.endswith("ZeroDivisionError: last line")
