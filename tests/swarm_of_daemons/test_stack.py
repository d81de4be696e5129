"""Real daemons in bays of emulated boards, driven over a real serial port: what operators switch, and nobody else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess
from fruitd.demo.rig import StackRig
from swarm.trust.key_files import create_key_pair

pytestmark = pytest.mark.swarm
PATIENCE_S = 120.0
"""A daemon starts in two seconds; on a machine that does much else it takes many times that."""


class Rack:
    """A host with the bus, and two relays in the bays of one board."""

    def __init__(self, folder: Path, masters: int = 1) -> None:
        self.maintainers = Maintainers.ceremony(folder / "maintainers")
        self.cluster = Cluster(
            ClusterSettings(
                folder, self.maintainers.root_file, 0, None, token_file=self.maintainers.token_file
            )
        )
        self.rig = StackRig(folder, 2, masters)
        self.hosts = [
            self.cluster.add("host" if number == 0 else f"host-{number}", slots=False, more=self._bus(port))
            for number, port in enumerate(self.rig.ports)
        ]
        self.host = self.hosts[0]
        self.nodes = [self._seated(folder, number) for number in range(2)]
        self.rig.start()
        for host in self.hosts:
            host.start()
        self.rig.put(dict(zip(self.rig.places, self.nodes, strict=True)))

    def _bus(self, port: str) -> str:
        return f'[stack]\nname = "rack"\nport = "{port}"\nboards = [0]\nsweep_s = 0.5\n[recovery]\noff_wait_s = 20\n'

    def _seated(self, folder: Path, number: int) -> NodeProcess:
        place = self.rig.places[number]
        name = f"node-{number}"
        stop = f'["{sys.executable}", "-m", "fruitd.demo.power_off", "{folder / name / "pid"}"]'
        heart = f'[heartbeat]\nlines = "{self.rig.lines(place)}"\nshutdown_command = {stop}\n'
        more = f'[stack]\nname = "rack"\nbay = "{place}"\n{heart}'
        return self.cluster.add(name, slots=False, more=more)

    def bay(self, number: int) -> dict[str, Any]:
        """As the host shows it; empty while it does not."""
        stacks = (self.host.get("/v1/stack") or {"stacks": []})["stacks"]
        bays = [bay for stack in stacks for board in stack["boards"] for bay in board["bays"]]
        return next((bay for bay in bays if bay["bay"] == f"0:{number}"), {})

    def own(self, host: NodeProcess) -> dict[str, Any]:
        """What a host says of itself, without what it says nothing of."""
        own = (host.get("/v1/stack") or {"own": {}})["own"]
        return {key: value for key, value in own.items() if value is not None}

    def fruit(self, *words: str, key: Path, at: NodeProcess) -> subprocess.CompletedProcess[str]:
        """`fruit stack`, at any node."""
        root = str(self.maintainers.root_file)
        command = [sys.executable, "-c", "from fruitd.cli import main; main()", "stack", *words]
        command += ["--key", str(key), "--trust", root, "--socket", str(at.socket), "--no-wait"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def close(self) -> None:
        self.rig.close()
        self.cluster.close()


@pytest.fixture
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    made = Rack(tmp_path_factory.mktemp("r"))
    yield made
    made.close()


@pytest.fixture
def shared_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Two hosts on the bus, of which neither is told of the other."""
    made = Rack(tmp_path_factory.mktemp("r"), masters=2)
    yield made
    made.close()


def until(what: str, reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)


def test_operators_switch_bays_from_anywhere_and_nobody_else_does(rack: Rack, tmp_path: Path) -> None:
    """A node would stay dark, or somebody without the right would make it so."""
    operator = rack.maintainers.root_file.parent / "operator.key"
    first, second = rack.nodes
    until("both beat, and their seats are known", lambda: all(
        rack.bay(n).get("heartbeat") and rack.bay(n).get("name") == f"node-{n}" for n in range(2)
    ))  # fmt: skip
    until("the other node knows the stack", lambda: bool((second.get("/v1/stack") or {}).get("stacks")))

    stranger, _ = create_key_pair(tmp_path, "mallory")
    refused = rack.fruit("off", "node-0", key=stranger, at=second)
    assert refused.returncode == 1
    assert "operator" in refused.stderr
    assert rack.bay(0)["command"] == 0

    done = rack.fruit("off", "node-0", "--why", "card is replaced", key=operator, at=second)
    assert done.returncode == 0, done.stderr
    until("node-0 is off", lambda: rack.bay(0)["powered"] is False and not first.running)
    assert rack.bay(0)["doing"] == "off"
    log = first.log.read_text()
    assert "the board asks this Pi to shut down" in log
    assert second.running
    (held,) = (second.get("/v1/records?kind=switch") or {})["records"]

    done = rack.fruit("on", "0:0", key=operator, at=rack.host)
    assert done.returncode == 0, done.stderr
    until("node-0 is back", lambda: rack.bay(0)["powered"] is True and first.get("/v1/status") is not None)
    events = [event["why"] for event in (rack.host.get("/v1/stack") or {})["events"]]
    assert any("off of bay 0:0 (node-0) by operator: card is replaced" in why for why in events)

    with rack.host._client() as client:  # what was recorded is played again
        answer = client.post("/v1/records", content=bytes.fromhex(held["record"]))
    assert answer.json()["outcome"] == "older"
    assert rack.bay(0)["powered"] is True

    rack.host.stop()  # in order: what it has measured is kept
    rack.host.start()
    until("what was measured is told", lambda: rack.host.get("/v1/stack/history?hours=1") is not None)
    one, other = (rack.host.get("/v1/stack/history?hours=1") or {})["bays"]
    assert (one["bay"], other["bay"]) == ("0:0", "0:1")
    assert 0 < one["powered_share"] < 1
    assert other["powered_share"] == 1
    assert other["energy_j"] == pytest.approx(other["watts_mean"] * other["measured_s"], rel=0.01)
    assert one["energy_j"] > 0
    assert 4.5 < other["volts_min"] <= other["volts_mean"] < 5.5
    elsewhere = subprocess.run(
        [sys.executable, "-c", "from fruitd.cli import main; main()", "stack", "history", "--socket", str(second.socket)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert elsewhere.returncode == 1
    assert "host has rack's" in elsewhere.stderr


def test_two_daemons_on_one_bus_hear_each_other_on_it_and_switch_nothing(shared_rack: Rack) -> None:
    """Both would act on the same bays, each as if it were alone."""
    rack = shared_rack
    operator = rack.maintainers.root_file.parent / "operator.key"
    until("both beat, and their seats are known", lambda: all(
        rack.bay(n).get("heartbeat") and rack.bay(n).get("name") == f"node-{n}" for n in range(2)
    ))  # fmt: skip
    for host in rack.hosts:
        until(
            "it hears the other on the bus",
            lambda host=host: "another master" in rack.own(host).get("bus_waits", ""),
        )
    done = rack.fruit("off", "node-0", key=operator, at=rack.host)
    assert done.returncode == 0, done.stderr
    until("it says that it waits", lambda: "waits: another master asks" in rack.bay(0)["why"])
    assert rack.bay(0)["powered"] is True
    assert rack.nodes[0].running
