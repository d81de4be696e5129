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
from swarm.shell.groups import Groups
from swarm.shell.settings import ShellSettings

BIND_TRIES = 16
"""With port 0, a port that is free for TCP may be taken for UDP."""
LISTEN_BACKLOG = 64


@define(eq=False)
class Sockets:
    """Open sockets; `groups` is None where the beacon is off. Closed by whoever runs the shell."""

    settings: ShellSettings
    udp: trio.socket.SocketType
    tcp: trio.socket.SocketType
    port: int
    groups: Groups | None = None

    def resolved(self, address: Address) -> tuple[Any, ...]:
        """`address` as this UDP socket wants it; raises OSError where it cannot go there at all."""
        return _native(address, self.udp.family)

    def close(self) -> None:
        """Close all; again is harmless."""
        for each in (self.udp, self.tcp, self.groups):
            if each is not None:
                each.close()


async def open_sockets(settings: ShellSettings) -> Sockets:
    """Bind all sockets. Beacon groups are joined as far as that is possible now, the others later by the shell.

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
        sockets.groups = Groups(settings, udp)
        with contextlib.suppress(OSError):  # the shell tries again
            sockets.groups.look()
    return sockets


def normal(raw: tuple[Any, ...]) -> Address:
    """A socket address as an `Address`: an IPv4 peer looks the same on an IPv6 socket; link-local ones name their interface."""
    host = str(raw[0])
    if host.startswith("::ffff:"):
        mapped = IPv6Address(host).ipv4_mapped
        host = str(mapped) if mapped is not None else host
    elif len(raw) == 4 and raw[3] and "%" not in host:
        host = f"{host}%{_scope_name(int(raw[3]))}"
    return Address(host, int(raw[1]))


def local_host(towards: str) -> str:
    """The address of this machine that datagrams to `towards` leave from; "" if there is no way there. Sends nothing."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(_native(Address(towards, 9), family))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


async def _bound(family: int, kind: int, host: str, port: int) -> trio.socket.SocketType:
    sock = trio.socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        await sock.bind(_native(Address(host, port), family))
    except OSError as error:
        sock.close()
        protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        what = f"cannot listen on {protocol} {Address(host, port)}: {error.strerror}"
        raise OSError(error.errno, what) from error
    return sock


def _scope_name(index: int) -> str:
    """As libtorrent writes it, too: the interface's name, or its number if it has gone."""
    try:
        name = socket.if_indextoname(index)
    except OSError:
        return str(index)
    return str(index) if "%" in name else name


def _scope_index(scope: str) -> int:
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)


def _native(address: Address, family: int) -> tuple[Any, ...]:
    is_v6 = ":" in address.host
    host, _, scope = address.host.partition("%")
    if family == socket.AF_INET6:
        if scope:
            return (host, address.port, 0, _scope_index(scope))
        return (host if is_v6 else f"::ffff:{host}", address.port)
    if is_v6:
        raise OSError(errno.EAFNOSUPPORT, "this node has no IPv6")
    return (host, address.port)
