"""Real daemons, each under its own boot chooser, each with two slot files: the demo's and the tests' swarm, on loopback where
nothing else is said."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field, frozen

from fruitd.errors import RefusedError, RetryError

HARDWARE = "demo-board"
RESOURCE = "org.fruit-testbed.os/rootfs"
CHANNEL = "stable"
POLL_S = 0.2
_API_TIMEOUT_S = 10.0
_DO_TIMEOUT_S = 120.0
"""For what a node does before it answers: publishing reads the whole image."""


PORTS = range(20_000, 32_000)
"""Below what Linux gives to outgoing connections (32768 up): a running node cannot take the port of one that is off."""
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that are free, for UDP and TCP alike, and that this process has not given out before."""
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(PORTS)
        if port not in _given and _is_free(port):
            _given.add(port)
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@frozen
class Place:
    """Where a node stands in a network."""

    bind: str = "127.0.0.1"
    interface: str = "127.0.0.1"
    """IPv4 address of the interface it beacons on; "" for the system's choice."""
    address: str = "127.0.0.1"
    """Where others reach it."""
    site: str = "loopback"
    ports: tuple[int, int] | None = None
    """Control and transfer; None: any that are free on this machine."""
    enter: tuple[str, ...] = ()
    """What its processes are started through, such as what enters a network namespace."""


LOOPBACK = Place()


@frozen
class ClusterSettings:
    """What all nodes of one cluster share."""

    directory: Path
    root_file: Path
    slot_bytes: int
    factory_image: Path | None
    """What slot a of a new node holds; None: an empty slot a."""
    health_command: tuple[str, ...] = (sys.executable, "-m", "fruitd.demo.health")
    upload_bytes_per_s: int = 0
    beacon: bool = True
    sustain_s: float = 1.2
    max_attempts: int = 2
    token_file: Path | None = None
    """The join token on every card."""
    beacon_port: int = field(factory=lambda: free_ports(1)[0])
    parcel_cache_bytes: int | None = None
    """What parcels may take on a node's disk; None: as delivered."""
    restart_command: tuple[str, ...] = ()
    """What a node restarts its machine with; empty: it ends, and its boot chooser goes on."""


@define
class NodeProcess:
    """One daemon: its folder, its processes, and its API."""

    name: str
    directory: Path
    port: int
    transfer_port: int
    has_slots: bool
    place: Place = LOOPBACK
    program: tuple[str, ...] = (sys.executable, "-m", "fruitd")
    """The daemon; in its place whatever starts it among other things."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where its API listens."""
        return self.directory / "api.sock"

    @property
    def log(self) -> Path:
        """What the daemon and its boot chooser said."""
        return self.directory / "log"

    @property
    def swarm_key(self) -> Path:
        """The swarm key on its card."""
        return self.directory / "swarm.key"

    @property
    def pid_file(self) -> Path:
        """Holds the process id of its boot chooser, or of its daemon where it has none."""
        return self.directory / "pid"

    def daemon_pids(self) -> list[int]:
        """The daemon, or what else its boot chooser has started; nothing while it is off."""
        if not self.running or self.process is None:
            return []
        return _children(self.process.pid) if self.has_slots else [self.process.pid]

    @property
    def hung(self) -> bool:
        """Its daemon stands still."""
        return any(_state(pid) == "T" for pid in self.daemon_pids())

    def slot(self, name: str) -> Path:
        """The file that is slot "a" or "b"."""
        return self.directory / f"slot-{name}"

    def start(self) -> None:
        """Switch the node on."""
        daemon = [*self.program, "--config", str(self.directory / "fruitd.toml")]
        if self.has_slots:
            chooser = [
                sys.executable, "-m", "fruitd.boot.chooser", "--env", str(self.directory / "boot.env"),
                "--slot-a", str(self.slot("a")), "--slot-b", str(self.slot("b")), "--",
            ]  # fmt: skip
            daemon = chooser + daemon
        daemon = [*self.place.enter, *daemon]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                daemon, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.pid_file.write_text(str(self.process.pid))

    def kill(self) -> None:
        """Pull the plug: everything of this node is gone at once, nothing is flushed by it."""
        if self.process is None:
            return
        # The chooser stands still first, so that it cannot start another daemon between the look and the kill.
        os.kill(self.process.pid, signal.SIGSTOP)
        for child in _children(self.process.pid):
            for kill in (os.killpg, os.kill):  # a session of its own, or about to become one
                with contextlib.suppress(ProcessLookupError):
                    kill(child, signal.SIGKILL)
        self._signal_group(signal.SIGKILL)

    def kill_daemon(self) -> None:
        """kill -9 of the daemon alone; its boot chooser starts it again, as an init would."""
        if self.process is None:
            return
        for child in _children(self.process.pid) if self.has_slots else [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def pause(self) -> None:
        """Everything of this node stands still, as on a machine that hangs: its sockets stay open and nobody answers."""
        if self.process is not None:
            for pid in (self.process.pid, *_children(self.process.pid)):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self.process is not None:
            for pid in (*_children(self.process.pid), self.process.pid):
                os.kill(pid, signal.SIGCONT)

    def tell_to_stop(self) -> None:
        """Ask the node to switch itself off, without waiting."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Switch the node off in order."""
        self._signal_group(signal.SIGTERM)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
            self.process.wait(timeout=10)
        except ProcessLookupError:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()  # with the daemon, which has a session of its own and would run on
        self.process = None

    @property
    def running(self) -> bool:
        """True while it is switched on."""
        return self.process is not None and self.process.poll() is None

    def get(self, path: str) -> dict[str, Any] | None:
        """Ask the node's API; None while it does not answer (it is booting, or off)."""
        try:
            with self._client() as client:
                answer = client.get(path)
        except (httpx.TransportError, OSError):
            return None
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 else None

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the node's API to do something; raises RefusedError with its own words."""
        try:
            with self._client(_DO_TIMEOUT_S) as client:
                answer = client.post(path, json=body)
        except (httpx.TransportError, OSError) as error:
            raise RetryError(f"{self.name} does not answer: {error}") from error
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            raise RefusedError(f"{self.name}: {found.get('error')}")
        return found

    def _client(self, timeout_s: float = _API_TIMEOUT_S) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=False, trust_env=False)
        return httpx.Client(transport=transport, base_url="http://node", timeout=timeout_s)


class Cluster:
    """Makes nodes, and waits for what they should do."""

    def __init__(self, settings: ClusterSettings) -> None:
        self.settings = settings
        self.nodes: list[NodeProcess] = []
        self.swarm_key = settings.directory / "swarm.key"
        self.swarm_key.touch(mode=0o600)
        self.swarm_key.write_text(secrets.token_hex(32) + "\n")

    def add(
        self,
        name: str,
        *,
        slots: bool = True,
        contacts: Sequence[NodeProcess] = (),
        compatible: Sequence[str] = (HARDWARE,),
        more: str = "",
        place: Place = LOOPBACK,
    ) -> NodeProcess:
        """Flash a card: a new node, off."""
        directory = self.settings.directory / name
        directory.mkdir()
        port, transfer_port = place.ports or free_ports(2)
        node = NodeProcess(name, directory, port, transfer_port, slots, place)
        if slots:
            self._make_slots(node)
        node.swarm_key.touch(mode=0o600)
        node.swarm_key.write_bytes(self.swarm_key.read_bytes())
        known = [f"{contact.place.address}:{contact.port}" for contact in contacts]
        (directory / "fruitd.toml").write_text(self._config(node, known, compatible) + more)
        self.nodes.append(node)
        return node

    def _make_slots(self, node: NodeProcess) -> None:
        for slot in ("a", "b"):
            with open(node.slot(slot), "wb") as file:
                file.truncate(self.settings.slot_bytes)
        if self.settings.factory_image is not None:
            with open(self.settings.factory_image, "rb") as image, open(node.slot("a"), "r+b") as file:
                shutil.copyfileobj(image, file, 1024 * 1024)

    def _config(self, node: NodeProcess, contacts: list[str], compatible: Sequence[str]) -> str:
        s, d = self.settings, node.directory
        upload = 0 if node.has_slots else s.upload_bytes_per_s
        token = f'token = "{s.token_file}"\n' if s.token_file is not None else ""
        cache = f"parcel_cache_bytes = {s.parcel_cache_bytes}\n" if s.parcel_cache_bytes is not None else ""
        text = f"""[node]
name = "{node.name}"
site = "{node.place.site}"
state_dir = "{d / "state"}"
resource = "{RESOURCE}"
compatible = {json.dumps(list(compatible))}
channel = "{CHANNEL}"
{token}[trust]
root = "{s.root_file}"
[swarm]
key_file = "{node.swarm_key}"
bind = "{node.place.bind}"
port = {node.port}
contacts = {json.dumps(contacts)}
beacon = {json.dumps(s.beacon)}
beacon_interface = "{node.place.interface}"
beacon_port = {s.beacon_port}
[transfer]
port = {node.transfer_port}
upload_bytes_per_s = {upload}
lan_upload_bytes_per_s = {upload}
{cache}[api]
socket = "{node.socket}"
mode = "0600"
[update]
max_attempts = {s.max_attempts}
retry_min_s = 0.5
retry_max_s = 5
"""
        if node.has_slots:
            text += f"""[slots]
a = "{node.slot("a")}"
b = "{node.slot("b")}"
[boot]
env = "{d / "boot.env"}"
restart_command = {json.dumps(list(s.restart_command))}
[health]
watchdog = {json.dumps("" if s.restart_command else "auto")}
command = {json.dumps(list(s.health_command))}
interval_s = 0.3
sustain_s = {s.sustain_s}
samples = 3
fail_after = 3
deadline_s = 30
"""
        return text

    def wait(
        self,
        what: str,
        nodes: Sequence[NodeProcess],
        reached: Callable[[dict[str, Any]], bool],
        *,
        timeout_s: float,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until `reached(status)` holds for all; raises RetryError naming who is behind, and why."""
        deadline_s = time.monotonic() + timeout_s
        behind = {node.name: "has not answered yet" for node in nodes}
        while behind:
            for node in nodes:
                status = node.get("/v1/status") if node.name in behind else None
                if status is None:
                    continue
                if reached(status):
                    del behind[node.name]
                else:
                    behind[node.name] = f"{status['update']['state']}: {status['update']['why']}"
            tick()
            if behind and time.monotonic() > deadline_s:
                words = "; ".join(f"{name} is {why}" for name, why in behind.items())
                raise RetryError(f"{what}: not within {timeout_s:g} s; {words}")
            if behind:
                time.sleep(POLL_S)  # pacing of a poll over processes, no event to wait on

    def close(self) -> None:
        """Switch everything off: all are told first, and then waited for."""
        running = [node for node in self.nodes if node.running]
        for node in running:
            node.tell_to_stop()
        for node in running:
            node.stop()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]
