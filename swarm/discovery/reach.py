"""Can anybody reach this node, and where? From what peers say they see, without a server of anybody's (STUN).

One peer can lie; an address counts when several say the same, each from another host. A node is *open* if anybody may begin to
talk to it: nothing translates its address on the way, its router says that it lets strangers in, or a stranger that it never
spoke to has knocked.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from attrs import frozen

from swarm.address import Address

QUORUM = 3
"""Hosts that must say the same. More: small swarms never know; fewer: two liars move a node."""
REPORTERS_MAX = 32
REPORT_LIFETIME_S = 2 * 3600.0
"""Lines change their address every day in some countries."""
PROOF_LIFETIME_S = 2 * 3600.0
PROOF_AGAIN_S = 60.0
SPOKEN_TO_MAX = 1024
"""Hosts spoken to that are remembered. A host that is forgotten counts as a stranger: then a node takes itself for open too
easily, and others, whom it does not answer, drop it."""


@frozen
class _Report:
    seen: Address
    translated: bool
    at_s: float


class Reach:
    """What this node knows of its own place. `policy`: "auto", or "yes" or "no" where its owner knows better."""

    def __init__(
        self, policy: str = "auto", lets_in: Callable[[Address], bool] = lambda address: False
    ) -> None:
        """`lets_in`: whether the router said that it lets strangers in at this address of its own."""
        self._policy = policy
        self._lets_in = lets_in
        self._reports: dict[str, _Report] = {}
        self._proven_s = float("-inf")
        self._spoken_to: dict[str, None] = {}

    def spoke_to(self, host: str) -> None:
        """A datagram left for this host: whatever stands in between lets its answers in."""
        self._spoken_to.pop(host, None)
        self._spoken_to[host] = None
        if len(self._spoken_to) > SPOKEN_TO_MAX:
            del self._spoken_to[next(iter(self._spoken_to))]

    def is_stranger(self, host: str, now_s: float) -> bool:
        """Whether a datagram from this host could prove anything; quick, for it is asked for every one."""
        return now_s - self._proven_s > PROOF_AGAIN_S and host not in self._spoken_to

    def stranger_came(self, host: str, local: str, now_s: float) -> None:
        """A datagram came to `local` from a host this node never spoke to: from elsewhere, it proves that strangers get in."""
        if local and not _neighbours(host, local):
            self._proven_s = now_s

    def seen(self, by: Address, me: Address, local: Address, now_s: float) -> None:
        """The peer at `by` sees this node at `me`; on this machine, what goes there leaves from `local`."""
        self._reports.pop(by.host, None)
        self._reports[by.host] = _Report(me, me != local, now_s)
        while len(self._reports) > REPORTERS_MAX:
            del self._reports[next(iter(self._reports))]

    def known_by(self, now_s: float) -> int:
        """Hosts that have said lately where they see this node."""
        return len(self._far(now_s))

    def outside(self, now_s: float) -> Address | None:
        """The address that a quorum sees, if it is one and the same."""
        seen = [report.seen for report in self._far(now_s)]
        agreed = [address for address in set(seen) if seen.count(address) >= QUORUM]
        return agreed[0] if len(agreed) == 1 and seen.count(agreed[0]) * 2 > len(seen) else None

    def is_open(self, now_s: float) -> bool:
        """Whether others may be told of this node."""
        if self._policy != "auto":
            return self._policy == "yes"
        if now_s - self._proven_s < PROOF_LIFETIME_S:
            return True
        if self._let_in_at(now_s) is not None:
            return True
        far = self._far(now_s)
        return bool(far) and 2 * sum(report.translated for report in far) < len(far)

    def _let_in_at(self, now_s: float) -> Address | None:
        """Where the router lets strangers in, and a peer sees this node: no second translator stands in between."""
        return next((report.seen for report in self._far(now_s) if self._lets_in(report.seen)), None)

    def words(self, now_s: float) -> str:
        """For people."""
        if self._policy != "auto":
            return f"open: {self._policy}, as configured"
        far = self._far(now_s)
        if now_s - self._proven_s < PROOF_LIFETIME_S:
            return "open: a stranger came through"
        if not far:
            return "not known yet: nobody beyond this LAN has said where it sees this node"
        let_in_at = self._let_in_at(now_s)
        if let_in_at is not None:
            return f"open: the router lets strangers in at {let_in_at}"
        if self.is_open(now_s):
            return "open: peers see this node's own address"
        outside = self.outside(now_s)
        if outside is not None:
            return f"behind an address translator (NAT): {QUORUM} or more peers see {outside}"
        several = len({report.seen for report in far}) > 1
        return "behind an address translator (NAT)" + (
            " that shows each peer another address" if several else ""
        )

    def _far(self, now_s: float) -> list[_Report]:
        """What those say that are farthest: a neighbour on the LAN sees the address before it is translated."""
        fresh = {
            host: report for host, report in self._reports.items() if now_s - report.at_s < REPORT_LIFETIME_S
        }
        public = [report for host, report in fresh.items() if ip_address(host).is_global]
        return public or list(fresh.values())


def _neighbours(one: str, other: str) -> bool:
    """Whether two hosts may stand on one LAN, where no translator is in between."""
    here, there = ip_address(one), ip_address(other)
    if here.version != there.version or here.is_loopback or here.is_link_local:
        return True
    kept = 8 if here.version == 4 else 64
    return (
        here.packed[: (len(here.packed) * 8 - kept) // 8]
        == there.packed[: (len(there.packed) * 8 - kept) // 8]
    )
