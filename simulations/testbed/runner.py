"""Runs a plan: builds the network, lets a tool spread the image over it, looks on, does what the fault script says, cleans up."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from simulations.testbed.commands import require_root_and_tools
from simulations.testbed.faults import Fault, FaultScript, Target
from simulations.testbed.fruitd_spreading import FruitdSpreading
from simulations.testbed.janitor import Janitor
from simulations.testbed.layout import Host, Layout
from simulations.testbed.network import Network
from simulations.testbed.plan import Plan
from simulations.testbed.report import NodeResult, PlaceResult, Report, RunResult
from simulations.testbed.rivals import PACKAGES, rival
from simulations.testbed.spreading import (
    Spreading,
    Stage,
    digest_of,
    held_bytes,
    same_content,
    write_image,
)

LOOK_S = 0.2
"""Pause between two looks at files and logs. Faults happen and ends are seen no finer than this; ends are timed by whoever
has ended."""
COUNT_S = 1.0
"""Pause between two readings of the interface counters: three tools are started for each."""
MEMORY = Path("/dev/shm")  # noqa: S108  made into a folder of our own by mkdtemp


@define
class Watcher:
    """Whoever follows a run while it lasts. Does nothing by itself."""

    def say(self, words: str) -> None:
        """Something happened."""

    def shares(self, now_s: float, held: Mapping[str, float]) -> None:
        """How far each site is."""


def run_plan(plan: Plan, watcher: Watcher, logs: Path | None = None) -> Report:
    """Run every tool as often as the plan says, one after the other, each in a network of its own.

    `logs`: a folder that gets every node's log, as TOOL-RUN/NODE.log.

    Raises RefusedError where this machine cannot do it: no root, or a program missing; RetryError where something could not be
    built.
    """
    require_root_and_tools(
        [(program, package) for tool in plan.tools for program, package in PACKAGES.get(tool, ())]
    )
    results = []
    for tool in plan.tools:
        for number in range(plan.runs):
            watcher.say(f"{tool}, run {number + 1} of {plan.runs}")
            with _workshop(plan) as (prefix, folder, janitor):
                try:
                    results.append(_one_run(plan, tool, prefix, folder, janitor, watcher))
                finally:
                    if logs is not None:
                        _keep_logs(folder, logs / f"{tool}-{number + 1}")
    return Report(plan, tuple(results))


@contextmanager
def _workshop(plan: Plan) -> Iterator[tuple[str, Path, Janitor]]:
    """Names that nobody else has, and a folder; gone afterwards, however this process ends."""
    prefix = f"frt{secrets.token_hex(3)}"
    need_bytes = plan.image_bytes * (2 + sum(site.nodes for site in plan.expanded_sites()))
    with Janitor() as janitor:
        # In memory where it fits: one disk under all nodes would be what is measured.
        fits = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * need_bytes
        folder = Path(tempfile.gettempdir() if not fits else MEMORY) / prefix
        janitor.will_make(folders=[folder])
        folder.mkdir(mode=0o700)
        yield prefix, folder, janitor


def _keep_logs(folder: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*/log"):
        shutil.copyfile(log, target / f"{log.parent.name}.log")


def _one_run(
    plan: Plan, tool: str, prefix: str, folder: Path, janitor: Janitor, watcher: Watcher
) -> RunResult:
    layout = Layout.of(plan, prefix)
    janitor.will_make(namespaces=layout.namespaces)
    network = Network(layout, folder)
    network.build()
    image = folder / "image.img"
    write_image(image, plan.image_mib, plan.seed)
    stage = Stage(plan, layout, folder, image, watcher.say)
    spreading: Spreading = FruitdSpreading(stage) if tool == "fruitd" else rival(tool, stage)
    try:
        spreading.start()
        watcher.say("all stand ready")
        if plan.settle_s:
            watcher.say(f"{plan.settle_s:g} s to settle")
            time.sleep(plan.settle_s)  # what is waited for is that time has passed
        run = _Run(stage, network, spreading, FaultScript(plan.faults), watcher)
        run.to_the_end()
        return run.result(tool)
    finally:
        spreading.close()


@define
class _Run:
    stage: Stage
    network: Network
    spreading: Spreading
    script: FaultScript
    watcher: Watcher
    began_s: float = 0.0
    now_s: float = 0.0
    counted_s: float = 0.0
    curves: dict[str, list[tuple[float, float]]] = field(factory=dict)
    faults: list[tuple[float, str]] = field(factory=list)
    killed: set[str] = field(factory=set)
    hit: dict[str, Host] = field(factory=dict)
    """Place -> the node that its last fault as `gateway` was about."""
    line_bytes: dict[str, tuple[int, int]] = field(factory=dict)
    node_bytes: dict[str, int] = field(factory=dict)
    recent: dict[str, int] = field(factory=dict)
    """Node -> bytes from outside between the last two readings."""
    trouble: list[str] = field(factory=list)

    def to_the_end(self) -> None:
        """Until every living node holds the image, or the time is over."""
        self.network.start_counting()
        self.began_s = time.monotonic()
        self.spreading.begin()
        while True:
            self.now_s = time.monotonic() - self.began_s
            held = self._look()
            for fault in self.script.due(self.now_s, held):
                self._do(fault)
            waiting = [
                h for h in self.stage.takers if h.name not in self.killed and self.spreading.done_s(h) is None
            ]
            self.trouble = self.spreading.trouble()
            if not waiting or self.now_s > self.stage.plan.spread_s_max or self.trouble:
                break
            if self.now_s - self.counted_s >= COUNT_S:
                self._count()
            time.sleep(LOOK_S)  # pacing of a look at other processes; there is no event to wait on
        self._count()

    def _look(self) -> dict[str, float]:
        """Share of the image in each site now, kept for the picture."""
        image_bytes = self.stage.plan.image_bytes
        held: dict[str, list[float]] = {}
        for host in self.stage.takers:
            if host.name in self.killed:
                continue
            whole = self.spreading.done_s(host) is not None
            share = 1.0 if whole else min(1.0, held_bytes(self.spreading.copy(host)) / image_bytes)
            held.setdefault(host.place, []).append(share)
        shares = {site: sum(of) / len(of) for site, of in held.items()}
        for site, share in shares.items():
            self.curves.setdefault(site, []).append((self.now_s, share))
        self.watcher.shares(self.now_s, shares)
        return shares

    def _count(self) -> None:
        self.counted_s = self.now_s
        self.line_bytes = self.network.line_bytes()
        now = self.network.node_bytes()
        self.recent = {name: count - self.node_bytes.get(name, 0) for name, count in now.items()}
        self.node_bytes = now

    # ------------------------------------------------------------------ faults

    def _do(self, fault: Fault) -> None:
        host = self._host(fault, fault.target)
        other = self._host(fault, fault.other) if fault.other is not None else None
        words = str(fault) if host is None else f"{fault} (is {host.name})"
        self.watcher.say(f"{self.now_s:5.1f} s  {words}")
        self.faults.append((self.now_s, words))
        if fault.do in ("kill", "pause", "resume"):
            assert host is not None
            {"kill": self.spreading.kill, "pause": self.spreading.pause, "resume": self.spreading.resume}[
                fault.do
            ](host)
            if fault.do == "kill":
                self.killed.add(host.name)
        else:
            self.network.carry_out(fault, host, other)

    def _host(self, fault: Fault, target: Target) -> Host | None:
        if target.is_place:
            return None
        if not target.gateway:
            return self.stage.layout.host(target)
        # What is undone is undone to the node it was done to, whoever is gateway by now.
        if fault.do in ("resume", "heal") and target.place in self.hit:
            return self.hit[target.place]
        self._count()
        hosts = [h for h in self.stage.layout.line(target.place).hosts if h.name not in self.killed]
        chosen = max(hosts, key=lambda h: (self.node_bytes[h.name], -h.number))
        self.hit[target.place] = chosen
        return chosen

    # ------------------------------------------------------------------ result

    def result(self, tool: str) -> RunResult:
        """What became of it."""
        plan, stage = self.stage.plan, self.stage
        digest = digest_of(stage.image, plan.image_bytes)
        nodes = []
        for host in stage.takers:
            at_s = self.spreading.done_s(host)
            intact = at_s is not None and same_content(self.spreading.copy(host), digest, plan.image_bytes)
            done_s = None if at_s is None else at_s - self.began_s
            killed, outside_bytes = host.name in self.killed, self.node_bytes[host.name]
            account = self.spreading.account(host)
            nodes.append(NodeResult(host.name, done_s, outside_bytes, intact, killed, account))
        living = [node.done_s for node in nodes if not node.killed]
        took_s = max((s for s in living if s is not None), default=None) if None not in living else None
        places = tuple(
            PlaceResult(
                line.plan.name, *self.line_bytes[line.plan.name], tuple(self.curves.get(line.plan.name, ()))
            )
            for line in stage.layout.lines
        )
        return RunResult(tool, took_s, tuple(nodes), places, tuple(self.faults), tuple(self.trouble))
