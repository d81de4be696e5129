"""Contacts as their owner writes them, and their addresses now."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import trio

from swarm.address import Address
from swarm.errors import RefusedError
from swarm.shell.sockets import normal

PAUSE_MIN_S = 5.0
PAUSE_MAX_S = 300.0
"""Between look-ups of a name. Shorter: needless questions to a name server; longer: a contact that moved is
missed longer."""


def split_contact(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[IPv6]:port``; raises `RefusedError`."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise RefusedError(f"contact {text!r}: an IPv6 address stands in brackets, as in [fd00::1]:47101")
    if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise RefusedError(f"contact {text!r} is not host:port with a port from 1 to 65535")
    return host, int(port)


def is_literal(contact: str) -> bool:
    """True if the contact is an IP address and needs no look-up."""
    try:
        ip_address(split_contact(contact)[0])
    except ValueError:
        return False
    return True


async def look_up(contact: str) -> list[Address]:
    """The contact's addresses at this moment; empty if its name is not known now."""
    host, port = split_contact(contact)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # a name that cannot be encoded raises UnicodeError
        return []
    return list(dict.fromkeys(normal(sockaddr) for *_, sockaddr in found))
