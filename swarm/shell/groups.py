"""The beacon groups of the LANs: joined on every interface that is meant, and sent to through each of them.

What is sent leaves by the control socket, so that its source is the address to answer to; the interface is named with each
datagram (`IP_PKTINFO`), since the socket is used for everything else as well.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import trio
from attrs import frozen

from swarm.shell.interfaces import Interface, beaconed_on, interfaces, source_on
from swarm.shell.settings import ShellSettings

HOPS = 1
"""Beacons stay on their LAN."""
IPV6_PREFIX = IPv6Address("ff18::")
"""Organization-local scope, as the IPv4 group has it, and assigned by nobody (RFC 4291, 2.7). Not link-local scope: then a beacon
would always leave from a link-local address, also where the node has one that means something to others."""
IP_PKTINFO = 8
"""<linux/in.h>; Python has it from 3.14 on."""
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29
"""<linux/in.h>, <linux/in6.h>: left on, a socket hears what any program of this machine has joined, on any interface."""


@frozen
class Way:
    """How a beacon leaves through one interface, in one IP version."""

    index: int
    name: str
    version: int
    host: str
    """The group."""
    ancillary: tuple[tuple[int, int, bytes], ...]
    destination: tuple[Any, ...]
    """The group and its port, as the control socket wants it."""


def group_host(settings: ShellSettings, version: int) -> str:
    """The group's address: the IPv6 group ends in the four bytes of the IPv4 group, so that one setting parts swarms in both."""
    group = IPv4Address(settings.beacon_group)
    return str(group) if version == 4 else str(IPv6Address(int(IPV6_PREFIX) | int(group)))


class Groups:
    """What one node has joined. `udp`: its control socket; IPv6 is spoken where that one is IPv6, IPv4 where it can."""

    def __init__(self, settings: ShellSettings, udp: trio.socket.SocketType) -> None:
        self._settings = settings
        self._udp = udp
        self.ways: tuple[Way, ...] = ()
        """Where beacons go to and come from now."""
        self.sockets: dict[int, trio.socket.SocketType] = {}
        """IP version -> what hears its group."""

    def look(self) -> bool:
        """Join and leave as interfaces have come and gone; True if one has come.

        What cannot be joined, for the interface refuses or the group's port is another's, is left out until the next look. Raises
        OSError where this machine cannot be asked.
        """
        meant = beaconed_on(interfaces(), self._settings)
        ways = [way for each in meant for version in self._versions() if (way := self._way(each, version))]
        before = {(way.version, way.index) for way in self.ways}
        for version, index in before - {(way.version, way.index) for way in ways}:
            self._leave(version, index)
        self.ways = tuple(w for w in ways if (w.version, w.index) in before or self._join(w.version, w.index))
        return any((way.version, way.index) not in before for way in self.ways)

    def words(self) -> str:
        """For people: the interfaces, and what is spoken there."""
        spoken: dict[str, list[str]] = {}
        for way in self.ways:
            spoken.setdefault(way.name, []).append(f"IPv{way.version}")
        return ", ".join(f"{name} ({' and '.join(versions)})" for name, versions in spoken.items())

    def close(self) -> None:
        """Hear nothing any more; again is harmless."""
        for sock in self.sockets.values():
            sock.close()

    # ------------------------------------------------------------------ inside

    def _versions(self) -> Iterable[int]:
        bind = self._settings.bind
        if self._udp.family == socket.AF_INET:
            return (4,)
        return (4, 6) if IPv6Address(bind).is_unspecified else (6,)

    def _way(self, interface: Interface, version: int) -> Way | None:
        if not interface.has(version):
            return None
        host, port = group_host(self._settings, version), self._settings.beacon_port
        index = interface.index
        if version == 6:
            told = struct.pack("16sI", bytes(16), index)
            ancillary = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, told)
            return Way(index, interface.name, 6, host, (ancillary,), (host, port))
        source = socket.inet_aton(source_on(interface, self._settings) or "0.0.0.0")  # noqa: S104  the kernel's choice
        ancillary = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("i4s4s", index, source, bytes(4)))
        mapped = f"::ffff:{host}" if self._udp.family == socket.AF_INET6 else host
        return Way(index, interface.name, 4, host, (ancillary,), (mapped, port))

    def _join(self, version: int, index: int) -> bool:
        try:
            if version not in self.sockets:
                self._prepare(version)
                self.sockets[version] = self._opened(version)
            self._member(socket.IP_ADD_MEMBERSHIP, socket.IPV6_JOIN_GROUP, version, index)
        except OSError:
            return False
        return True

    def _leave(self, version: int, index: int) -> None:
        """Of one that has gone, too: otherwise it keeps one of the 20 places that Linux gives a socket."""
        try:
            self._member(socket.IP_DROP_MEMBERSHIP, socket.IPV6_LEAVE_GROUP, version, index)
        except OSError:
            return  # the kernel has left already

    def _member(self, what4: int, what6: int, version: int, index: int) -> None:
        group = socket.inet_pton(
            socket.AF_INET if version == 4 else socket.AF_INET6, group_host(self._settings, version)
        )
        if version == 4:
            request = struct.pack("4s4si", group, bytes(4), index)  # ip_mreqn
            self.sockets[4].setsockopt(socket.IPPROTO_IP, what4, request)
        else:
            self.sockets[6].setsockopt(socket.IPPROTO_IPV6, what6, struct.pack("16sI", group, index))

    def _prepare(self, version: int) -> None:
        """Beacons are not passed on to other networks, and other nodes of this machine hear them as well."""
        if version == 4:
            self._udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOPS)
            self._udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        else:
            self._udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
            self._udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)

    def _opened(self, version: int) -> trio.socket.SocketType:
        sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            # Several nodes may live on one machine.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
            sock.bind((group_host(self._settings, version), self._settings.beacon_port))
            sock.setblocking(False)
            return trio.socket.from_stdlib_socket(sock)
        except OSError:
            sock.close()
            raise
