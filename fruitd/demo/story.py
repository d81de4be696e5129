"""The demo's story, step by step, and what must be true at each. What did not happen is a failure, never a shrug."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from fruitd.amounts import size
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess
from fruitd.demo.images import DemoImages, make_images
from fruitd.demo.screen import Screen
from fruitd.errors import FruitError, RetryError

SLOT_SPARE_BYTES = 8 * 1024 * 1024
PUBLISHER_BYTES_PER_S = 24 * 1024 * 1024
"""The publisher's uplink: slow enough to be seen, so that the nodes give each other most of what they get."""
STEP_TIMEOUT_S = 60.0
STATES_AFTER_FETCH = frozenset({"verifying", "armed", "rebooting", "trial", "committed"})


@frozen
class Check:
    """One thing the demo promises, and whether it happened."""

    what: str
    ok: bool
    found: str


@define
class Report:
    """What the demo ends with."""

    checks: list[Check] = field(factory=list)
    nodes: list[dict[str, Any]] = field(factory=list)
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """True if everything promised happened."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Schema 1, in docs/api.md."""
        return {
            "schema": 1,
            "ok": self.ok,
            "took_s": round(self.took_s, 1),
            "checks": [{"what": c.what, "ok": c.ok, "found": c.found} for c in self.checks],
            "nodes": self.nodes,
        }


class Story:
    """Runs the steps in order; each adds its checks to the report."""

    def __init__(self, directory: Path, screen: Screen, *, nodes: int, image: Path | None) -> None:
        self.directory = directory
        self.screen = screen
        self.report = Report()
        self._count = nodes
        self._own_image = image
        self._began_s = time.monotonic()
        self._cluster: Cluster | None = None
        self._late: NodeProcess | None = None
        self._fetched: dict[str, dict[int, dict[str, Any]]] = {}

    def run(self) -> Report:
        """Play it to the end, or to the first step that fails; always switches every node off."""
        steps: tuple[Callable[[], None], ...] = (
            self._prepare, self._switch_on, self._first, self._second, self._latecomer, self._bad, self._count_up,
        )  # fmt: skip
        try:
            for step in steps:
                step()
        except FruitError as error:
            self._check(str(error), False, f"logs are in {self.directory}")
        finally:
            if self._cluster is not None:
                self._cluster.close()
        self.report.took_s = time.monotonic() - self._began_s
        return self.report

    # ------------------------------------------------------------------ steps

    def _prepare(self) -> None:
        self.screen.say("making real ext4 images from files of this machine")
        self.images: DemoImages = make_images(self.directory, self._own_image)
        self.maintainers = Maintainers.ceremony(self.directory / "maintainers")
        self.screen.say("key ceremony: 2 root keys, 3 release keys of which 2 must sign")
        largest = max(path.stat().st_size for path in (*self.images.good, self.images.bad))
        settings = ClusterSettings(
            directory=self.directory,
            root_file=self.maintainers.root_file,
            slot_bytes=largest + SLOT_SPARE_BYTES,
            factory_image=self.images.factory,
            upload_bytes_per_s=PUBLISHER_BYTES_PER_S,
        )
        self._cluster = Cluster(settings)

    def _switch_on(self) -> None:
        self.publisher = self.cluster.add("publisher", slots=False)
        self.members = [self.cluster.add(f"node-{n}") for n in range(1, self._count + 1)]
        self.screen.watch([self.publisher, *self.members])
        for node in self.cluster.nodes:
            node.start()
        self.screen.say(f"{self._count} nodes and the maintainers' own machine are switched on")
        everyone = len(self.cluster.nodes) - 1
        self._wait("they find each other", self.cluster.nodes, lambda s: s["peers"]["heard"] >= everyone)
        self._check("nodes find each other by sealed beacon", True, f"{everyone} peers each")

    def _first(self) -> None:
        self._publish(self.publisher, 1, self.images.good[0])
        self._wait("release 1 everywhere", self.members, _runs(1))
        self._remember(1, self.members)
        self._check("release 1 installed by all", True, f"{len(self.members)} of {len(self.members)} nodes")

    def _second(self) -> None:
        self._publish(self.publisher, 2, self.images.good[1])
        self._wait_any("one full copy of release 2", self.members, _has(2))
        self.publisher.kill()
        self.screen.say("one node has release 2 whole: the publisher is killed")
        self._wait("release 2 everywhere", self.members, _runs(2))
        self._remember(2, self.members)
        self._check("release 2 installed by all, its publisher dead", True, f"{len(self.members)} nodes")

    def _latecomer(self) -> None:
        self._late = self.cluster.add("late", contacts=self.members[:1])
        self.screen.watch([*self.members, self._late])
        self._late.start()
        self.screen.say("a late node joins; no publisher is alive")
        self._wait("release 2 on the late node", [self._late], _runs(2))
        self._remember(2, [self._late])
        sources = self._fetched["late"][2]["sources"]
        given = sum(source["bytes"] for source in sources)
        self._check(
            "late node got release 2 from its peers", given > 0, f"{size(given)} from {len(sources)} peers"
        )

    def _bad(self) -> None:
        everyone = [*self.members, self._late] if self._late is not None else self.members
        self._publish(self.members[-1], 3, self.images.bad)
        self._wait("release 3 quarantined everywhere", everyone, _quarantined(3))
        self._wait("all back on release 2", everyone, _runs_again(2))
        self._check(
            "release 3 failed its trial, was rolled back and quarantined by all",
            True,
            f"{len(everyone)} nodes",
        )

    def _count_up(self) -> None:
        for node in [*self.members, *([self._late] if self._late else [])]:
            second = self._fetched[node.name][2]
            self.report.nodes.append(
                {
                    "name": node.name,
                    "image_bytes": second["image_bytes"],
                    "reused_bytes": second["reused_bytes"],
                    "fetched_bytes": second["fetched_bytes"],
                    "sources": second["sources"],
                    "quarantined": [
                        q["release"] for q in (node.get("/v1/status") or {}).get("quarantined", [])
                    ],
                }
            )
        for row in self.report.nodes:
            part = row["fetched_bytes"] / row["image_bytes"]
            if row["name"] != "late":
                self._check(
                    f"{row['name']} fetched only what changed in release 2", part < 0.25,
                    f"{size(row['fetched_bytes'])} of {size(row['image_bytes'])}",
                )  # fmt: skip

    # ------------------------------------------------------------------ helpers of the steps

    @property
    def cluster(self) -> Cluster:
        """The nodes."""
        if self._cluster is None:
            raise RetryError("the demo has not begun")
        return self._cluster

    def _publish(self, node: NodeProcess, release: int, image: Path) -> None:
        self.screen.say(f"release {release} is signed by 2 maintainers and published through {node.name}")
        bundle = self.maintainers.release(image, release, self.directory / f"release-{release}")
        publish(node, bundle)

    def _wait(self, what: str, nodes: list[NodeProcess], reached: Callable[[dict[str, Any]], bool]) -> None:
        self.cluster.wait(what, nodes, reached, timeout_s=STEP_TIMEOUT_S, tick=self.screen.tick)
        self.screen.say(f"{what}: done")

    def _wait_any(
        self, what: str, nodes: list[NodeProcess], reached: Callable[[dict[str, Any]], bool]
    ) -> None:
        deadline_s = time.monotonic() + STEP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            for node in nodes:
                status = node.get("/v1/status")
                if status is not None and reached(status):
                    return
            self.screen.tick()
            time.sleep(
                0.02
            )  # a full copy appears within a second; nothing to wait on but the nodes' own words
        raise RetryError(f"{what}: not within {STEP_TIMEOUT_S:g} s")

    def _remember(self, release: int, nodes: list[NodeProcess]) -> None:
        for node in nodes:
            last = (node.get("/v1/status") or {}).get("last_update")
            if last is None or last["release"] != release:
                raise RetryError(f"{node.name} does not say how it got release {release}")
            self._fetched.setdefault(node.name, {})[release] = last

    def _check(self, what: str, ok: bool, found: str) -> None:
        self.report.checks.append(Check(what, ok, found))


def _active(status: dict[str, Any]) -> dict[str, Any]:
    slots: dict[str, Any] = status["slots"]
    content: dict[str, Any] = slots[slots["active"]] if slots["active"] else {}
    return content


def _runs(release: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: (
        _active(s).get("release") == release
        and _active(s).get("content") == "committed"
        and s["last_update"] is not None
        and s["last_update"]["release"] == release
    )


def _runs_again(release: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: (
        _active(s).get("release") == release
        and s["update"]["state"] not in {"trial", "rebooting", "rolled back"}
    )


def _has(release: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: s["update"]["release"] == release and s["update"]["state"] in STATES_AFTER_FETCH


def _quarantined(release: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: any(q["release"] == release for q in s["quarantined"])
