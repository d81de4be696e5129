"""Namespaces with translators: places behind routers that let in what was asked for, and one that is open. Needs root."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fruitd.demo.cluster import Cluster, NodeProcess

WAN = "198.18.7"
"""A range for tests of networks (RFC 2544): public in these namespaces, nobody's outside."""
PUBLIC_WAN = "11.7.7"
"""For routers that map ports: they refuse to when their outer address is in a range that is nobody's."""
LAN = "192.168.0"
"""The same behind every router, as it is in the world."""
TRANSLATED = """table ip fruit {
  chain into { type filter hook forward priority 0; policy accept;%s
    iifname "wan" ct state != { established, related } drop; }
  chain mine { type filter hook input priority 0; policy accept;
    iifname "wan" ct state != { established, related } drop; }
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade%s; }
}"""
MAPPED = """table inet fruit {
  chain forward { type filter hook forward priority 0; policy drop;
    jump mapped_in; ct state established,related accept; iifname "lan" accept; }
  chain mapped_in { }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump mapped; }
  chain mapped { }
  chain postrouting { type nat hook postrouting priority 100; policy accept;
    jump mapped_out; oifname "wan" masquerade; }
  chain mapped_out { }
}"""
MAPPER = """ext_ifname=wan
ext_ip={outer}
listening_ip=lan
enable_natpmp={natpmp}
enable_upnp={upnp}
secure_mode=yes
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name=fruit
upnp_nat_table_name=fruit
upnp_forward_chain=mapped_in
upnp_nat_chain=mapped
upnp_nat_postrouting_chain=mapped_out
allow 1024-65535 {lan}.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
NO_UDP = " meta l4proto udp drop;"
CONE, SYMMETRIC = "", " random,fully-random"
"""One outer port for each inner one; another for every connection."""


class Places:
    """One wide network; what is added to it is gone when the context ends."""

    def __init__(self, wide: str = WAN) -> None:
        """`wide`: the first three numbers of its addresses."""
        self._addresses = wide
        self._tag = secrets.token_hex(3)
        self._made: list[str] = []
        self._running: list[subprocess.Popen[bytes]] = []
        self._places = 0

    def __enter__(self) -> Places:
        self._wide = self._namespace("wide")
        _run(self._wide, "ip link add wide type bridge", "ip link set wide up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def open_place(self) -> tuple[str, str]:
        """A namespace on the wide network, and its address."""
        name = self._namespace("open")
        return name, self._connect(name)

    def behind(self, translator: str = CONE, *, shut_in: bool = False) -> tuple[str, str]:
        """A namespace behind a router of its own, and the router's outer address. `shut_in`: it lets no datagrams through."""
        return self._behind(TRANSLATED % (NO_UDP if shut_in else "", translator))[1:]

    def behind_mapper(self, folder: Path, *, upnp: bool, natpmp: bool) -> tuple[str, str]:
        """The same, with a router that lets in what it is asked to (miniupnpd, as in home routers): UPnP, or NAT-PMP and PCP."""
        router, node, outer = self._behind(MAPPED)
        words = {True: "yes", False: "no"}
        config = folder / "mapper.conf"
        config.write_text(MAPPER.format(outer=outer, lan=LAN, upnp=words[upnp], natpmp=words[natpmp]))
        started = [
            "ip",
            "netns",
            "exec",
            router,
            "miniupnpd",
            "-d",
            "-f",
            config,
            "-P",
            folder / "mapper.pid",
        ]
        with (folder / "mapper.log").open("wb") as log:
            self._running.append(subprocess.Popen(started, stdout=log, stderr=log))
        return node, outer

    def _behind(self, rules: str) -> tuple[str, str, str]:
        """Router, namespace behind it, and outer address."""
        router, node = self._namespace("router"), self._namespace("node")
        outer = self._connect(router)
        _run(
            router,
            f"ip link add lan type veth peer name eth0 netns {node}",
            f"ip addr add {LAN}.1/24 dev lan",
            "ip link set lan up",
            "sysctl -q -w net.ipv4.ip_forward=1",
        )
        subprocess.run(
            ["ip", "netns", "exec", router, "nft", "-f", "-"],
            input=rules,
            text=True,
            check=True,
        )
        _run(
            node,
            f"ip addr add {LAN}.2/24 dev eth0",
            "ip link set eth0 up",
            f"ip route add default via {LAN}.1",
        )
        return router, node, outer

    def _namespace(self, kind: str) -> str:
        name = f"ft{self._tag}-{kind}{len(self._made)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._made.append(name)
        _run(name, "ip link set lo up")
        return name

    def _connect(self, name: str) -> str:
        self._places += 1
        address, port = f"{self._addresses}.{self._places}", f"p{self._places}"
        _run(
            self._wide,
            f"ip link add {port} type veth peer name wan netns {name}",
            f"ip link set {port} master wide up",
        )
        _run(name, f"ip addr add {address}/24 dev wan", "ip link set wan up")
        return address


def _run(namespace: str, *commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", "netns", "exec", namespace, *command.split()], check=True)


def settle(
    cluster: Cluster,
    name: str,
    namespace: str,
    contacts: list[str],
    *,
    slots: bool = False,
    more: str = "",
    transfer: str = "",
) -> NodeProcess:
    """A node in a namespace: its own site, no multicast, the usual ports; `transfer`: more lines of that table."""
    node = cluster.add(name, slots=slots, more=more)
    node.program = ("ip", "netns", "exec", namespace, sys.executable, "-m", "fruitd")
    node.port, node.transfer_port = 47101, 47102
    file = node.directory / "fruitd.toml"
    kept = [line for line in file.read_text().splitlines() if not _about_place(line)]
    text = "\n".join(kept) + "\n"
    text = text.replace(
        "[swarm]\n", f"[swarm]\ncontacts = {contacts!r}\nbind = '0.0.0.0'\nport = 47101\n".replace("'", '"')
    )
    text = text.replace("[transfer]\n", f"[transfer]\nport = 47102\n{transfer}").replace(
        "[node]\n", f'[node]\nsite = "{name}"\n'
    )
    file.write_text(text)
    return node


def _about_place(line: str) -> bool:
    return line.startswith(("site =", "port =", "bind =", "contacts =", "beacon_interface ="))


@contextlib.contextmanager
def places(wide: str = WAN) -> Iterator[Places]:
    """The wide network, with nothing on it."""
    with Places(wide) as made:
        yield made


def kept_file(path: Path) -> str:
    """A log, for whoever has to find out why."""
    return path.read_text()[-4000:] if path.exists() else ""
