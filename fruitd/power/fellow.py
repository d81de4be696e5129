"""What the owner of a bus knows of another node, here and now."""

from __future__ import annotations

from attrs import frozen

from swarm.power import NodeHealth


@frozen
class Fellow:
    """A node that says it belongs to the stack, or is known to sit in it."""

    name: str = ""
    heard_s_ago: float | None = None
    """None: not itself."""
    health: NodeHealth | None = None
    health_age_s: float = 0.0
    of_before: bool = False
    """What it says was kept over a restart of this node, and may be older than what it said last."""

    def heard_since(self, at_s: float, now_s: float) -> bool:
        """It has been heard since then."""
        return self.heard_s_ago is not None and now_s - self.heard_s_ago > at_s
