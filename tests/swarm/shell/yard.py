"""Network namespaces with cables to LANs, and nodes in them. Needs root; all is gone when the context ends."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

PATIENCE_S = 180.0
"""For what must come; it usually takes seconds."""


@define
class Neighbour:
    """One node, and what it said last."""

    process: subprocess.Popen[str]
    state: dict[str, Any] = field(factory=lambda: {"peers": {}, "on": "", "manifest": 0})
    _lines: queue.SimpleQueue[str] = field(factory=queue.SimpleQueue)

    def listen(self) -> None:
        """Keep what it says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, condition: Callable[[dict[str, Any]], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until what it says of itself is so."""
        while not condition(self.state):
            try:
                self.state = json.loads(self._lines.get(timeout=patience_s))
            except queue.Empty:
                raise AssertionError(f"still {self.state} after {patience_s:.0f} s") from None

    def publish(self, sequence: int) -> None:
        """A manifest that no datagram carries."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{sequence}\n")
        self.process.stdin.flush()


class Yard:
    """Namespaces `NAME-TAG`, one with a bridge for each LAN."""

    def __init__(self) -> None:
        self._tag = secrets.token_hex(3)
        self._namespaces: list[str] = []
        self._nodes: list[Neighbour] = []
        self._ports = 0
        self._switch = self._namespace("switch")

    def lan(self, name: str) -> None:
        """A switch without snooping: multicast goes to everybody."""
        ip(self._switch, f"link add {name} type bridge mcast_snooping 0")
        ip(self._switch, f"link set {name} up")

    def machine(self, name: str) -> str:
        """A namespace that has loopback only."""
        return self._namespace(name)

    def plug(self, machine: str, interface: str, lan: str, *addresses: str) -> None:
        """A cable from `machine` to the LAN; IPv6 has a link-local address of its own by then."""
        self._ports += 1
        port = f"p{self._ports}"
        ip(self._switch, f"link add {port} type veth peer name {interface} netns {machine}")
        ip(self._switch, f"link set {port} master {lan} up")
        for address in addresses:
            ip(machine, f"addr add {address} dev {interface}")
        ip(machine, f"link set {interface} up")

    def start(self, machine: str, number: int, **settings: Any) -> Neighbour:
        """A node there; port 47101 unless told otherwise."""
        command = ["ip", "netns", "exec", machine, sys.executable, "-m", "tests.swarm.shell.neighbour"]
        process = subprocess.Popen(
            [*command, str(number), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        )
        node = Neighbour(process)
        threading.Thread(target=node.listen, daemon=True).start()
        self._nodes.append(node)
        return node

    def close(self) -> None:
        """End all nodes and namespaces."""
        for node in self._nodes:
            node.process.kill()
            node.process.wait()
        for name in reversed(self._namespaces):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def _namespace(self, name: str) -> str:
        made = f"{name}-{self._tag}"
        subprocess.run(["ip", "netns", "add", made], check=True)
        self._namespaces.append(made)
        # Whether an address is somebody else's is not in question here, and takes a second or two to find out.
        subprocess.run(
            ["ip", "netns", "exec", made, "sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0"],
            check=True,
        )
        ip(made, "link set lo up")
        return made


def ip(namespace: str, words: str) -> None:
    """`ip` in a namespace."""
    subprocess.run(["ip", "-n", namespace, *words.split()], check=True)


@contextlib.contextmanager
def yard() -> Iterator[Yard]:
    """An empty yard."""
    made = Yard()
    try:
        yield made
    finally:
        made.close()
