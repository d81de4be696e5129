"""Counting what control traffic costs this node."""

from __future__ import annotations

from attrs import define

IPV4_UDP_BYTES = 28
IPV6_UDP_BYTES = 48
CONNECTION_BYTES = 380
"""TCP and IP headers of a short connection, both directions: seven segments of 52 bytes and the options of
the first two. An estimate; payload is counted exactly."""


TUNNELLED_BYTES = 56
"""A datagram's share in a stream: its length, and the headers of one segment of its own."""


@define
class Traffic:
    """Counted since the start, with UDP and IP headers; streams with an estimate of theirs."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    datagram_bytes_sent: int = 0
    datagram_bytes_received: int = 0
    multicasts_received: int = 0
    """Of the datagrams received; this node's own come back to it and are counted."""
    streams_opened: int = 0
    streams_served: int = 0
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0

    @property
    def sent_bytes(self) -> int:
        """All that left this node."""
        return self.datagram_bytes_sent + self.stream_bytes_sent

    @property
    def received_bytes(self) -> int:
        """All that reached this node."""
        return self.datagram_bytes_received + self.stream_bytes_received

    def datagram_sent(self, size: int, host: str) -> None:
        """`size` bytes of payload went to `host`."""
        self.datagrams_sent += 1
        self.datagram_bytes_sent += size + _header_bytes(host)

    def datagram_received(self, size: int, host: str, *, multicast: bool) -> None:
        """`size` bytes of payload came from `host`."""
        self.datagrams_received += 1
        self.multicasts_received += multicast
        self.datagram_bytes_received += size + _header_bytes(host)

    def tunnelled_sent(self, size: int) -> None:
        """A datagram of `size` bytes left by a stream."""
        self.stream_bytes_sent += size + TUNNELLED_BYTES

    def tunnelled_received(self, size: int) -> None:
        """A datagram of `size` bytes came by a stream."""
        self.stream_bytes_received += size + TUNNELLED_BYTES

    def stream_opened(self) -> None:
        """This node connected to a peer."""
        self.streams_opened += 1
        self._connection()

    def stream_served(self) -> None:
        """A peer connected to this node."""
        self.streams_served += 1
        self._connection()

    def _connection(self) -> None:
        self.stream_bytes_sent += CONNECTION_BYTES // 2
        self.stream_bytes_received += CONNECTION_BYTES // 2


def _header_bytes(host: str) -> int:
    return IPV6_UDP_BYTES if ":" in host else IPV4_UDP_BYTES
