"""Who gave how much: accounts that outlive connections. Pure; fed with snapshots of what a session says of its peers.

A session forgets a peer's counters when the peer disconnects, which seeds do the moment an image is whole. The total of an
image is always known, so what a snapshot missed is the difference, and it goes to those who left since the last
snapshot. The sum over all sources is therefore exact; the split is exact to what moved between two snapshots.

A new connection of a peer that was there before may count on from where the last one ended (libtorrent, where it dialled both),
or from zero. So whoever is new is believed no more than what the total has grown by without the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, frozen

from swarm.address import Address

SOURCES_MAX = 256
"""Node ids are only claimed, so a hostile peer could make any number of them: from here on bytes are booked under
`NOBODY`. Larger costs memory, smaller hides real peers of a large site."""
NOBODY = bytes(20)
"""Peers that did not say who they are."""


@frozen
class Connection:
    """One connection at the moment of a snapshot; what it received and sent counts from its beginning, or from the beginning of
    one before it."""

    node_id: bytes
    address: Address
    received_bytes: int
    rate_bytes_per_s: float
    sent_bytes: int = 0


@define
class _Account:
    address: Address
    settled_bytes: int = 0
    """From connections that are closed, less what the one that is open counts once more."""
    live_bytes: int = 0
    recent_bytes: int = 0
    """Received between the last two snapshots: the weight with which a rest is shared."""
    rate_bytes_per_s: float = 0.0

    @property
    def received_bytes(self) -> int:
        return self.settled_bytes + self.live_bytes


@frozen
class SourceTotal:
    """What one node has given."""

    node_id: bytes
    address: Address
    received_bytes: int
    rate_bytes_per_s: float


class SourceLedger:
    """The accounts of one image."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, _Account] = {}

    def snapshot(
        self,
        connections: Iterable[Connection],
        total_bytes: int,
        departed: Sequence[tuple[bytes, Address]] = (),
    ) -> None:
        """Take in what is known now.

        Args:
            connections: those that are open.
            total_bytes: everything received for the image, read before the connections were.
            departed: node ids and addresses whose connections closed since the last snapshot.
        """
        self._take_live(connections, total_bytes)
        gone = [self._account(node_id, address) for node_id, address in departed]
        self._share(total_bytes - self.received_bytes, gone)

    @property
    def received_bytes(self) -> int:
        """Booked so far, over all sources."""
        return sum(account.received_bytes for account in self._accounts.values())

    def totals(self) -> list[SourceTotal]:
        """Those who gave anything, the most generous first."""
        given = [
            SourceTotal(node_id, a.address, a.received_bytes, a.rate_bytes_per_s)
            for node_id, a in self._accounts.items()
            if a.received_bytes
        ]
        return sorted(given, key=lambda source: (-source.received_bytes, source.node_id))

    def _take_live(self, connections: Iterable[Connection], total_bytes: int) -> None:
        live: dict[bytes, tuple[Address, int, float]] = {}
        for connection in connections:
            _, received, rate = live.get(connection.node_id, (connection.address, 0, 0.0))
            live[connection.node_id] = (
                connection.address,
                received + connection.received_bytes,
                rate + connection.rate_bytes_per_s,
            )
        for node_id, account in self._accounts.items():
            if node_id not in live:
                account.settled_bytes += account.live_bytes
                account.live_bytes, account.rate_bytes_per_s = 0, 0.0
        new: list[tuple[_Account, int]] = []
        for node_id, (address, received, rate) in live.items():
            account = self._account(node_id, address)
            account.rate_bytes_per_s, account.address = rate, address
            if account.live_bytes and received >= account.live_bytes:
                account.recent_bytes = received - account.live_bytes
                account.live_bytes = received
            else:
                new.append((account, received))
        unexplained = max(0, total_bytes - self.received_bytes)
        for account, received in sorted(new, key=lambda row: row[1]):  # who counts on from before has more
            account.recent_bytes = min(received, unexplained)
            unexplained -= account.recent_bytes
            account.settled_bytes += account.live_bytes + account.recent_bytes - received
            account.live_bytes = received

    def _account(self, node_id: bytes, address: Address) -> _Account:
        if node_id not in self._accounts and len(self._accounts) >= SOURCES_MAX:
            node_id = NOBODY
        return self._accounts.setdefault(node_id, _Account(address))

    @staticmethod
    def _share(rest_bytes: int, gone: list[_Account]) -> None:
        weights = [account.recent_bytes + 1 for account in gone]
        for position, account in enumerate(gone):
            if rest_bytes <= 0:
                return
            share = rest_bytes * weights[position] // sum(weights[position:])
            account.settled_bytes += share
            rest_bytes -= share
