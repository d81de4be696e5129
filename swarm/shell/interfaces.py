"""Network interfaces of this machine, and on which of them a node beacons. Linux; asked anew each time.

Addresses of IPv4 come from the kernel by ioctl, those of IPv6 from /proc/net/if_inet6: neither needs a library, a netlink
socket or /sys, so this works in a network namespace and under a tight systemd unit alike.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from attrs import frozen

from swarm.shell.settings import ShellSettings

INTERFACES_MAX = 16
"""Interfaces beaconed on where none is named; those with the lowest index, which were there first. More: a machine with a hundred
containers sends a hundred beacons; and Linux lets a socket join a group on 20 interfaces at most."""
ADDRESSES_MAX = 1024
"""IPv4 addresses of this machine that are looked at."""

SIOCGIFCONF, SIOCGIFFLAGS = 0x8912, 0x8913
IFF_UP, IFF_LOOPBACK, IFF_POINTOPOINT, IFF_MULTICAST = 0x1, 0x8, 0x10, 0x1000
_NAME_BYTES = 16
_IFREQ_BYTES = 40 if struct.calcsize("P") == 8 else 32
_IF_INET6 = Path("/proc/net/if_inet6")


@frozen
class Interface:
    """One interface, with its addresses in the kernel's order."""

    index: int
    name: str
    flags: int
    hosts: tuple[str, ...]

    def has(self, version: int) -> bool:
        """Whether it has an address of IP version 4 or 6."""
        return any((":" in host) == (version == 6) for host in self.hosts)

    def is_meant(self, names: Iterable[str]) -> bool:
        """Whether it is named, or one of its addresses. All of 127.0.0.0/8 is loopback's."""
        own = (self.name, *self.hosts)
        return any(name in own or (self.flags & IFF_LOOPBACK and _is_loopback(name)) for name in names)

    @property
    def is_lan(self) -> bool:
        """Others may stand on it: neither this machine alone, nor a line to one other end, as of a modem or a tunnel."""
        return bool(self.flags & IFF_MULTICAST) and not self.flags & (IFF_LOOPBACK | IFF_POINTOPOINT)


def interfaces() -> list[Interface]:
    """All that have an address and are up, by index."""
    found: dict[str, list[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for name, host in [*_ipv4_addresses(sock), *_ipv6_addresses()]:
            found.setdefault(name, []).append(host)
        known = [_looked_at(sock, name, hosts) for name, hosts in found.items()]
    return sorted((each for each in known if each is not None), key=lambda each: each.index)


def beaconed_on(found: Sequence[Interface], settings: ShellSettings) -> list[Interface]:
    """Those of `found` on which this node beacons: those named, or the one of `bind`, or every LAN."""
    named = settings.beacon_interfaces
    if not named and not ip_address(settings.bind).is_unspecified:
        named = (settings.bind,)
    if named:
        return [each for each in found if each.is_meant(_without_scopes(named))]
    return [each for each in found if each.is_lan][:INTERFACES_MAX]


def source_on(interface: Interface, settings: ShellSettings) -> str:
    """The IPv4 address that beacons leave from on this interface, where an owner named one; "" leaves it to the kernel."""
    if not ip_address(settings.bind).is_unspecified:
        return settings.bind
    named = [host for host in settings.beacon_interfaces if host in interface.hosts and ":" not in host]
    return named[0] if named else ""


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _without_scopes(names: Iterable[str]) -> list[str]:
    return [name.partition("%")[0] for name in names]


def _looked_at(sock: socket.socket, name: str, hosts: list[str]) -> Interface | None:
    """None where it is down, or went away in this moment."""
    try:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack(f"{_IFREQ_BYTES}s", name.encode()))
        (flags,) = struct.unpack_from("H", answer, _NAME_BYTES)
        return Interface(socket.if_nametoindex(name), name, flags, tuple(hosts)) if flags & IFF_UP else None
    except OSError:
        return None


def _ipv4_addresses(sock: socket.socket) -> list[tuple[str, str]]:
    """Names of interfaces and their addresses; an alias such as ``eth0:1`` is its interface."""
    rows = array.array("B", bytes(ADDRESSES_MAX * _IFREQ_BYTES))
    where, size = rows.buffer_info()
    answer = fcntl.ioctl(sock, SIOCGIFCONF, struct.pack("iP", size, where))
    (filled,) = struct.unpack_from("i", answer)
    found = []
    for start in range(0, filled, _IFREQ_BYTES):
        row = rows[start : start + _IFREQ_BYTES].tobytes()
        name = row[:_NAME_BYTES].split(b"\0")[0].decode(errors="replace").partition(":")[0]
        found.append((name, socket.inet_ntoa(row[_NAME_BYTES + 4 : _NAME_BYTES + 8])))
    return found


def _ipv6_addresses() -> list[tuple[str, str]]:
    """The same for IPv6; none where the kernel has no IPv6."""
    try:
        rows = [line.split() for line in _IF_INET6.read_text().splitlines()]
    except OSError:
        return []
    return [(row[5], str(IPv6Address(bytes.fromhex(row[0])))) for row in rows if len(row) == 6]
