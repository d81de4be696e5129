"""Looking at nodes from outside: what they say they refused, and whether what runs was touched."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from fruitd.boot.file_backend import read_environment
from fruitd.demo.cluster import POLL_S, NodeProcess

SAID_S = 60.0


def until(condition: Callable[[], object], what: Callable[[], str], timeout_s: float = SAID_S) -> None:
    """Poll processes until something holds; fails saying `what()`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what()}"
        time.sleep(POLL_S / 2)  # pacing of a poll over processes, no event to wait on


def log_of(node: NodeProcess) -> list[dict[str, Any]]:
    """The daemon's log lines, from all its starts. What is not its own (the boot chooser's words) is left out."""
    lines = node.log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def doctor_of(node: NodeProcess) -> list[str]:
    """What `fruit doctor` shows of this node, a line each."""
    found = node.get("/v1/doctor")
    if found is None:
        return []
    checks = [f"{c['name']}: {c['found']}" for c in found["checks"]]
    return checks + [f"{r['what']}: {r['why']}" for r in found["refusals"]]


def says(node: NodeProcess, words: str, timeout_s: float = SAID_S) -> None:
    """Doctor and log of this node have, or soon have, a line with these words."""

    def doctor_says() -> bool:
        return any(words in line for line in doctor_of(node))

    def log_says() -> bool:
        told = (f"{line.get('what', line['event'])}: {line.get('why', '')}" for line in log_of(node))
        return any(words in line for line in told)

    until(doctor_says, lambda: f"doctor of {node.name} says {words!r}, but {doctor_of(node)}", timeout_s)
    until(log_says, lambda: f"log of {node.name} says {words!r}, but {log_of(node)}", timeout_s)


def update_of(node: NodeProcess) -> dict[str, Any]:
    """What the node says of its update; empty while it does not answer."""
    status = node.get("/v1/status")
    return {} if status is None else dict(status["update"])


def runs(release: int) -> Callable[[dict[str, Any]], bool]:
    """For `Cluster.wait`: the release is committed in the slot that runs."""

    def reached(status: dict[str, Any]) -> bool:
        content = status["slots"][status["slots"]["active"]]
        return bool(content["release"] == release and content["content"] == "committed")

    return reached


def file_hash(path: Path, length_bytes: int = -1) -> str:
    """SHA-256 of a file or device, or of its first bytes."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(length_bytes)).hexdigest()


@frozen
class Running:
    """What must not change while a node refuses things: the slot that runs, and what boots next."""

    node: NodeProcess
    active: str
    slot_hash: str
    boot_environment: bytes
    boots: int

    @classmethod
    def of(cls, node: NodeProcess) -> Running:
        """As it is now; the node's update must be at rest."""
        active = read_environment(node.directory / "boot.env").environment.default
        environment = (node.directory / "boot.env").read_bytes()
        return cls(node, active, file_hash(node.slot(active)), environment, _boots(node))

    def check(self) -> None:
        """The same daemon still runs the same bytes, and the next boot is what it was."""
        assert self.node.running
        assert file_hash(self.node.slot(self.active)) == self.slot_hash, "the slot that runs was written"
        assert (self.node.directory / "boot.env").read_bytes() == self.boot_environment
        assert _boots(self.node) == self.boots, "the daemon was restarted"


def _boots(node: NodeProcess) -> int:
    return sum(line["event"] == "ready" for line in log_of(node))


def fruit(node: NodeProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `fruit` command on this node, as its operator does."""
    return fruit_alone(*arguments, "--socket", str(node.socket))


def fruit_alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same without a node, as on a maintainer's own machine."""
    command = [sys.executable, "-c", "from fruitd.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
