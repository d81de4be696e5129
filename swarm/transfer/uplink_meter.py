"""How many image bytes have crossed the uplink. Pure; fed with snapshots of what a session says of its peers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import define, field

from swarm.address import Address
from swarm.transfer.sources import Connection

IMAGES_MAX = 64
"""Remembered. Of one that is forgotten while somebody who was there before comes back, bytes may be counted twice."""


@define
class _Seen:
    """Of one image, at the last snapshot."""

    received_bytes: int = 0
    sent_bytes: int = 0
    connections: dict[tuple[bytes, Address], tuple[int, int]] = field(factory=dict)


class UplinkMeter:
    """Adds up connections that come and go. What one moved between the last snapshot and its end is missing."""

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        self._seen: dict[bytes, _Seen] = {}

    def snapshot(
        self,
        infohash: bytes,
        connections: Iterable[Connection],
        far: Collection[Connection],
        total_received_bytes: int,
        total_sent_bytes: int,
    ) -> None:
        """Take in all connections that are open for an image now.

        Args:
            infohash: of the image.
            connections: all of them.
            far: those with other sites.
            total_received_bytes, total_sent_bytes: of the image, over all connections there were since it was given.
        """
        before = self._seen.pop(infohash, _Seen())
        if total_received_bytes < before.received_bytes or total_sent_bytes < before.sent_bytes:
            before = _Seen()  # it was given anew
        now = _Seen(total_received_bytes, total_sent_bytes)
        received, sent = total_received_bytes - before.received_bytes, total_sent_bytes - before.sent_bytes
        new = []
        for connection in connections:
            name = (connection.node_id, connection.address)
            now.connections[name] = (connection.received_bytes, connection.sent_bytes)
            was = before.connections.get(name)
            if was is None or connection.received_bytes < was[0] or connection.sent_bytes < was[1]:
                new.append(connection)
                continue
            got, gave = connection.received_bytes - was[0], connection.sent_bytes - was[1]
            received, sent = received - got, sent - gave
            if connection in far:
                self.received_bytes += got
                self.sent_bytes += gave
        for connection in sorted(
            new, key=lambda c: c.received_bytes + c.sent_bytes
        ):  # may count on, see `sources`
            got = min(connection.received_bytes, max(0, received))
            gave = min(connection.sent_bytes, max(0, sent))
            received, sent = received - got, sent - gave
            if connection in far:
                self.received_bytes += got
                self.sent_bytes += gave
        self._seen[infohash] = now
        if len(self._seen) > IMAGES_MAX:
            del self._seen[next(iter(self._seen))]
