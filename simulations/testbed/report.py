"""What a run ends with, as values, as JSON (docs/testbed.md, schema 1) and as a table for people."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from attrs import frozen
from rich.table import Table

from simulations.testbed.plan import Plan

SCHEMA = 1


@frozen
class NodeResult:
    """One node that was to get the image."""

    name: str
    done_s: float | None
    """Since the beginning; None: never."""
    outside_bytes: int
    """Bytes it got from outside its site, headers included; also what passed it on to its own translator."""
    intact: bool
    """Its copy has the image's SHA-256."""
    killed: bool
    account: dict[str, Any] | None = None
    """What the node itself says of where its bytes came from, and why it left its LAN; None: it says nothing."""


@frozen
class PlaceResult:
    """One line, up to the moment when the last node held the image."""

    name: str
    in_bytes: int
    out_bytes: int
    curve: tuple[tuple[float, float], ...]
    """Seconds since the beginning, and the share of the image that its nodes hold, taken together."""


@frozen
class RunResult:
    """One run of one tool."""

    tool: str
    took_s: float | None
    """Until the last living node held the image; None: that did not happen in time."""
    nodes: tuple[NodeResult, ...]
    places: tuple[PlaceResult, ...]
    faults: tuple[tuple[float, str], ...]
    """When what was done."""
    trouble: tuple[str, ...]

    def place(self, name: str) -> PlaceResult:
        """A place that there is."""
        return next(place for place in self.places if place.name == name)

    @property
    def complete(self) -> bool:
        """Every node that lived got the image, and got it right."""
        return self.took_s is not None and all(node.intact or node.killed for node in self.nodes)


@frozen
class Report:
    """All runs of a plan."""

    plan: Plan
    runs: tuple[RunResult, ...]

    @property
    def ok(self) -> bool:
        """Every run of fruitd completed. Rivals may fail: that is what is to be seen."""
        return all(run.complete and not run.trouble for run in self.runs if run.tool == "fruitd")

    def of(self, tool: str) -> tuple[RunResult, ...]:
        """The runs of one tool."""
        return tuple(run for run in self.runs if run.tool == tool)

    def times_s(self, tool: str) -> list[float]:
        """Of the runs that completed."""
        return [run.took_s for run in self.of(tool) if run.took_s is not None]

    def copies_in(self, tool: str) -> list[float]:
        """What went into each site in each run, in images."""
        sites = {site.name for site in self.plan.expanded_sites()}
        return [
            p.in_bytes / self.plan.image_bytes for run in self.of(tool) for p in run.places if p.name in sites
        ]

    def copies_out(self, tool: str, place: str) -> list[float]:
        """What left a place in each run, in images."""
        return [run.place(place).out_bytes / self.plan.image_bytes for run in self.of(tool)]

    def as_json(self) -> dict[str, Any]:
        """Schema 1, in docs/testbed.md."""
        plan = self.plan
        return {
            "schema": SCHEMA,
            "name": plan.name,
            "ok": self.ok,
            "image_bytes": plan.image_bytes,
            "sites": [
                {
                    "name": site.name,
                    "nodes": site.nodes,
                    "down_mbit_per_s": site.down_mbit_per_s,
                    "up_mbit_per_s": site.up_mbit_per_s,
                    "nat": site.nat,
                }
                for site in plan.expanded_sites()
            ],
            "publisher_up_mbit_per_s": plan.publisher.up_mbit_per_s,
            "bound_s": round(plan.bound_s, 2),
            "publisher_copies_at_bound": round(plan.publisher_copies_at_bound, 2),
            "runs": [self._run_as_json(run) for run in self.runs],
        }

    def _run_as_json(self, run: RunResult) -> dict[str, Any]:
        image_bytes = self.plan.image_bytes
        return {
            "tool": run.tool,
            "complete": run.complete,
            "took_s": _rounded(run.took_s),
            "x_bound": _rounded(run.took_s / self.plan.bound_s) if run.took_s is not None else None,
            "places": [
                {
                    "name": place.name,
                    "in_bytes": place.in_bytes,
                    "in_copies": round(place.in_bytes / image_bytes, 4),
                    "out_bytes": place.out_bytes,
                    "out_copies": round(place.out_bytes / image_bytes, 4),
                    "curve": [[round(at_s, 2), round(share, 4)] for at_s, share in place.curve],
                }
                for place in run.places
            ],
            "nodes": [
                {
                    "name": node.name,
                    "done_s": _rounded(node.done_s),
                    "outside_bytes": node.outside_bytes,
                    "intact": node.intact,
                    "killed": node.killed,
                    "account": node.account,
                }
                for node in run.nodes
            ],
            "faults": [{"at_s": round(at_s, 2), "what": what} for at_s, what in run.faults],
            "trouble": list(run.trouble),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def headline(plan: Plan) -> str:
    """Sizes and rates of a plan, in one sentence."""
    sites = plan.expanded_sites()
    alike = {(s.nodes, s.down_mbit_per_s, s.up_mbit_per_s, s.nat, s.loss, s.delay_ms) for s in sites}
    nodes, down, up, nat, loss, delay_ms = next(iter(alike))
    each = (
        f"{len(sites)} sites x {nodes} nodes, {down:g}/{up:g} Mbit/s a site, translation: {nat}"
        f"{f', loss {loss:.0%}' if loss else ''}{f', delay {delay_ms:g} ms' if delay_ms else ''}"
        if len(alike) == 1
        else f"{len(sites)} sites of {len(alike)} kinds, {sum(s.nodes for s in sites)} nodes"
    )
    return (
        f"{plan.name}: {plan.image_mib} MiB to {each}; publisher {plan.publisher.up_mbit_per_s:g} Mbit/s up, "
        f"{plan.publisher.nat}; bound {plan.bound_s:.1f} s"
    )


def table(report: Report) -> Table:
    """One line a tool."""
    shown = Table(box=None, pad_edge=False, caption="in, out: over the line, headers included, in images")
    shown.add_column("tool", no_wrap=True)
    for heading in ("s", "x bound", "into a site", "worst", "out of it", "publisher", "runs", "without"):
        shown.add_column(heading, justify="right", no_wrap=True)
    sites = [site.name for site in report.plan.expanded_sites()]
    for tool in report.plan.tools:
        runs, times_s, into = report.of(tool), report.times_s(tool), report.copies_in(tool)
        if not runs:
            continue
        out = [copies for site in sites for copies in report.copies_out(tool, site)]
        without = sum(1 for run in runs for node in run.nodes if node.done_s is None and not node.killed)
        whole = len(times_s) == len(runs)
        shown.add_row(
            tool,
            f"{fmean(times_s):.1f}" if whole else f"> {report.plan.spread_s_max:g}",
            f"{fmean(times_s) / report.plan.bound_s:.2f}" if whole else "-",
            f"{fmean(into):.2f}",
            f"{max(into):.2f}",
            f"{fmean(out):.2f}",
            f"{fmean(report.copies_out(tool, 'publisher')):.2f}",
            str(len(runs)),
            str(without or ""),
        )
    return shown
