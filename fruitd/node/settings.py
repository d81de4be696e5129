"""What a node is, as its owner configured it."""

from __future__ import annotations

from attrs import frozen


@frozen
class NodeSettings:
    """What this node is, as its owner configured it."""

    name: str
    site: str
    software: str
    resource: str
    hardware: frozenset[str]
    channel: str
    relay_images: bool = False
    """Fetch images for sites that cannot reach each other."""
    slot_bytes: int = 0
    """Of its smaller slot; 0: none, or not known."""
