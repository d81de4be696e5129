"""What a run amounted to, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen


@frozen
class Spread:
    """How long something took to reach nodes, seconds after it was published. None where it reached nobody."""

    reached: int
    of: int
    p50_s: float | None
    p99_s: float | None
    max_s: float | None
    delays_s: tuple[float, ...] = ()
    """Of each node that was reached, in order."""


def spread(delays_s: Sequence[float], of: int) -> Spread:
    """Percentiles by the nearest rank."""
    if not delays_s:
        return Spread(0, of, None, None, None)
    ordered = sorted(delays_s)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]

    return Spread(len(ordered), of, rank(0.5), rank(0.99), ordered[-1], tuple(ordered))


@frozen
class ReleaseReport:
    """One release's way through the swarm. Nodes that were off when it was published are not counted."""

    release: int
    behaviour: str
    published_at_s: float
    manifest: Spread
    installed: Spread


@frozen
class Report:
    """A whole run. `trace` is the SHA-256 of all its events: equal for equal scenario, seed and code."""

    scenario: str
    seed: int
    nodes: int
    sites: int
    virtual_s: float
    settled_at_s: float | None
    """When everything had converged after the faults; None where it has not."""
    events: int
    trace: str
    releases: tuple[ReleaseReport, ...]
    control_bytes_per_node_s: float
    """Mean of control traffic, sent and received, headers counted."""
    image_bytes: int
    """Received by all nodes together."""
    image_bytes_between_sites: int
    strikes: int
    refused: tuple[tuple[str, str, int], ...]
    violations: tuple[str, ...]
    unsettled: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing happened that never may, and everything converged."""
        return not self.violations and not self.unsettled

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; schema 1."""
        return {
            "schema": 1,
            "ok": self.ok,
            "scenario": self.scenario,
            "seed": self.seed,
            "nodes": self.nodes,
            "sites": self.sites,
            "virtual_s": round(self.virtual_s, 3),
            "settled_at_s": None if self.settled_at_s is None else round(self.settled_at_s, 3),
            "events": self.events,
            "trace": self.trace,
            "releases": [
                {
                    "release": r.release,
                    "behaviour": r.behaviour,
                    "published_at_s": round(r.published_at_s, 3),
                    "manifest": _spread_dict(r.manifest),
                    "installed": _spread_dict(r.installed),
                }
                for r in self.releases
            ],
            "control_bytes_per_node_s": round(self.control_bytes_per_node_s, 1),
            "image_bytes": self.image_bytes,
            "image_bytes_between_sites": self.image_bytes_between_sites,
            "strikes": self.strikes,
            "refused": [{"what": what, "why": why, "count": count} for what, why, count in self.refused],
            "violations": list(self.violations),
            "unsettled": list(self.unsettled),
        }


def _spread_dict(value: Spread) -> dict[str, Any]:
    def rounded(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds, 3)

    return {
        "reached": value.reached,
        "of": value.of,
        "p50_s": rounded(value.p50_s),
        "p99_s": rounded(value.p99_s),
        "max_s": rounded(value.max_s),
    }
