"""What happened in a run: a hash over all of it, and, where asked for, the trail in words."""

from __future__ import annotations

import hashlib

from attrs import frozen

TRAIL_LINES_MAX = 2_000_000
"""Bounds memory (about 200 MB); a replay that needs more is cut short with `--until`."""


@frozen
class Line:
    """One event of the trail. `node` is -1 for what happens to the world as a whole."""

    at_s: float
    node: int
    what: str
    detail: str

    def __str__(self) -> str:
        who = f"n{self.node}" if self.node >= 0 else "world"
        return f"{self.at_s:12.4f}  {who:>6}  {self.what:<12} {self.detail}"


class Trace:
    """SHA-256 over every event of a run, in order. Equal hashes mean that two runs were the same run.

    Args:
        keep: remember the trail, for `fruit sim replay`; the hash does not depend on it.
        only_node: remember only what concerns this node and the world as a whole.
    """

    def __init__(self, *, keep: bool = False, only_node: int | None = None) -> None:
        self._hash = hashlib.sha256()
        self.keep = keep
        self._only_node = only_node
        self.lines: list[Line] = []

    def note(self, at_s: float, node: int, what: str, detail: str = "", data: bytes = b"") -> None:
        """Take one event into the hash; `data` counts for the hash only."""
        self._hash.update(f"{at_s!r} {node} {what} {detail} {len(data)}\n".encode())
        if data:
            self._hash.update(data)
        if not self.keep or len(self.lines) >= TRAIL_LINES_MAX:
            return
        if self._only_node is None or node in (self._only_node, -1):
            self.lines.append(Line(at_s, node, what, detail or (f"{len(data)} bytes" if data else "")))

    def hexdigest(self) -> str:
        """The hash of all events up to now."""
        return self._hash.hexdigest()
