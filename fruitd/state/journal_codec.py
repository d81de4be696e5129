"""The journal as it is kept on disk: a small JSON document with a version, read strictly.

Unknown fields are left out, not refused: after a rollback an older fruitd reads what a newer one wrote, and must not lose the
quarantine over a field it does not know. What it does know must be of the right type.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import cattrs
from cattrs.preconf.json import make_converter

from fruitd.errors import RefusedError
from fruitd.updater.journal import SLOTS, Journal, State

VERSION = 1
DOCUMENT_BYTES_MAX = 256 * 1024
"""Thirty-two quarantined releases with their reasons need a tenth of it."""


def _exactly(kind: type) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r} is not of type {kind.__name__}")
        return value

    return structure


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _state(value: Any, _: Any) -> State:
    return State(value)


def _converter() -> cattrs.Converter:
    converter = make_converter(detailed_validation=False)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _number)
    # An enum of strings would otherwise be read by the hook for strings, and every `is` on it would fail.
    converter.register_structure_hook(State, _state)
    return converter


_CONVERTER = _converter()


def encode_journal(journal: Journal) -> bytes:
    """The document."""
    return json.dumps(
        {"version": VERSION, "journal": _CONVERTER.unstructure(journal)}, separators=(",", ":")
    ).encode()


def decode_journal(document: bytes) -> Journal:
    """Read a document; raises `RefusedError` on anything but a journal."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise RefusedError(f"journal of {len(document)} bytes, the limit is {DOCUMENT_BYTES_MAX}")
    try:
        value = json.loads(document, parse_constant=_no_constant)
        if not isinstance(value, dict) or value.get("version") != VERSION:
            raise RefusedError(f"journal is not of version {VERSION}")
        journal = _CONVERTER.structure(value["journal"], Journal)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RefusedError(f"journal cannot be read: {error}") from error
    if set(journal.slots) != set(SLOTS) or journal.target_slot not in (*SLOTS, None):
        raise RefusedError("journal names slots that do not exist")
    return journal


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
