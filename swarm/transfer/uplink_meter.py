"""How many image bytes have crossed the uplink. Pure; fed with snapshots of what a session says of its peers."""

from __future__ import annotations

from collections.abc import Iterable

from swarm.address import Address
from swarm.transfer.sources import Connection


class UplinkMeter:
    """Adds up connections that come and go. What one moved between the last snapshot and its end is missing."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        self._seen: dict[bytes, dict[tuple[bytes, Address], tuple[int, int]]] = {}

    def snapshot(self, infohash: bytes, connections: Iterable[Connection]) -> None:
        """Take in all connections with other sites that are open for an image now."""
        before = self._seen.pop(infohash, {})
        seen: dict[tuple[bytes, Address], tuple[int, int]] = {}
        for connection in connections:
            name = (connection.node_id, connection.address)
            received, sent = before.get(name, (0, 0))
            if connection.received_bytes < received or connection.sent_bytes < sent:
                received = sent = 0  # another connection of the same two
            self.received_bytes += connection.received_bytes - received
            self.sent_bytes += connection.sent_bytes - sent
            seen[name] = (connection.received_bytes, connection.sent_bytes)
        if seen:
            self._seen[infohash] = seen
