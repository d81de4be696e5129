"""Builds the network of a run, reads its counters, and carries out faults on it. Root; the rules and names are made elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fruitd.errors import RetryError
from simulations.testbed.commands import inside, run
from simulations.testbed.faults import Fault
from simulations.testbed.layout import LAN_LENGTH, Host, Layout, Line
from simulations.testbed.rules import (
    LAN,
    WAN,
    carrier_rules,
    counter_name,
    cut_rules,
    healed_rules,
    router_rules,
)

NODE = "eth0"
BURST_BYTES_MIN, BURST_S = 16_000, 0.004
QUEUE_BYTES_MIN, QUEUE_S = 64_000, 0.2
"""As cheap routers have it: long enough for TCP to fill the line, and for its delay to be felt."""
DELAY_READY_S_MAX = 30.0
_POLL_S = 0.02
_NETNS = Path("/run/netns")


def shaped(mbit_per_s: float) -> str:
    """The token bucket of one direction of a line, as `tc` reads it."""
    rate = mbit_per_s * 1e6 / 8
    burst = round(max(BURST_BYTES_MIN, BURST_S * rate))
    queue = round(max(QUEUE_BYTES_MIN, QUEUE_S * rate))
    return f"tbf rate {round(mbit_per_s * 1000)}kbit burst {burst} limit {queue}"


class Network:
    """The namespaces of one run. Whoever makes it has seen to it that they are deleted again, whatever happens."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self.layout = layout
        self._folder = folder
        self._before: dict[str, tuple[int, int]] = {}
        self._node_before: dict[str, int] = {}

    def build(self) -> None:
        """Make everything; raises RetryError with a tool's own words."""
        for namespace in self.layout.namespaces:
            run(["ip", "netns", "add", namespace])
            self._sysctl(namespace)
        for line in self.layout.lines:
            self._build_line(line)
            self._build_lan(line)
        for namespace in self.layout.namespaces:
            self._whole_packets(namespace)

    # ------------------------------------------------------------------ building

    @staticmethod
    def _sysctl(namespace: str) -> None:
        run(
            [
                *inside(namespace),
                "sysctl",
                "-q",
                "-w",
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.disable_ipv6=1",
            ]
        )
        # Otherwise frames that only cross the bridge are filtered and tracked as if they were routed.
        run([*inside(namespace), "sysctl", "-q", "-e", "-w", "net.bridge.bridge-nf-call-iptables=0"])
        _links(namespace, ["link set dev lo up"])

    def _build_line(self, line: Line) -> None:
        world, plan = self.layout.world, line.plan
        outer = line.carrier or line.router
        if line.delay is not None:
            self._cable(world, line.world_port, line.delay, "left")
            self._cable(line.delay, "right", outer, WAN)
            self._start_delay(line, line.delay)
        else:
            self._cable(world, line.world_port, outer, WAN)
        _links(world, [f"addr add {line.world_address}/30 dev {line.world_port}"])
        if line.routed is not None:
            _links(world, [f"route add {line.routed} via {line.outer_address} dev {line.world_port}"])
        _links(
            outer,
            [
                f"addr add {line.outer_address}/30 dev {WAN}",
                f"route add default via {line.world_address} dev {WAN}",
            ],
        )
        if line.carrier is not None:
            self._cable(line.carrier, LAN, line.router, WAN)
            _links(line.carrier, [f"addr add 100.64.{line.number}.1/30 dev {LAN}"])
            _links(
                line.router,
                [
                    f"addr add 100.64.{line.number}.2/30 dev {WAN}",
                    f"route add default via 100.64.{line.number}.1 dev {WAN}",
                ],
            )
            run([*inside(line.carrier), "nft", "-f", "-"], carrier_rules())
        _shape(world, line.world_port, plan.down_mbit_per_s)
        _shape(outer, WAN, plan.up_mbit_per_s)
        run([*inside(line.router), "nft", "-f", "-"], router_rules(line))

    def _build_lan(self, line: Line) -> None:
        router = line.router
        # Without snooping: beacons go to everybody, as on a cheap switch.
        _links(
            router,
            [
                f"link add {LAN} type bridge mcast_snooping 0",
                f"addr add {line.gateway}/{LAN_LENGTH} dev {LAN}",
                f"link set dev {LAN} up",
            ],
        )
        for host in line.hosts:
            port = f"n{host.number}"
            self._cable(router, port, host.namespace, NODE)
            self._plug_in(line, host)
            for namespace, device in ((router, port), (host.namespace, NODE)):
                _shape(namespace, device, line.plan.lan_mbit_per_s)
            self._address(line, host, host.address)

    @staticmethod
    def _plug_in(line: Line, host: Host) -> None:
        port = f"n{host.number}"
        _links(line.router, [f"link set dev {port} master {LAN}"])
        if line.plan.isolated:
            run(["bridge", "-n", line.router, "link", "set", "dev", port, "isolated", "on"])

    @staticmethod
    def _address(line: Line, host: Host, address: str) -> None:
        lan = f"{line.gateway.rpartition('.')[0]}.0/{LAN_LENGTH}"
        _links(host.namespace, [
            f"addr flush dev {NODE}",
            f"addr add {address}/{LAN_LENGTH} dev {NODE}",
            # Cubic, as most of the world has it: the kernel's default may be another, which no namespace can change.
            f"route replace {lan} dev {NODE} src {address} congctl cubic",
            f"route replace default via {line.gateway} dev {NODE} congctl cubic",
        ])  # fmt: skip

    @staticmethod
    def _cable(left: str, left_port: str, right: str, right_port: str) -> None:
        peer = f"peer name {right_port} netns {right}".split()
        run(["ip", "-n", left, "link", "add", "name", left_port, "type", "veth", *peer])
        _links(left, [f"link set dev {left_port} up"])
        _links(right, [f"link set dev {right_port} up"])

    def _whole_packets(self, namespace: str) -> None:
        """Switch off what joins packets: super-packets of 64 KiB would hide headers from counters and burst through buckets."""
        # A delay line copies frames whole, and their checksums have to be in them by then.
        delayed = any(line.delay is not None for line in self.layout.lines)
        off = ["tso", "off", "gso", "off", "gro", "off", *(("tx", "off") if delayed else ())]
        for link in json.loads(run(["ip", "-n", namespace, "-j", "link", "show", "type", "veth"])):
            run([*inside(namespace), "ethtool", "-K", link["ifname"], *off])

    def _start_delay(self, line: Line, namespace: str) -> None:
        """Ends with its namespace."""
        ready = self._folder / f"delay-{line.number}"
        subprocess.Popen(
            [
                *inside(namespace),
                sys.executable,
                "-m",
                "simulations.testbed.delay",
                str(line.plan.delay_ms),
                str(ready),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline_s = time.monotonic() + DELAY_READY_S_MAX
        while not ready.exists():
            if time.monotonic() > deadline_s:
                raise RetryError(
                    f"the delay of {line.plan.name} did not start within {DELAY_READY_S_MAX:g} s"
                )
            time.sleep(_POLL_S)  # pacing of a look at another process

    # ------------------------------------------------------------------ counting

    def start_counting(self) -> None:
        """From here on counters begin at nought."""
        self._before, self._node_before = self._line_bytes(), self._bytes_of_nodes()

    def line_bytes(self) -> dict[str, tuple[int, int]]:
        """Place -> bytes that went into it and out of it over its line, headers included, since counting began."""
        now = self._line_bytes()
        return {
            place: (now[place][0] - before[0], now[place][1] - before[1])
            for place, before in self._before.items()
        }

    def node_bytes(self) -> dict[str, int]:
        """Node -> bytes it got from outside its site, since counting began."""
        now = self._bytes_of_nodes()
        return {name: now[name] - before for name, before in self._node_before.items()}

    def _line_bytes(self) -> dict[str, tuple[int, int]]:
        found = json.loads(run(["ip", "-n", self.layout.world, "-j", "-s", "link", "show", "type", "veth"]))
        by_port = {link["ifname"]: link["stats64"] for link in found}
        return {
            line.plan.name: (by_port[line.world_port]["tx"]["bytes"], by_port[line.world_port]["rx"]["bytes"])
            for line in self.layout.lines
        }

    def _bytes_of_nodes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self.layout.lines:
            listed = json.loads(run([*inside(line.router), "nft", "-j", "list", "counters"]))["nftables"]
            by_name = {
                entry["counter"]["name"]: entry["counter"]["bytes"] for entry in listed if "counter" in entry
            }
            found |= {host.name: by_name[counter_name(host.number)] for host in line.hosts}
        return found

    # ------------------------------------------------------------------ faults

    def carry_out(self, fault: Fault, host: Host | None, other: Host | None) -> None:
        """A fault of the network. `host`: the node it is about; None: the whole place."""
        line = self.layout.line(fault.target.place)
        if fault.do == "swap":
            assert host is not None
            assert other is not None
            self._swap(line, host, other)
            return
        if fault.do == "cut":
            self._cut(line, host)
        else:
            self._heal(line, host)
            self._slow(line, host, fault.mbit_per_s)

    def _cut(self, line: Line, host: Host | None) -> None:
        if host is not None:
            # Out of the bridge, not down: a carrier that comes back takes the kernel up to a second to notice.
            _links(line.router, [f"link set dev n{host.number} nomaster"])
        else:
            run([*inside(self.layout.world), "nft", "-f", "-"], cut_rules(line))

    def _heal(self, line: Line, host: Host | None) -> None:
        if host is not None:
            self._plug_in(line, host)
        else:
            run([*inside(self.layout.world), "nft", "-f", "-"], healed_rules(line))

    def _slow(self, line: Line, host: Host | None, mbit_per_s: float | None) -> None:
        """Set the rates of a line or a cable; None: those of the plan."""
        plan = line.plan
        if host is not None:
            _shape(line.router, f"n{host.number}", mbit_per_s or plan.lan_mbit_per_s)
            _shape(host.namespace, NODE, mbit_per_s or plan.lan_mbit_per_s)
        else:
            _shape(self.layout.world, line.world_port, mbit_per_s or plan.down_mbit_per_s)
            _shape(line.carrier or line.router, WAN, mbit_per_s or plan.up_mbit_per_s)

    def _swap(self, line: Line, host: Host, other: Host) -> None:
        first, second = _address_of(host), _address_of(other)
        for each in (host, other):  # at no moment two with one address
            _links(each.namespace, [f"addr flush dev {NODE}"])
        self._address(line, host, second)
        self._address(line, other, first)


def _address_of(host: Host) -> str:
    found = json.loads(run(["ip", "-n", host.namespace, "-j", "-4", "addr", "show", "dev", NODE]))
    return str(found[0]["addr_info"][0]["local"])


def _shape(namespace: str, device: str, mbit_per_s: float) -> None:
    run([*inside(namespace), "tc", "qdisc", "replace", "dev", device, "root", *shaped(mbit_per_s).split()])


def _links(namespace: str, lines: list[str]) -> None:
    """Several commands of `ip` in one namespace, in order."""
    run(["ip", "-n", namespace, "-batch", "-"], "\n".join(lines) + "\n")


def delete_namespaces(names: list[str]) -> None:
    """End whatever runs in them, and delete them; those that are not there are passed over."""
    for name in names:
        if not (_NETNS / name).exists():
            continue
        for pid in run(["ip", "netns", "pids", name]).split():
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                continue
        try:
            run(["ip", "netns", "del", name])
        except RetryError:
            continue  # somebody else was quicker
