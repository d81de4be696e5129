"""Where the shell listens, and what it spends on others."""

from __future__ import annotations

from attrs import frozen


@frozen
class ShellSettings:
    """Sockets and bounds. The defaults are a node's on its LAN."""

    bind: str = "0.0.0.0"  # noqa: S104  (a node is meant to be reached; everything is sealed)
    """IP address to listen on, UDP and TCP. "::" serves IPv6 and IPv4."""
    port: int = 47101
    """Control port, UDP and TCP; 0: any that is free for both."""
    beacon: bool = True
    beacon_group: str = "239.192.70.82"
    """An administratively scoped multicast group (RFC 2365), IPv4; the IPv6 group follows from it (`groups.group_host`)."""
    beacon_port: int = 47100
    beacon_interfaces: tuple[str, ...] = ()
    """Names or addresses of the interfaces to beacon on; none: the one of `bind`, or every LAN (`interfaces.beaconed_on`)."""
    contacts: tuple[str, ...] = ()
    """``host:port``, ``address:port`` or ``[IPv6]:port``; names are looked up, and looked up again."""
    connections_max: int = 32
    """Streams served at once. Each may hold one frame of 256 KiB. Fewer: a busy node turns newcomers away,
    who ask another. Whoever has not asked anything yet makes way."""
    connections_per_host_max: int = 8
    """Of those, from one address, so that one peer cannot take them all. Raise it where many nodes share an
    address."""
    asking_max: int = 8
    """Streams opened at once; more wait their turn."""
    serve_deadline_s: float = 10.0
    """For reading a request and writing its reply. A peer that sends one byte a second is gone after this."""
    effects_max: int = 10_000
    """Effects waiting for the host. Beyond it no more datagrams are read: the kernel then drops what is too
    much."""
