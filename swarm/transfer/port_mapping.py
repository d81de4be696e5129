"""What the router in front of this node was asked to let in, and what it said: UPnP, NAT-PMP or PCP, spoken by libtorrent.

The router names its outside address. A node that peers see at that very address, at a port that the router lets in, can be
reached by strangers; behind a second translator they see it elsewhere, and the mapping counts for nothing.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from swarm.address import Address


@frozen
class _Mapped:
    protocol: str
    port: int
    """Outside."""
    by: str


class PortMappings:
    """Kept from libtorrent's alerts. `lt`: the module."""

    def __init__(self, lt: Any) -> None:
        self._lt = lt
        self._mapped: dict[tuple[int, str], _Mapped] = {}
        self._host = ""
        self._refusal = ""

    def take(self, alert: Any) -> bool:
        """Whether it was about this."""
        lt = self._lt
        match alert:
            case lt.portmap_alert():
                by = str(alert.map_transport)
                self._mapped[alert.mapping, by] = _Mapped(str(alert.map_protocol), alert.external_port, by)
            case lt.portmap_error_alert():
                self._mapped.pop((alert.mapping, str(alert.map_transport)), None)
                self._refusal = " ".join(alert.message().split())[:160]
            case lt.external_ip_alert():
                self._host = str(alert.external_address)
            case _:
                return False
        return True

    def lets_in(self, address: Address) -> bool:
        """Whether the router says that strangers' datagrams to this address of its own get through to this node."""
        ports = {mapped.port for mapped in self._mapped.values() if mapped.protocol == "udp"}
        return address.host == self._host and address.port in ports

    @property
    def words(self) -> str:
        """For people; "" while no router has let anything in."""
        if not self._mapped:
            return ""
        ports = sorted({f"{mapped.port}/{mapped.protocol}" for mapped in self._mapped.values()})
        by = sorted(
            {mapped.by.upper().replace("NATPMP", "NAT-PMP or PCP") for mapped in self._mapped.values()}
        )
        where = f" at {self._host}" if self._host else ""
        return f"lets in {', '.join(ports)}{where}, asked by {' and '.join(by)}"

    @property
    def refusal(self) -> str:
        """What was wrong last; "" where no router has said anything."""
        return self._refusal
