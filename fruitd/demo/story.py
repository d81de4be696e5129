"""The demo's story, step by step, and what must be true at each. What did not happen is a failure, never a shrug."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from fruitd.amounts import size
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import HARDWARE, POLL_S, Cluster, ClusterSettings, NodeProcess
from fruitd.demo.images import DemoImages, make_images
from fruitd.demo.rig import StackRig
from fruitd.demo.screen import Screen
from fruitd.errors import FruitError, RetryError
from swarm.power import Place

SLOT_SPARE_BYTES = 8 * 1024 * 1024
PUBLISHER_BYTES_PER_S = 24 * 1024 * 1024
"""The publisher's uplink: slow enough to be seen, so that the nodes give each other most of what they get."""
STEP_TIMEOUT_S = 180.0
"""A step ends as soon as it has happened; on a machine that does much else, and with turns to be waited for, that takes long."""
HANG_TIMEOUT_S = 120.0
"""Silence, a power cycle, and the next release."""
STACK = "demo-stack"
NEW_BOARD = "demo-board-2"
"""Hardware of the one node that release 2 is for."""
RECOVERY = """[recovery]
silent_s = 20
boot_s = 20
cool_down_s = 30
off_s = 0.5
off_wait_s = 6
"""
"""A real stack has longer times for all of it."""
SWEEP_S = 2.0
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
        self._rig: StackRig | None = None
        self._fetched: dict[str, dict[int, dict[str, Any]]] = {}

    def run(self) -> Report:
        """Play it to the end, or to the first step that fails; always switches every node off."""
        steps: tuple[Callable[[], None], ...] = (
            self._prepare, self._switch_on, self._first, self._hang, self._third, self._latecomer, self._recovered,
            self._bad, self._count_up,
        )  # fmt: skip
        try:
            for step in steps:
                step()
        except FruitError as error:
            self._check(str(error), False, f"logs are in {self.directory}")
        finally:
            if self._rig is not None:
                self._rig.close()
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
        images = self.images
        largest = max(path.stat().st_size for path in (*images.good, images.bad, images.hanging))
        settings = ClusterSettings(
            directory=self.directory,
            root_file=self.maintainers.root_file,
            token_file=self.maintainers.token_file,
            slot_bytes=largest + SLOT_SPARE_BYTES,
            factory_image=self.images.factory,
            upload_bytes_per_s=PUBLISHER_BYTES_PER_S,
        )
        self._cluster = Cluster(settings)
        # The late node sits on a board of its own: it need not wait for the turn of one that hangs.
        self._rig = StackRig(self.directory, self._count + self._count % 2 + 1)

    def _switch_on(self) -> None:
        rig, places = self.rig, self.rig.places
        self.publisher = self.cluster.add("publisher", slots=False)
        self.host = self.cluster.add("stack-host", slots=False, more=self._bus())
        self.members = [
            self.cluster.add(
                f"node-{n + 1}",
                compatible=(HARDWARE, NEW_BOARD) if n == self._count - 1 else (HARDWARE,),
                more=self._seat(f"node-{n + 1}", places[n]),
            )
            for n in range(self._count)
        ]
        self.screen.watch([self.publisher, self.host, *self.members])
        rig.start()
        self.publisher.start()
        self.host.start()
        rig.put(dict(zip(places, self.members, strict=False)))
        self.screen.say(
            f"{self._count} nodes in a stack of emulated boards, its host and the maintainers' machine are switched on"
        )
        everyone = len(self.cluster.nodes) - 1
        self._wait("they find each other", self.cluster.nodes, lambda s: s["peers"]["heard"] >= everyone)
        self._check("nodes find each other by sealed beacon", True, f"{everyone} peers each")

    def _first(self) -> None:
        self._publish(self.publisher, 1, self.images.good[0])
        self._wait("release 1 everywhere", self.members, _runs(1))
        self._remember(1, self.members)
        self._check("release 1 installed by all", True, f"{len(self.members)} of {len(self.members)} nodes")

    def _hang(self) -> None:
        """Release 2 is for one node's hardware only, and its kernel stands still: no health check, no daemon, no word."""
        self.screen.picture(self.host)
        self.canary = self.members[-1]
        self._publish(self.publisher, 2, self.images.hanging, compatible=(NEW_BOARD,))
        self._until("release 2 hangs", lambda: self.canary.hung)
        self.screen.say(
            f"{self.canary.name} runs release 2, and hangs: it says nothing any more, and its heart stops"
        )

    def _third(self) -> None:
        others = self.members[:-1]
        self._publish(self.publisher, 3, self.images.good[1], older=[self.images.good[0]])
        self._wait_any("one full copy of release 3", others, _has(3))
        self.publisher.kill()
        self.screen.say("one node has release 3 whole: the publisher is killed")
        self._wait("release 3 everywhere else", others, _runs(3))
        self._remember(3, others)

    def _recovered(self) -> None:
        canary = self.canary
        self._until("the power cycle", lambda: self._event("power cycle") is not None, HANG_TIMEOUT_S)
        self.screen.picture(self.host)
        self._wait("release 3 on the node that hung", [canary], _runs(3), HANG_TIMEOUT_S)
        self._remember(3, [canary])
        self._until("its heart beats again", lambda: self._event("beats again") is not None, HANG_TIMEOUT_S)
        events = (canary.get("/v1/history") or {}).get("events", [])
        lost = [event["why"] for event in events if event["what"] == "trial lost" and event["release"] == 2]
        self._check(
            "the node that hung after an update was noticed, power-cycled and back in its old slot",
            bool(lost),
            f"{self._event('power cycle')}; {lost[0] if lost else 'its history does not tell'}",
        )
        self._check("release 3 installed by all, its publisher dead", True, f"{len(self.members)} nodes")

    def _latecomer(self) -> None:
        place = self.rig.places[-2]
        self._late = self.cluster.add("late", contacts=self.members[:1], more=self._seat("late", place))
        self.screen.watch([self.host, *self.members, self._late])
        self.rig.put({place: self._late})
        self.screen.say("a late node joins; no publisher is alive")
        self._wait("release 3 on the late node", [self._late], _runs(3))
        self._remember(3, [self._late])
        sources = self._fetched["late"][3]["sources"]
        given = sum(source["bytes"] for source in sources)
        self._check(
            "late node got release 3 from its peers", given > 0, f"{size(given)} from {len(sources)} peers"
        )

    def _bad(self) -> None:
        everyone = [*self.members, self._late] if self._late is not None else self.members
        self._publish(self.members[0], 4, self.images.bad)
        self._wait("release 4 quarantined everywhere", everyone, _quarantined(4), 2 * STEP_TIMEOUT_S)
        self._wait("all back on release 3", everyone, _runs_again(3))
        self.screen.picture(self.host)
        self._check(
            "release 4 failed its trial, was rolled back and quarantined by all",
            True,
            f"{len(everyone)} nodes",
        )

    def _count_up(self) -> None:
        shown = (self.members[0].get("/v1/nodes") or {}).get("nodes", [])
        by_token = [row for row in shown if row["member"] is not None]
        self._check(
            "every node has a certificate made from the token on its card",
            len(by_token) == len(self._cluster.nodes if self._cluster else []) == len(shown),
            f"{len(by_token)} of {len(shown)} nodes",
        )
        for node in [*self.members, *([self._late] if self._late else [])]:
            third = self._fetched[node.name][3]
            self.report.nodes.append(
                {
                    "name": node.name,
                    "image_bytes": third["image_bytes"],
                    "reused_bytes": third["reused_bytes"],
                    "fetched_bytes": third["fetched_bytes"],
                    "by_origin": third["by_origin"],
                    "sources": third["sources"],
                    "quarantined": [
                        q["release"] for q in (node.get("/v1/status") or {}).get("quarantined", [])
                    ],
                }
            )
        for row in self.report.nodes:
            part = row["fetched_bytes"] / row["image_bytes"]
            if row["name"] != "late":
                self._check(
                    f"{row['name']} fetched only what changed in release 3", part < 0.25, _came(row),
                )  # fmt: skip

    # ------------------------------------------------------------------ helpers of the steps

    @property
    def cluster(self) -> Cluster:
        """The nodes."""
        if self._cluster is None:
            raise RetryError("the demo has not begun")
        return self._cluster

    @property
    def rig(self) -> StackRig:
        """The boards under them."""
        if self._rig is None:
            raise RetryError("the demo has not begun")
        return self._rig

    def _seat(self, name: str, place: Place) -> str:
        """What stands on the card of a node that sits in this bay."""
        stop = [sys.executable, "-m", "fruitd.demo.power_off", str(self.directory / name / "pid")]
        return (
            f'[stack]\nname = "{STACK}"\nbay = "{place}"\n[heartbeat]\nlines = "{self.rig.lines(place)}"\n'
            f"look_s = 5\nshutdown_command = {json.dumps(stop)}\n"
        )

    def _bus(self) -> str:
        """What stands on the card of the machine that has the bus."""
        boards = sorted({place.address for place in self.rig.places})
        return f'[stack]\nname = "{STACK}"\nport = "{self.rig.port}"\nboards = {boards}\nsweep_s = {SWEEP_S}\n{RECOVERY}'

    def _event(self, words: str) -> str | None:
        """A line of the stack's history about the node that hung."""
        events = (self.host.get("/v1/stack") or {}).get("events", [])
        return next((e["why"] for e in events if self.canary.name in e["why"] and words in e["why"]), None)

    def _publish(
        self,
        node: NodeProcess,
        release: int,
        image: Path,
        *,
        compatible: tuple[str, ...] = (HARDWARE,),
        older: Sequence[Path | None] = (),
    ) -> None:
        folder = self.directory / f"release-{release}"
        bundle = self.maintainers.release(image, release, folder, compatible=compatible, older=older)
        for parcel in bundle.plan.parcels:
            self.screen.say(
                f"release {release} has a parcel of {size(parcel.length_bytes)} for nodes that run release 1"
            )
        self.screen.say(f"release {release} is signed by 2 maintainers and published through {node.name}")
        publish(node, bundle)

    def _wait(
        self,
        what: str,
        nodes: list[NodeProcess],
        reached: Callable[[dict[str, Any]], bool],
        timeout_s: float = STEP_TIMEOUT_S,
    ) -> None:
        self.cluster.wait(what, nodes, reached, timeout_s=timeout_s, tick=self.screen.tick)
        self.screen.say(f"{what}: done")

    def _until(self, what: str, reached: Callable[[], bool], timeout_s: float = STEP_TIMEOUT_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() > deadline_s:
                raise RetryError(f"{what}: not within {timeout_s:g} s")
            self.screen.tick()
            time.sleep(POLL_S)  # pacing of a poll over processes, no event to wait on
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
            time.sleep(0.02)  # as above; a full copy appears within a second
        raise RetryError(f"{what}: not within {STEP_TIMEOUT_S:g} s")

    def _remember(self, release: int, nodes: list[NodeProcess]) -> None:
        for node in nodes:
            last = (node.get("/v1/status") or {}).get("last_update")
            if last is None or last["release"] != release:
                raise RetryError(f"{node.name} does not say how it got release {release}")
            self._fetched.setdefault(node.name, {})[release] = last

    def _check(self, what: str, ok: bool, found: str) -> None:
        self.report.checks.append(Check(what, ok, found))


def _came(row: dict[str, Any]) -> str:
    origin = row["by_origin"]
    words = f"{size(row['fetched_bytes'])} of {size(row['image_bytes'])}"
    if origin["parcel_bytes"]:
        words += f": a parcel of {size(origin['parcel_bytes'])} made {size(origin['made_bytes'])} of it"
    return words


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
