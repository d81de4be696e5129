"""What a node's log says, read while it is written."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from fruitd.demo.cluster import NodeProcess


class Diary:
    """A node's log, read on from where it was read last: looking often costs nothing."""

    def __init__(self, node: NodeProcess) -> None:
        self._path = node.log
        self._read_bytes = 0
        self._lines: list[dict[str, Any]] = []

    def times(self, event: str, **fields: object) -> list[float]:
        """Calendar time of every line with this event and these fields, oldest first."""
        self._read_on()
        wanted = {"event": event, **fields}.items()
        return [
            datetime.fromisoformat(line["time"]).timestamp()
            for line in self._lines
            if all(line.get(key) == value for key, value in wanted)
        ]

    def kept(self, release: int) -> bool:
        """True once the node runs this release and keeps it."""
        return bool(self.times("committed", release=release))

    def _read_on(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as log:
            log.seek(self._read_bytes)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        # The boot chooser and the tools of the node write there too, in plain words.
        self._lines += [json.loads(line) for line in whole.splitlines() if line.startswith(b'{"time"')]
