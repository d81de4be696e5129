"""The sockets of a node: UDP and TCP on the control port, and the beacon group of the LAN."""

from __future__ import annotations

import contextlib
import errno
import socket
from ipaddress import IPv6Address, ip_address
from typing import Any

import trio
from attrs import define

from swarm.address import Address
from swarm.shell.settings import ShellSettings

BIND_TRIES = 16
"""With port 0, a port that is free for TCP may be taken for UDP."""
LISTEN_BACKLOG = 64
TTL = 1
"""Beacons stay on their LAN."""


@define(eq=False)
class Sockets:
    """Open sockets; `group` is None while the beacon group cannot be joined. Closed by whoever runs the
    shell."""

    settings: ShellSettings
    udp: trio.socket.SocketType
    tcp: trio.socket.SocketType
    port: int
    group: trio.socket.SocketType | None = None

    def join_group(self) -> None:
        """Begin to hear beacons; raises OSError while there is no network that could carry them."""
        if self.group is None and self.settings.beacon:
            _prepare_beacon(self.udp, self.settings)
            self.group = _group_socket(self.settings)

    def resolved(self, address: Address) -> tuple[Any, ...]:
        """`address` as this UDP socket wants it; raises OSError where it cannot go there at all."""
        return _native(address, self.udp.family)

    def close(self) -> None:
        """Close all; again is harmless."""
        for each in (self.udp, self.tcp, self.group):
            if each is not None:
                each.close()


async def open_sockets(settings: ShellSettings) -> Sockets:
    """Bind all sockets. The beacon group is joined if that is possible now, else later by the shell.

    Raises OSError, whose message names the address, if the control port cannot be had.
    """
    family = socket.AF_INET6 if ip_address(settings.bind).version == 6 else socket.AF_INET
    for attempt in range(BIND_TRIES):
        tcp = await _bound(family, socket.SOCK_STREAM, settings.bind, settings.port)
        port = tcp.getsockname()[1]
        try:
            udp = await _bound(family, socket.SOCK_DGRAM, settings.bind, port)
        except OSError as error:
            tcp.close()
            if settings.port or error.errno != errno.EADDRINUSE or attempt == BIND_TRIES - 1:
                raise
            continue
        break
    tcp.listen(LISTEN_BACKLOG)
    sockets = Sockets(settings, udp, tcp, port)
    if settings.beacon:
        with contextlib.suppress(OSError):  # no network yet: the shell tries again
            sockets.join_group()
    return sockets


def normal(raw: tuple[Any, ...]) -> Address:
    """A socket address as an `Address`: an IPv4 peer looks the same on an IPv6 socket."""
    host = str(raw[0])
    if host.startswith("::ffff:"):
        mapped = IPv6Address(host).ipv4_mapped
        host = str(mapped) if mapped is not None else host
    return Address(host, int(raw[1]))


def local_host(towards: str) -> str:
    """The address of this machine that datagrams to `towards` leave from; "" if there is no way there. Sends nothing."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def beacon_destination(settings: ShellSettings) -> Address:
    """Where beacons go."""
    return Address(settings.beacon_group, settings.beacon_port)


async def _bound(family: int, kind: int, host: str, port: int) -> trio.socket.SocketType:
    sock = trio.socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        await sock.bind((host, port))
    except OSError as error:
        sock.close()
        protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        what = f"cannot listen on {protocol} {Address(host, port)}: {error.strerror}"
        raise OSError(error.errno, what) from error
    return sock


def _interface(settings: ShellSettings) -> bytes:
    """The four bytes that name the beacon's interface; zeros leave the choice to the system."""
    bind = ip_address(settings.bind)
    if settings.beacon_interface:
        return socket.inet_aton(settings.beacon_interface)
    if bind.version == 4:
        return bind.packed
    return bytes(4)


def _prepare_beacon(udp: trio.socket.SocketType, settings: ShellSettings) -> None:
    """Beacons leave by the control socket, so that their source is the address to answer to."""
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _interface(settings))
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)


def _group_socket(settings: ShellSettings) -> trio.socket.SocketType:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # several nodes may live on one machine
        sock.bind((settings.beacon_group, settings.beacon_port))
        membership = socket.inet_aton(settings.beacon_group) + _interface(settings)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        sock.setblocking(False)
        return trio.socket.from_stdlib_socket(sock)
    except OSError:
        sock.close()
        raise


def _native(address: Address, family: int) -> tuple[Any, ...]:
    is_v6 = ":" in address.host
    if family == socket.AF_INET6:
        return (address.host if is_v6 else f"::ffff:{address.host}", address.port)
    if is_v6:
        raise OSError(errno.EAFNOSUPPORT, "this node has no IPv6")
    return (address.host, address.port)
