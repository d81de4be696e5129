"""Where a peer's sockets are."""

from __future__ import annotations

from ipaddress import ip_address

from attrs import frozen


@frozen(order=True)
class Address:
    """An IP address literal and a port; names are resolved before they get here.

    A link-local IPv6 address names the interface of *this* machine behind which it is, as in ``fe80::1%eth0``.
    """

    host: str
    port: int

    @property
    def is_link_local(self) -> bool:
        """Whether it means anything on its own link only: others must not be told of it."""
        return ip_address(self.host).is_link_local

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
