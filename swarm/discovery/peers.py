"""Who is out there: a bounded table of nodes that have spoken to this one, and how much to believe of it.

A peer is in the table because a sealed hello came from it. Its address is where that came from: nodes send from their control
port, and behind a translator (NAT) only the port that the translator gave a node leads back to it. A hello that gives a known
peer another address is *doubted*: whoever recorded an old hello could send it again from elsewhere. The new address counts only
once it has answered a question with the question's own echo.

A neighbour may have several addresses at once: two interfaces on one LAN, two LANs, IPv4 and IPv6. One of them is in use, as
long as it is heard or answers there; the others are kept for the moment at which it does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from attrs import Factory, define, evolve, frozen

from swarm.address import Address
from swarm.me import Hello

FORGET_AFTER_S = 600.0
"""When the table is full, a peer silent for longer than this makes room for a new one."""
PLACES_MAX = 4
"""Addresses kept for one peer: two interfaces, each with IPv4 and IPv6. Fewer: of a node with more, one that fails is replaced
later. More: more that somebody who claims to be that node can fill."""


@frozen
class PeerInfo:
    """A peer, as others in this node see it."""

    node_id: bytes
    name: str
    site: str
    address: Address
    """Control: UDP and TCP on one port. Of several, the one in use."""
    transfer_port: int
    same_site: bool
    """Heard by multicast, in one direction or the other, or of the same named site."""
    heard_s: float
    holdings: frozenset[bytes]
    """First 8 bytes of the infohashes of images it serves, whole or in part."""
    fetching: bytes = b""
    """Of these, or beside these, the one it wants and does not have whole."""
    able: bool = True
    """It could speak to the outside for its site."""
    also: tuple[Address, ...] = ()
    """Other addresses at which it has answered: its connections may come from there."""

    def wants_or_holds(self, holding: bytes) -> bool:
        """Whether it has to do with this image at all."""
        return holding in self.holdings or holding == self.fetching

    @property
    def gives(self) -> bool:
        """Whether it says it has all of some image."""
        return any(map(self.holds_whole, self.holdings))

    def holds_whole(self, holding: bytes) -> bool:
        """Whether it says it has all of this image."""
        return holding in self.holdings and holding != self.fetching


class Heard(StrEnum):
    """What a hello did to the table."""

    NEW = "new"
    CHANGED = "changed"
    """Known, and says something new about itself."""
    SAME = "same"
    DOUBTED = "doubted"
    """Known under another address: ask the new one before believing it. Nothing was changed."""
    FULL = "full"
    """No room. Nothing was changed."""


@define
class Place:
    """An address of a peer, other than by hearsay."""

    heard_s: float
    """When something came from there last, or an answer to what went there."""
    multicast_s: float = float("-inf")
    """When its multicast was heard from there last."""

    @property
    def multicast(self) -> bool:
        """Whether its multicast ever was heard from there."""
        return self.multicast_s > float("-inf")


@define
class Peer:
    """A row of the table. `digest` None: not known, or older than our last sync with it."""

    info: PeerInfo
    places: dict[Address, Place] = Factory(dict)
    """`info.address`, which is in use, and at most three others that have answered."""
    elsewhere: Address | None = None
    """Another address than the one in use that its multicast came from last, proven or not."""
    looked_s: float = float("-inf")
    """When it was last asked whether it still is where it was, since its multicast came from elsewhere only."""
    multicast_s: float = float("-inf")
    met_s: float = float("-inf")
    """Since when it is known at the address it has now."""
    near: bool = False
    """It says that our multicast reaches it."""
    control_port: int = 0
    """Where it listens for streams, as it says: a translator that forwards ports forwards this one."""
    strikes: int = 0
    digest: bytes | None = None
    wide: bytes | None = None
    """As `digest`, over what leaves a site."""
    tunnelled: bool = False
    """What it said last came through a tunnel that this node opened."""
    guest: bool = False
    """It has opened one to this node: nobody else reaches it where it seems to be."""
    knocked_s: float = float("-inf")
    """When it last asked us something: it keeps a link to us."""
    pinged_s: float = float("-inf")
    compared_s: float = float("-inf")
    failures: int = 0
    """Comparisons with it that failed, since one went well."""
    settled: tuple[bytes, bytes] | None = None
    """(our digest, its digest) after a comparison: if it shows that pair again, neither has anything for the
    other."""

    @property
    def here(self) -> Place:
        """The address in use."""
        return self.places[self.info.address]


class PeerTable:
    """At most `peers_max` peers, at most `per_host_max` behind one IP address."""

    def __init__(self, my_site: str, *, peers_max: int, per_host_max: int) -> None:
        self._my_site = my_site
        self._peers_max = peers_max
        self._per_host_max = per_host_max
        self._peers: dict[bytes, Peer] = {}
        self._by_address: dict[Address, bytes] = {}
        self._multicasters: dict[bytes, Peer] = {}
        """Those with a `multicast_s`: a small part of all, and asked for at every piece of news."""

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def multicasters(self) -> int:
        """Peers that multicast ever reached this node from, at the address they have now."""
        return len(self._multicasters)

    def hear(self, hello: Hello, source: Address, now_s: float, *, multicast: bool, proven: bool) -> Heard:
        """Take in a hello. `proven`: it answers a question this node sent to that very address."""
        known = self._peers.get(hello.me.node_id)
        if known is None:
            return self._admit(hello, source, now_s, multicast=multicast)
        before = known.info
        if multicast and source != before.address:
            known.elsewhere = source
        if source not in known.places:
            if not proven:
                return Heard.DOUBTED
            self._settle(known, source, now_s)
        place = known.places[source]
        place.heard_s = now_s
        if multicast:
            place.multicast_s = now_s
        if multicast and not known.here.multicast:
            self._use(known, source, now_s)
        self._update(known, hello, now_s, multicast=multicast)
        return Heard.SAME if evolve(before, heard_s=now_s) == known.info else Heard.CHANGED

    def get(self, node_id: bytes) -> Peer | None:
        """The peer with this id."""
        return self._peers.get(node_id)

    def reached(self, node_id: bytes, address: Address, now_s: float) -> bool:
        """This peer brought back an echo that had gone to `address`: it is there, whatever address it speaks from.

        A machine with two interfaces on one LAN answers from one of them, whichever was asked. False where the address is
        somebody else's.
        """
        peer = self._peers[node_id]
        if address not in peer.places:
            if self.at(address) is not None:
                return False
            self._add_place(peer, address, now_s)
        peer.places[address].heard_s = now_s
        return True

    def turn(self, peer: Peer, now_s: float, silence_s: float) -> bool:
        """This peer gave no answer at the address in use: turn to the other that was heard last, less than `silence_s` ago."""
        found = self._other_place(peer)
        if found is None or now_s - peer.places[found].heard_s >= silence_s:
            return False
        self._use(peer, found, now_s)
        return True

    def at(self, address: Address) -> Peer | None:
        """The peer that was heard from this address last."""
        node_id = self._by_address.get(address)
        return self._peers.get(node_id) if node_id is not None else None

    def stream_address(self, address: Address) -> Address:
        """Where streams to the peer at this address go; unknown addresses are their own."""
        peer = self.at(address)
        return Address(address.host, peer.control_port) if peer is not None else address

    def all(self) -> list[Peer]:
        """Every peer, in the order of first hearing."""
        return list(self._peers.values())

    def site_mates(self) -> list[Peer]:
        """Peers of this node's own site, as far as it knows."""
        return [peer for peer in self._peers.values() if peer.info.same_site]

    def neighbours(self, now_s: float, silence_s: float) -> list[Peer]:
        """Peers whose multicast reached this node less than `silence_s` ago."""
        return [peer for peer in self._multicasters.values() if now_s - peer.multicast_s < silence_s]

    def far(self, now_s: float, silence_s: float) -> list[Peer]:
        """The other peers: multicast does not reach them, as far as this node can tell."""
        return [peer for peer in self._peers.values() if now_s - peer.multicast_s >= silence_s]

    def unheard(self, now_s: float, silence_s: float) -> list[Peer]:
        """Mates known for longer than `silence_s` whose multicast did not come in that time."""
        return [peer for peer in self.site_mates() if now_s - max(peer.multicast_s, peer.met_s) >= silence_s]

    def holders(self, holding: bytes) -> list[Peer]:
        """Peers that say they serve this image: same site first, then those heard last."""
        found = [peer for peer in self._peers.values() if holding in peer.info.holdings]
        return sorted(found, key=lambda peer: (not peer.info.same_site, peer.strikes, -peer.info.heard_s))

    def drop(self, node_id: bytes) -> Peer | None:
        """Forget this peer; returns it if it was there."""
        peer = self._peers.get(node_id)
        if peer is not None:
            self._drop(peer)
        return peer

    def strike(self, node_id: bytes, strikes_max: int) -> Peer | None:
        """A question to this peer went unanswered. Returns the peer if that was one too many: it has been
        dropped."""
        peer = self._peers.get(node_id)
        if peer is None:
            return None
        peer.strikes += 1
        if peer.strikes < strikes_max:
            return None
        self._drop(peer)
        return peer

    def _admit(self, hello: Hello, address: Address, now_s: float, *, multicast: bool) -> Heard:
        behind_host = sum(peer.info.address.host == address.host for peer in self._peers.values())
        if behind_host >= self._per_host_max:
            return Heard.FULL
        if len(self._peers) >= self._peers_max and not self._make_room(now_s):
            return Heard.FULL
        me = hello.me
        info = PeerInfo(
            me.node_id, me.name, me.site, address, me.transfer_port, multicast, now_s, frozenset()
        )
        peer = Peer(info, {address: Place(now_s)}, met_s=now_s)
        self._peers[me.node_id] = peer
        self._by_address[address] = me.node_id
        if multicast:
            peer.here.multicast_s = now_s
        self._update(peer, hello, now_s, multicast=multicast)
        return Heard.NEW

    def _update(self, peer: Peer, hello: Hello, now_s: float, *, multicast: bool) -> None:
        me = hello.me
        if multicast:
            peer.multicast_s = now_s
            self._multicasters[me.node_id] = peer
        named_same = bool(me.site) and me.site == self._my_site
        peer.near = peer.near or hello.near
        same_lan = peer.near or peer.multicast_s > float("-inf")
        peer.control_port = me.control_port
        peer.strikes = 0
        peer.digest, peer.wide = hello.digest, hello.wide
        peer.info = evolve(
            peer.info,
            name=me.name,
            site=me.site,
            transfer_port=me.transfer_port,
            same_site=named_same or same_lan,
            heard_s=now_s,
            holdings=frozenset(hello.holdings),
            fetching=hello.fetching,
            able=hello.able,
        )

    def _settle(self, peer: Peer, address: Address, now_s: float) -> None:
        """It has proved to be at this address. A neighbour goes on with the one in use; whoever is known otherwise has moved: a
        translator gave it another port, or it left its LAN."""
        holder = self.at(address)
        if holder is not None:
            self._displace(holder, address, now_s)
        self._add_place(peer, address, now_s)
        if not peer.here.multicast:
            old = peer.info.address
            self._use(peer, address, now_s)
            self._leave(peer, old)

    def _displace(self, holder: Peer, address: Address, now_s: float) -> None:
        """Another node has proved to be where this one was: two that swapped addresses must not hold each other's."""
        if holder.info.address == address:
            other = self._other_place(holder)
            if other is None:
                holder.here.multicast_s = float("-inf")  # whatever it proves next is where it is
                return
            self._use(holder, other, now_s)
        self._leave(holder, address)

    def _add_place(self, peer: Peer, address: Address, now_s: float) -> None:
        if len(peer.places) >= PLACES_MAX:
            self._leave(peer, min(self._others(peer), key=lambda other: peer.places[other].heard_s))
        peer.places[address] = Place(now_s, now_s if peer.elsewhere == address else float("-inf"))
        self._by_address[address] = peer.info.node_id
        peer.info = evolve(peer.info, also=tuple(self._others(peer)))

    def _leave(self, peer: Peer, address: Address) -> None:
        del peer.places[address]
        peer.info = evolve(peer.info, also=tuple(self._others(peer)))
        if self._by_address.get(address) == peer.info.node_id:
            del self._by_address[address]

    def _use(self, peer: Peer, address: Address, now_s: float) -> None:
        peer.info = evolve(peer.info, address=address)
        peer.info = evolve(peer.info, also=tuple(self._others(peer)))
        peer.met_s = now_s
        if not peer.here.multicast:
            peer.multicast_s = float("-inf")
            self._multicasters.pop(peer.info.node_id, None)
            peer.near = False

    @staticmethod
    def _others(peer: Peer) -> list[Address]:
        return [address for address in peer.places if address != peer.info.address]

    def _other_place(self, peer: Peer) -> Address | None:
        return max(self._others(peer), key=lambda other: peer.places[other].heard_s, default=None)

    def _make_room(self, now_s: float) -> bool:
        silent = min(self._peers.values(), key=lambda peer: (-peer.strikes, peer.info.heard_s))
        if not silent.strikes and now_s - silent.info.heard_s < FORGET_AFTER_S:
            return False
        self._drop(silent)
        return True

    def _drop(self, peer: Peer) -> None:
        del self._peers[peer.info.node_id]
        self._multicasters.pop(peer.info.node_id, None)
        for address in peer.places:
            if self._by_address.get(address) == peer.info.node_id:
                del self._by_address[address]


DRAWN_PER_CHOSEN = 12
"""Peers looked at for each one chosen. Fewer: one large site is more often all that was looked at. More: shuffling hundreds of
peers for each piece of news was a tenth of a node's work."""


def sample(
    peers: Sequence[Peer], count: int, rng: random.Random, unwanted: Callable[[Peer], bool] | None = None
) -> list[Peer]:
    """At most `count` different peers at random: those without strikes first, at most half from one named
    site.

    Diversity matters more than it looks: news that stays inside one site is no news to the others.
    """
    fresh = [peer for peer in peers if not peer.strikes]
    pool = _drawn(fresh, DRAWN_PER_CHOSEN * count, rng, unwanted)
    if len(pool) < count and len(fresh) < len(peers):
        pool += _drawn([peer for peer in peers if peer.strikes], count, rng, unwanted)
    return _diverse(pool, count)


def _drawn(
    peers: Sequence[Peer], count: int, rng: random.Random, unwanted: Callable[[Peer], bool] | None
) -> list[Peer]:
    """`count` of these in random order, or all; those unwanted are left out afterwards, so a few less."""
    drawn = rng.sample(peers, min(len(peers), count))
    return drawn if unwanted is None else [peer for peer in drawn if not unwanted(peer)]


def _diverse(pool: Iterable[Peer], count: int) -> list[Peer]:
    chosen: list[Peer] = []
    passed_over: list[Peer] = []
    of_site: dict[str, int] = {}
    for peer in pool:
        if len(chosen) == count:
            break
        site = peer.info.site
        if site and of_site.get(site, 0) * 2 >= count:
            passed_over.append(peer)
            continue
        of_site[site] = of_site.get(site, 0) + 1
        chosen.append(peer)
    return chosen + passed_over[: count - len(chosen)]
