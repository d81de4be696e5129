"""The nodes that somebody knows of, as `fruit nodes --json` tells of them: what a release would meet."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from fruitd.amounts import size
from fruitd.errors import RefusedError

NODES_FILE_BYTES_MAX = 16 * 1024 * 1024
"""10,000 nodes with long reasons are 6 MiB."""
_NUMBER_MAX = 2**63
_HARDWARE_MAX = 64


@frozen
class KnownNode:
    """What one node said of itself. None: it did not say, or nobody asked."""

    name: str
    hardware: frozenset[str] | None
    slot_bytes: int | None
    release: int | None
    version: str
    quarantined: frozenset[int]

    def fits(self, compatible: Iterable[str]) -> bool:
        """True if it is known to be of this hardware."""
        return self.hardware is not None and not self.hardware.isdisjoint(compatible)

    def keeps_what_it_has(self, release: int, length_bytes: int) -> str:
        """Why it would not take this release of its hardware, by what it has said; empty where nothing stands against it."""
        if self.release is not None and self.release >= release:
            return f"runs release {self.release}"
        if self.slot_bytes is not None and self.slot_bytes < length_bytes:
            return f"has slots of {size(self.slot_bytes)}"
        return f"gave release {release} up" if release in self.quarantined else ""


def read_nodes(data: bytes) -> tuple[KnownNode, ...]:
    """The nodes in the output of `fruit nodes --json`; raises `RefusedError`."""
    if len(data) > NODES_FILE_BYTES_MAX:
        raise RefusedError(f"list of nodes is larger than {NODES_FILE_BYTES_MAX} bytes")
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise RefusedError("list of nodes is not JSON: fruit nodes --json prints one") from error
    return known_nodes(document)


def known_nodes(document: Any) -> tuple[KnownNode, ...]:
    """The nodes in an answer of `GET /v1/nodes` (docs/api.md), whose fields are only ever added to; raises `RefusedError`."""
    match document:
        case {"schema": 1, "nodes": list(rows)}:
            return tuple(_node(row) for row in rows)
    raise RefusedError("list of nodes is not what fruit nodes --json prints")


def _node(row: Any) -> KnownNode:
    if not isinstance(row, dict):
        raise RefusedError("list of nodes has a row that is no object")
    hardware, quarantined = row.get("hardware"), row.get("quarantined", [])
    if hardware is not None and not _texts(hardware):
        raise RefusedError("list of nodes has a hardware that is not a list of names")
    if not isinstance(quarantined, list):
        raise RefusedError("list of nodes has a quarantined that is no list")
    given_up = (item.get("release") if isinstance(item, dict) else item for item in quarantined)
    return KnownNode(
        name=_text(row.get("name")) or _text(row.get("id")) or "a node",
        hardware=frozenset(hardware) if hardware else None,
        slot_bytes=_number(row.get("slot_bytes"), "slot_bytes") or None,
        release=_number(row.get("release"), "release"),
        version=_text(row.get("version")),
        quarantined=frozenset(n for item in given_up if (n := _number(item, "quarantined release"))),
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _HARDWARE_MAX and all(isinstance(h, str) for h in value)


def _text(value: Any) -> str:
    return value[:128] if isinstance(value, str) else ""


def _number(value: Any, what: str) -> int | None:
    if value is None or (type(value) is int and 0 <= value < _NUMBER_MAX):
        return value
    raise RefusedError(f"list of nodes has a {what} that is no whole number")
