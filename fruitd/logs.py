"""The node's log: one line an event, as JSON for machines or as text for a person at a terminal.

Every line has `time` (UTC, ISO 8601), `level` and `event`; what else it has, the caller names. Values are
made harmless before they are written: bytes never appear (a key could be among them), nothing named like
a secret does, and no value from a peer can break the line or the terminal.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, MutableMapping
from enum import Enum
from pathlib import PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO, cast

from swarm.address import Address

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

VALUE_CHARS_MAX = 2000
"""One value in one line; a traceback fits, a flood does not."""
ITEMS_MAX = 50
SECRET_WORDS = ("secret", "seed", "password", "passphrase", "private", "swarm_key", "keyring")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_FIRST = ("time", "level", "event")


def _import_structlog() -> ModuleType:
    """structlog without what it imports where that happens to be there: rich, to draw tracebacks, is 3.8 of its 6.7 MiB, and
    greenlet 0.3 MiB (measured)."""
    modules = cast("dict[str, Any]", sys.modules)
    absent = [name for name in ("rich", "greenlet") if name not in modules]
    modules.update(dict.fromkeys(absent))  # None: the documented way to make an import fail
    try:
        import structlog
    finally:
        for name in absent:
            del modules[name]
    return structlog


structlog = _import_structlog()


def setup_logging(level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Decide what is written from here on, by every logger of the process.

    Args:
        level: "debug", "info", "warning" or "error": the least that is written.
        style: "json", "text", or "auto": text on a terminal, JSON anywhere else.
        stream: where to; None is standard error.
    """
    text = style == "text" or (style == "auto" and (stream or sys.stderr).isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            harmless,
            as_text if text else as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )


def get_logger(**fields: Any) -> FilteringBoundLogger:
    """A logger whose every line carries `fields`, such as `room="updater"`."""
    return cast("FilteringBoundLogger", structlog.get_logger(**fields))


class _Lines:
    """Writes lines. A log that cannot be written (full disk, reader gone) never stops the node."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            pass

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


def harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """The same event with nothing in it that must not be written."""
    first = {key: _plain(event[key]) for key in _FIRST if key in event}
    return first | {key: _field(key, value) for key, value in event.items() if key not in _FIRST}


def _field(key: str, value: Any) -> Any:
    return "<withheld>" if any(word in key.lower() for word in SECRET_WORDS) else _plain(value)


def _cut(text: str) -> str:
    """Within the bound: beginning and end, because the last line of a traceback is the one that says what happened."""
    if len(text) <= VALUE_CHARS_MAX:
        return text
    half = VALUE_CHARS_MAX // 2
    return f"{text[: half - 5]} ... {text[-half:]}"


def _plain(value: Any) -> Any:
    """What JSON knows, bounded. Of an object only its type's name is written: fields might be anything."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
        case Enum():
            return _plain(value.value)
        case str():
            return _cut(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case PurePath() | Address() | BaseException():
            return _cut(str(value))
        case Mapping():
            return {str(k)[:100]: _field(str(k), v) for k, v in list(value.items())[:ITEMS_MAX]}
        case list() | tuple() | set() | frozenset():
            return [_plain(entry) for entry in list(value)[:ITEMS_MAX]]
        case _:
            return f"<{type(value).__name__}>"


def as_json(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    """One JSON object on one line, ASCII, so that no terminal or log reader can be led astray."""
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def as_text(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    """`12:00:01 warning what happened  key=value`; a traceback stands below its line, indented."""
    rest = dict(event)
    time, level, what = (str(rest.pop(key, "")) for key in _FIRST)
    trace = str(rest.pop("exception", ""))
    fields = "".join(f"  {_visible(key)}={_visible(value)}" for key, value in rest.items())
    below = "".join(f"\n    {_visible(line)}" for line in trace.splitlines())
    return f"{time[11:19]} {level:<7} {_visible(what)}{fields}{below}"


def _visible(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


setup_logging("warning")
