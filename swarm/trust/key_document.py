"""What all key files have in common: a small JSON object with type, version, algorithm, name and public half."""

from __future__ import annotations

import json
import re
from typing import Any

from swarm.errors import KeyFileError

KEY_FILE_BYTES_MAX = 4096
ALGORITHM = "ed25519"
_VERSION = 1
_COMMON = {"type", "version", "algorithm", "name", "public"}

Document = dict[str, Any]


def begin(kind: str, name: str, public: bytes) -> Document:
    """The fields that every key file has."""
    return {"type": kind, "version": _VERSION, "algorithm": ALGORITHM, "name": name, "public": public.hex()}


def encode(document: Document) -> bytes:
    """The file."""
    return (json.dumps(document, indent=1) + "\n").encode()


def type_of(data: bytes) -> str:
    """What kind of key file this says it is, or ""; raises `KeyFileError` where it is no JSON object."""
    kind = _object(data).get("type")
    return kind if isinstance(kind, str) else ""


def decode(data: bytes, kind: str, own_fields: set[str]) -> Document:
    """The document, with exactly the common fields and these; raises `KeyFileError`, quoting nothing of it."""
    document = _object(data)
    if document.get("type") != kind:
        raise KeyFileError(f"is no key file: its type is not {kind}")
    if document.get("version") != _VERSION or isinstance(document["version"], bool):
        raise KeyFileError(f"is a key file of another version than {_VERSION}; a newer fruit may read it")
    if document.get("algorithm") != ALGORITHM:
        raise KeyFileError(f"is a key of another algorithm than {ALGORITHM}")
    if set(document) != _COMMON | own_fields:
        raise KeyFileError("has fields that do not belong in a key file, or lacks some that do")
    if not isinstance(document["name"], str):
        raise KeyFileError("has a name that is not text")
    return document


def hex_bytes(document: Document, field: str, length: int) -> bytes:
    """A field of so many bytes in hex."""
    value = document[field]
    if isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value):
        return bytes.fromhex(value)
    raise KeyFileError(f"its {field} is not {2 * length} lower-case hex digits")


def count(document: Document, field: str, least: int, most: int) -> int:
    """A field that is a whole number within bounds."""
    value = document[field]
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise KeyFileError(f"its {field} is not a whole number from {least} to {most}")


def _object(data: bytes) -> Document:
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileError(f"is no key file: it is larger than {KEY_FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise KeyFileError("is no key file: it is not JSON") from error
    if not isinstance(document, dict):
        raise KeyFileError("is no key file: it is not a JSON object")
    return document
