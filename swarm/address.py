"""Where a peer's sockets are."""

from __future__ import annotations

from attrs import frozen


@frozen(order=True)
class Address:
    """An IP address literal and a port; names are resolved before they get here."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
