"""The virtual network: LANs behind routers, and the wide network between them.

A site is one LAN: one multicast domain, quick, nearly without loss. What leaves it may cross an address translator (NAT):
then nobody outside reaches a node unless the node spoke first. Private addresses are the same at every translated site, as
they are in the world, so a node that believes a stranger's private address talks to the wrong neighbour.

Modelled: delay, jitter, loss, duplicates, reordering, cuts between groups of nodes, translation with mappings that expire, one
for each inside node or ("symmetric") one for each of its destinations, sites that let no datagrams out, tunnels through streams,
and the slices that stand in for a stream which a translator keeps out (`swarm.slices`).
Not modelled: the queues of thin uplinks for control traffic (a few hundred bytes a second a node); image bytes have rates of
their own in the transfer model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from attrs import define, frozen

from simulations.world.heap import Dice, Heap
from simulations.world.trace import Trace
from swarm.address import Address

DATAGRAM_HEADER_BYTES = 28
"""IPv4 and UDP headers, counted with every datagram."""
STREAM_HEADER_BYTES = 320
"""Setup, acknowledgements and close of a small TCP exchange, both directions together: about eight packets of 40 bytes."""
SEGMENT_BYTES = 1400
MAPPING_S = 60.0
"""How long a translator remembers an outgoing datagram; routers use 30 to 300 s, RFC 4787 asks for 120 or more."""
SLICES_AFTER_S = 1.0
"""A stream that does not connect has this head start on datagrams (`swarm.shell.sliced`)."""
RETRANSMIT_S = 0.4
"""What a lost segment costs a stream: about one retransmission timeout."""


@frozen
class Weather:
    """How the network treats packets. Probabilities per packet, delays one way."""

    loss: float = 0.0
    """Between sites; within a site a tenth of it."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Chance that a datagram is held back long enough for later ones to overtake it."""
    lan_delay_s: float = 0.0005
    wan_delay_s_min: float = 0.010
    wan_delay_s_max: float = 0.080
    jitter: float = 0.2
    """Share of the delay that varies from packet to packet."""


class Station(Protocol):
    """A computer on the network, as the network sees it."""

    def listening(self) -> bool:
        """Is the daemon running?"""
        ...

    def powered(self) -> bool:
        """Is the machine on? A machine without a daemon refuses streams at once; a dark one says nothing."""
        ...

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        """A datagram has come."""
        ...

    def answer(self, request: bytes, source: Address) -> bytes | None:
        """A stream request has come; None closes without an answer."""
        ...


@runtime_checkable
class Carrier(Protocol):
    """A station that also takes datagrams by tunnels."""

    def carries(self, request: bytes, source: Address) -> bool:
        """A stream request has come that would open a tunnel: is it let in?"""
        ...

    def receive_tunnelled(self, data: bytes, source: Address) -> None:
        """A datagram has come through one."""
        ...


@define
class Traffic:
    """Control bytes of one node, headers counted."""

    sent_bytes: int = 0
    received_bytes: int = 0
    datagrams: int = 0
    streams: int = 0


@define
class _Port:
    node: int
    site: int
    address: Address
    station: Station
    sides: tuple[int, ...]


@define
class _Mapping:
    """One line of a translator's table: an inside node, as the outside sees it, and whom it spoke to."""

    node: int
    outside: Address
    expires_s: float
    spoke_to: set[str]


StreamDone = Callable[[bytes | None, str], None]


class Network:
    """All sites and what lies between them."""

    def __init__(self, heap: Heap, dice: Dice, trace: Trace, weather: Weather) -> None:
        self._heap = heap
        self._trace = trace
        self.weather = weather
        self._rng = dice.named("network")
        self._dice = dice
        self._ports: dict[int, _Port] = {}
        self._members: list[list[int]] = []
        self._translated: list[bool] = []
        self._shut_in: list[bool] = []
        self._tunnels: dict[tuple[int, Address], tuple[int, Address]] = {}
        """(node, where its peer seems to be) -> the same from the other end; each tunnel is here twice."""
        self._symmetric: set[int] = set()
        self._isolated: set[int] = set()
        self._router_hosts: list[str] = []
        self._distance_s: dict[tuple[int, int], float] = {}
        self._public: dict[str, int] = {}
        self._private: dict[tuple[int, str], int] = {}
        self._mappings: dict[tuple[int, Address | None], _Mapping] = {}
        """By inside node, and destination where the translator is symmetric."""
        self._mapped: dict[Address, _Mapping] = {}
        self.traffic: dict[int, Traffic] = {}
        self.uplink_bytes: list[int] = []
        """Per site: control bytes that crossed its uplink, both directions."""

    def add_site(self, *, translated: bool, symmetric: bool = False, shut_in: bool = False) -> int:
        """A new LAN; returns its number.

        `translated`: behind an address translator; `symmetric`: one that shows each peer outside another port, and lets in
        nobody but that peer there; `shut_in`: no datagrams cross its uplink.
        """
        site = len(self._members)
        if symmetric:
            self._symmetric.add(site)
        self._members.append([])
        self._shut_in.append(shut_in)
        self._translated.append(translated)
        self._router_hosts.append(f"64.{site // 256}.{site % 256}.1")
        self.uplink_bytes.append(0)
        return site

    def attach(self, node: int, site: int, port: int, station: Station) -> Address:
        """Plug a node in; returns the address it has on its own LAN (for an open site: everywhere)."""
        place = len(self._members[site])
        if self._translated[site]:
            host = f"192.168.{place // 250}.{place % 250 + 2}"
            self._private[site, host] = node
        else:
            host = f"{11 + site // 256}.{site % 256}.{place // 250}.{place % 250 + 1}"
            self._public[host] = node
        address = Address(host, port)
        self._ports[node] = _Port(node, site, address, station, ())
        self._members[site].append(node)
        self.traffic[node] = Traffic()
        return address

    def site_of(self, node: int) -> int:
        """The number of the site a node is plugged into."""
        return self._ports[node].site

    def is_translated(self, node: int) -> bool:
        """Is the node behind an address translator, so that nobody outside can dial it?"""
        return self._translated[self._ports[node].site]

    def set_sides(self, sides: Mapping[int, tuple[int, ...]]) -> None:
        """Who is cut from whom: two nodes hear each other only while their sides are equal. Absent means ()."""
        for node, port in self._ports.items():
            port.sides = sides.get(node, ())

    def isolate(self, site: int) -> None:
        """From now on the nodes of this site hear each other's multicast and reach each other in no other way, as in many a
        wireless network."""
        self._isolated.add(site)

    def cut(self, one: int, other: int) -> bool:
        """Are these two nodes on different sides of a cut?"""
        return self._ports[one].sides != self._ports[other].sides

    def can_dial(self, one: int, other: int) -> bool:
        """Could `one` open a connection to `other` now (both powered, no cut, no translator in front of `other`)?"""
        here, there = self._ports[one], self._ports[other]
        if self._parted(here, there) or not there.station.powered():
            return False
        return here.site == there.site or not self._translated[there.site]

    def dialled(self, node: int, address: Address) -> int | None:
        """Whose machine `node` reaches when it opens a connection to this host, on any port; None: nobody's."""
        here = self._ports[node]
        found = self._private.get((here.site, address.host)) if self._translated[here.site] else None
        if found is None:
            found = self._public.get(address.host)
        return None if found is None or found == node or not self.can_dial(node, found) else found

    def delay_s(self, one: int, other: int) -> float:
        """Usual one-way delay between two nodes."""
        return self._delay_between(self._ports[one].site, self._ports[other].site)

    def _parted(self, here: _Port, there: _Port, *, multicast: bool = False) -> bool:
        """Does nothing come from here to there now, by a cut or because the site isolates its nodes?"""
        isolated = here.site == there.site and here.site in self._isolated and not multicast
        return isolated or here.sides != there.sides

    # datagrams

    def send(self, node: int, destination: Address | None, data: bytes, *, plain: bool = False) -> None:
        """Send one datagram; None means the LAN's multicast group. Nobody tells the sender what became of it. `plain`: not by a
        tunnel."""
        here = self._ports[node]
        count = self.traffic[node]
        count.sent_bytes += len(data) + DATAGRAM_HEADER_BYTES
        count.datagrams += 1
        self._trace.note(self._heap.now_s, node, "send", str(destination or "multicast"), data)
        if destination is None:
            for member in self._members[here.site]:
                if member != node:
                    self._carry(here, self._ports[member], data, here.address, multicast=True)
            return
        if not plain and self._sent_by_tunnel(here, destination, data):
            return
        source = here.address
        target = self._resolve(here, destination)
        crosses = target is None or self._ports[target].site != here.site
        if crosses and self._lets_no_datagrams(here, target):
            return
        if crosses and self._translated[here.site]:
            source = self._translate(here, destination)
        if crosses:
            self.uplink_bytes[here.site] += len(data) + DATAGRAM_HEADER_BYTES
        if target is None or target == node:
            return
        there = self._ports[target]
        if crosses and self._translated[there.site] and not self._let_in(destination, source):
            return
        if crosses:
            self.uplink_bytes[there.site] += len(data) + DATAGRAM_HEADER_BYTES
        self._carry(here, there, data, source, multicast=False)

    def _carry(self, here: _Port, there: _Port, data: bytes, source: Address, *, multicast: bool) -> None:
        rng, weather = self._rng, self.weather
        loss = weather.loss if here.site != there.site else weather.loss / 10
        if self._parted(here, there, multicast=multicast) or (loss and rng.random() < loss):
            return
        base = self._delay_between(here.site, there.site)
        copies = 2 if weather.duplicate and rng.random() < weather.duplicate else 1
        for _ in range(copies):
            delay = base * (1.0 + weather.jitter * rng.random())
            if weather.reorder and rng.random() < weather.reorder:
                delay += base * 3 + 0.05 * rng.random()
            self._heap.after(delay, self._deliver, there, data, source, multicast)

    def _deliver(self, there: _Port, data: bytes, source: Address, multicast: bool) -> None:
        if not there.station.listening():
            return
        self.traffic[there.node].received_bytes += len(data) + DATAGRAM_HEADER_BYTES
        there.station.receive(data, source, multicast)

    def _lets_no_datagrams(self, here: _Port, target: int | None) -> bool:
        return self._shut_in[here.site] or (target is not None and self._shut_in[self._ports[target].site])

    # tunnels

    def open_tunnel(self, node: int, peer: Address, request: bytes, first: bytes) -> None:
        """Datagrams between the node and this peer go by a stream from now on, if the peer can be dialled and lets it in."""
        here = self._ports[node]
        target = self._resolve(here, peer)
        if (node, peer) in self._tunnels or target is None or target == node:
            return
        there = self._ports[target]
        if not self._dialable(here, there, peer):
            return
        way_s = self._stream_s(here, there, len(request) + len(first), round_trips=1.5)
        self._heap.after(way_s, self._tunnel_comes, here, there, peer, request, first)

    def _tunnel_comes(self, here: _Port, there: _Port, peer: Address, request: bytes, first: bytes) -> None:
        source = Address(here.address.host, 20_000 + self._rng.randrange(40_000))
        if here.site != there.site and self._translated[here.site]:
            source = Address(self._router_hosts[here.site], source.port)
        if self._parted(here, there) or not there.station.listening() or not here.station.listening():
            return
        carrier = there.station
        if (here.node, peer) in self._tunnels or not isinstance(carrier, Carrier):
            return
        if not carrier.carries(request, source):
            return
        self._tunnels[here.node, peer] = (there.node, source)
        self._tunnels[there.node, source] = (here.node, peer)
        self._deliver_tunnelled(there, first, source)

    def _deliver_tunnelled(self, there: _Port, data: bytes, source: Address) -> None:
        if there.station.listening() and isinstance(there.station, Carrier):
            self.traffic[there.node].received_bytes += len(data) + DATAGRAM_HEADER_BYTES
            there.station.receive_tunnelled(data, source)

    def close_tunnel(self, node: int, peer: Address) -> None:
        """The node does not want it any more."""
        end = self._tunnels.pop((node, peer), None)
        if end is not None:
            del self._tunnels[end]

    def tunnels_of(self, node: int) -> int:
        """How many tunnels begin or end at this node."""
        return sum(end[0] == node for end in self._tunnels)

    def let_out(self, site: int) -> None:
        """From now on the firewall of this site lets datagrams out."""
        self._shut_in[site] = False

    def hang_up(self, node: int) -> None:
        """The daemon of this node is gone, and its tunnels with it."""
        for end in [end for end in self._tunnels if end[0] == node]:
            self.close_tunnel(*end)

    def _sent_by_tunnel(self, here: _Port, destination: Address, data: bytes) -> bool:
        end = self._tunnels.get((here.node, destination))
        if end is None:
            return False
        there = self._ports[end[0]]
        if self._parted(here, there):
            self.close_tunnel(here.node, destination)
            return True
        for site in {here.site, there.site} if here.site != there.site else ():
            self.uplink_bytes[site] += len(data) + DATAGRAM_HEADER_BYTES
        way_s = self._stream_s(here, there, len(data), round_trips=0.5)
        self._heap.after(way_s, self._deliver_tunnelled, there, data, end[1])
        return True

    # streams

    def open_stream(
        self,
        node: int,
        peer: Address,
        request: bytes,
        timeout_s: float,
        done: StreamDone,
        known: Address | None = None,
    ) -> None:
        """One request, one reply. `done(reply, "")` or `done(None, why)` is called exactly once, within `timeout_s`.

        `known`: where the peer is known, if it is; what no stream reaches is asked there by datagrams.
        """
        here = self._ports[node]
        self.traffic[node].streams += 1
        self._trace.note(self._heap.now_s, node, "dial", str(peer), request)
        target = self._resolve(here, peer)
        deadline_s = self._heap.now_s + timeout_s
        if target is None or target == node or not self._dialable(here, self._ports[target], peer):
            self._ask_in_slices(here, known, request, deadline_s, done)
            return
        there = self._ports[target]
        source = here.address
        if here.site != there.site and self._translated[here.site]:
            source = Address(self._router_hosts[here.site], 20_000 + self._rng.randrange(40_000))
        way_s = self._stream_s(here, there, len(request), round_trips=1.5)
        self._heap.after(way_s, self._serve, here, there, request, source, deadline_s, done)

    def _ask_in_slices(
        self, here: _Port, known: Address | None, request: bytes, deadline_s: float, done: StreamDone
    ) -> None:
        """No stream connects. Datagrams get to a translated node at the address that it has for this one."""
        found = self._path_of_datagrams(here, known) if known is not None else None
        if found is None:
            self._heap.at(deadline_s, done, None, "no answer")
            return
        there, source = found
        way_s = SLICES_AFTER_S + self._stream_s(here, there, len(request), round_trips=1.5)
        self._heap.after(way_s, self._serve, here, there, request, source, deadline_s, done)

    def _path_of_datagrams(self, here: _Port, known: Address) -> tuple[_Port, Address] | None:
        """Whom a datagram to this address of another site gets to, and where it seems to come from; None: to nobody."""
        tunnel = self._tunnels.get((here.node, known))
        if tunnel is not None:
            return self._ports[tunnel[0]], tunnel[1]
        target = self._resolve(here, known)
        if target is None or self._ports[target].site == here.site or self._lets_no_datagrams(here, target):
            return None
        there = self._ports[target]
        source = self._translate(here, known) if self._translated[here.site] else here.address
        return (there, source) if not self._translated[there.site] or self._let_in(known, source) else None

    def _serve(
        self, here: _Port, there: _Port, request: bytes, source: Address, deadline_s: float, done: StreamDone
    ) -> None:
        if self._parted(here, there) or not there.station.powered() or self._heap.now_s >= deadline_s:
            self._heap.at(deadline_s, done, None, "no answer")
            return
        if not there.station.listening():
            self._heap.after(self._delay_between(here.site, there.site), done, None, "connection refused")
            return
        self._count_stream(here, there, len(request))
        reply = there.station.answer(request, source)
        if reply is None:
            self._heap.at(min(deadline_s, self._heap.now_s + 0.1), done, None, "closed without an answer")
            return
        way_s = self._stream_s(there, here, len(reply), round_trips=0.5)
        self._heap.at(
            min(deadline_s, self._heap.now_s + way_s), self._finish, here, there, reply, deadline_s, done
        )

    def _finish(self, here: _Port, there: _Port, reply: bytes, deadline_s: float, done: StreamDone) -> None:
        if self._parted(here, there) or self._heap.now_s >= deadline_s:
            self._heap.at(deadline_s, done, None, "no answer")
            return
        self._count_stream(there, here, len(reply))
        done(reply, "")

    def _count_stream(self, sender: _Port, receiver: _Port, size_bytes: int) -> None:
        size = size_bytes + STREAM_HEADER_BYTES // 2
        self.traffic[sender.node].sent_bytes += size
        self.traffic[receiver.node].received_bytes += size
        if sender.site != receiver.site:
            self.uplink_bytes[sender.site] += size
            self.uplink_bytes[receiver.site] += size

    def _stream_s(self, here: _Port, there: _Port, size_bytes: int, *, round_trips: float) -> float:
        """How long a stream needs for `size_bytes`: windows that double from ten segments, and lost segments sent again."""
        delay = self._delay_between(here.site, there.site) * (1.0 + self.weather.jitter * self._rng.random())
        segments = 1 + size_bytes // SEGMENT_BYTES
        window, windows = 10, 1
        while segments > window:
            window, windows = window * 3, windows + 1
        loss = self.weather.loss if here.site != there.site else self.weather.loss / 10
        lost = sum(self._rng.random() < loss for _ in range(segments)) if loss else 0
        return delay * 2 * (round_trips + windows - 1) + lost * RETRANSMIT_S

    # addresses

    def _resolve(self, here: _Port, destination: Address) -> int | None:
        """The node an address means, seen from `here`; None where nobody is."""
        inside = self._private.get((here.site, destination.host)) if self._translated[here.site] else None
        if inside is not None:
            return inside if self._ports[inside].address.port == destination.port else None
        node = self._public.get(destination.host)
        if node is not None:
            return node if self._ports[node].address.port == destination.port else None
        mapping = self._mapped.get(destination)
        return None if mapping is None else mapping.node

    def _dialable(self, here: _Port, there: _Port, destination: Address) -> bool:
        """Streams reach LAN neighbours and open sites; translators let none in."""
        if self._parted(here, there):
            return False
        return here.site == there.site or (not self._translated[there.site] and there.address == destination)

    def _translate(self, here: _Port, destination: Address) -> Address:
        """Outgoing through the translator: one outside address per inside node (and destination), kept while it is used."""
        now_s = self._heap.now_s
        symmetric = here.site in self._symmetric
        key = (here.node, destination if symmetric else None)
        mapping = self._mappings.get(key)
        if mapping is None or mapping.expires_s < now_s:
            if mapping is not None:
                self._mapped.pop(mapping.outside, None)
            outside = Address(self._router_hosts[here.site], 20_000 + self._rng.randrange(40_000))
            while outside in self._mapped:
                outside = Address(outside.host, outside.port + 1)
            mapping = _Mapping(here.node, outside, 0.0, set())
            self._mappings[key] = mapping
            self._mapped[outside] = mapping
        mapping.expires_s = now_s + MAPPING_S
        mapping.spoke_to.add(str(destination) if symmetric else destination.host)
        return mapping.outside

    def _let_in(self, destination: Address, source: Address) -> bool:
        """A translator lets a datagram in only where the inside node lately spoke to that host (restricted cone), or to that very
        address (symmetric)."""
        mapping = self._mapped.get(destination)
        if mapping is None or mapping.expires_s < self._heap.now_s:
            return False
        symmetric = self._ports[mapping.node].site in self._symmetric
        return (str(source) if symmetric else source.host) in mapping.spoke_to

    def _delay_between(self, one: int, other: int) -> float:
        if one == other:
            return self.weather.lan_delay_s
        pair = (one, other) if one < other else (other, one)
        delay = self._distance_s.get(pair)
        if delay is None:
            rng = self._dice.named("distance", *pair)
            delay = rng.uniform(self.weather.wan_delay_s_min, self.weather.wan_delay_s_max)
            self._distance_s[pair] = delay
        return delay
