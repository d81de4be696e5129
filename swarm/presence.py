"""Who is out there: hellos in and out. Joins the beacon, the peer table, the introductions and the open
questions.

Three rules keep it honest and quiet. A peer is whoever sent a sealed hello; a known peer's new address counts
only after it answered a question there. Neighbours, who hear our multicast, need no pings: beacons tell them
all. And whoever *asked* compares stores on finding a different digest, so that two nodes never do it to each
other, and a node behind NAT can.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from attrs import evolve, frozen

from swarm.address import Address
from swarm.discovery.beacon import Beacon, silence_s
from swarm.discovery.elsewhere import LOOK_AGAIN_S, Elsewhere
from swarm.discovery.introductions import Introductions
from swarm.discovery.membership import Do
from swarm.discovery.peers import Heard, Peer, PeerTable, sample
from swarm.discovery.shut_in import ShutIn
from swarm.effects import CloseTunnel, OpenTunnel, SendDatagram
from swarm.envelope import Envelope
from swarm.links import Links
from swarm.me import ECHO_BYTES, HOLDING_BYTES, HOLDINGS_MAX, Hello, Me
from swarm.questions import Questions
from swarm.settings import SwarmSettings
from swarm.site import Site
from swarm.site_watch import SiteWatch
from swarm.wire import PingFor, Suspicion, Tunnel, Word

ANNOUNCE_PEERS = 16
"""Far peers that are told at once when what this node serves changes. More: large swarms chatter at every
release."""
ANNOUNCE_GAP_S = 5.0
"""Least time between two such announcements."""
WELCOME_REPLIES = 5.0
"""Neighbours that answer a newcomer's first beacon, on average: one would do if no datagram were ever
lost."""
EARLY_DOUBT_S = (0.02, 0.1)
LATE_DOUBT_S = (0.3, 2.0)
"""A neighbour's beacon shows another digest: it is asked after a random time in this range. Early for a node
that has compared with nobody yet; late otherwise, so that in a site one does it and the others see that it is
done."""
SEEK_PEERS = 8
"""Peers asked at once what they hold, by a node that fetches an image. More finds sources sooner; each costs two
small datagrams every few seconds while fetching."""
CONTACTS_AFTER_S = 1.0
"""Contacts are asked only after the beacon had time to tell whether this site has somebody who speaks to them already. Longer
delays a node that is alone; shorter lets every node of a site that starts call out."""
OWN_ADDRESSES_MAX = 32
"""Own addresses that are remembered, so that nobody's hearsay makes this node knock at itself."""


@frozen
class Greeting:
    """What a hello led to."""

    sends: tuple[SendDatagram | CloseTunnel, ...] = ()
    changed: bool = False
    """A peer is new, or holds something else."""
    compare_with: Peer | None = None
    """It answered our question and its store differs from ours."""


class Presence:
    """All this node knows about others, and what it tells them about itself.

    Args:
        digest: gives the digest of our store at the moment.
    """

    def __init__(
        self,
        me: Me,
        settings: SwarmSettings,
        envelope: Envelope,
        digest: Callable[..., bytes],
        rng: random.Random,
        now_s: float,
    ) -> None:
        self._me = me
        self._settings = settings
        self._envelope = envelope
        self._digest = digest
        self._rng = rng
        self._beacon = Beacon(settings.beacon_interval_s, rng, now_s)
        first_pause_s = CONTACTS_AFTER_S if settings.beacon else 0.0
        self._introductions = Introductions(settings.contacts, rng, now_s, first_pause_s=first_pause_s)
        self._questions = Questions(settings.ping_timeout_s)
        self._doubts: dict[bytes, float] = {}
        self._holdings: tuple[bytes, ...] = ()
        self._fetching = b""
        self.out = False
        """This node speaks to other sites for an image it fetches."""
        self.calling = False
        """This node looks in other sites for something small that its own did not give it in time."""
        self.shut_in = ShutIn()
        self._links = Links(rng)
        self._own_addresses: dict[Address, None] = {}
        self._announce_due_s = float("inf")
        self._announced_s = float("-inf")
        self._widely = False
        self._settled = False
        self.table = PeerTable(
            me.site, peers_max=settings.peers_max, per_host_max=settings.peers_per_host_max
        )
        self._elsewhere = Elsewhere(self.table, rng)
        self.site = Site(me.node_id, self.table, rng, now_s)
        self._watch = SiteWatch(self.site, self.table, envelope, self._ping_peer, beacon=settings.beacon)

    # ------------------------------------------------------------------ what others ask

    def neighbours(self, now_s: float) -> list[Peer]:
        """Peers that our multicast reaches, as far as theirs reaches us."""
        return self.table.neighbours(now_s, self._silence_s())

    def far(self) -> list[Peer]:
        """Peers of other sites."""
        return [peer for peer in self.table.all() if not peer.info.same_site]

    @property
    def speaks(self) -> bool:
        """Whether this node speaks to other sites now: for everybody's news, or for an image it fetches for its site."""
        return self.out or self.calling or self.site.news_rank() is not None

    @property
    def deaf(self) -> bool:
        """Multicast does not reach all of this site: it is off, or a mate is known that is not heard by it."""
        return self._watch.deaf

    def unheard(self, now_s: float) -> list[Peer]:
        """Mates that multicast would have brought to notice by now, and did not."""
        return self.table.unheard(now_s, self._silence_s() if self._settings.beacon else 0.0)

    def spoken_to(self, now_s: float) -> list[Peer]:
        """Whom to tell things one by one: mates that multicast does not reach, and other sites where this node speaks to them."""
        silence_s = self._silence_s()
        quiet = [peer for peer in self.table.far(now_s, silence_s) if peer.info.same_site]
        return quiet + self.far() if self.speaks else quiet

    def linked(self, now_s: float) -> list[Peer]:
        """Peers of other sites that a datagram reaches most likely: those this node talks to, or that talk to it."""
        return self._links.linked(self.far(), now_s)

    @property
    def next_s(self) -> float:
        """When to call `on_wakeup` next."""
        introductions_s = self._introductions.next_s(outside=self.speaks, deaf=self.deaf)
        times = [introductions_s, self._questions.next_s, self._announce_due_s]
        times.append(self.site.membership.next_s)
        if self._settings.beacon:
            times.append(self._beacon.due_s)
        return min(*times, self._elsewhere.next_s, *self._doubts.values())

    # ------------------------------------------------------------------ what others tell

    def set_contacts(self, contacts: Iterable[Address], now_s: float) -> None:
        """The configured contacts, looked up again."""
        self._introductions.set_contacts(contacts, now_s)

    def hear_of(self, addresses: Iterable[Address], now_s: float, *, mates: bool = False) -> None:
        """A peer told of these; `mates`: one of this site, of others of it."""
        self._introductions.hear_of([a for a in addresses if not self._is_known(a)], now_s, mates=mates)

    def knock_at(self, addresses: Iterable[Address], now_s: float) -> list[SendDatagram]:
        """These are said to hold an image that this node fetches: ask them before all other hearsay, and those known now."""
        met = [(address, self.table.at(address)) for address in addresses]
        self._introductions.hear_of([address for address, peer in met if peer is None], now_s, at_once=True)
        return self.ask([peer for _, peer in met if peer is not None], now_s)

    def set_holdings(self, infohashes: Sequence[bytes], now_s: float) -> None:
        """What this node serves; told at once if it changed."""
        holdings = tuple(sorted({h[:HOLDING_BYTES] for h in infohashes})[:HOLDINGS_MAX])
        if holdings == self._holdings:
            return
        self._holdings = holdings
        self._beacon.announce(now_s)
        self._announce_due_s = max(now_s + self._rng.uniform(0.0, 0.2), self._announced_s + ANNOUNCE_GAP_S)

    def announce_widely(self, now_s: float) -> None:
        """Something was published here: other sites have to know where it is, whoever speaks for this one."""
        self._widely = True
        self._announce_due_s = min(self._announce_due_s, now_s + self._rng.uniform(0.0, 0.2))

    def set_fetching(self, holding: bytes, now_s: float) -> None:
        """What image this node wants and does not have whole (first 8 bytes of its infohash; empty: none)."""
        if holding != self._fetching:
            self.site.wants(holding, now_s, afresh=True)
            self._fetching = holding
            self._beacon.announce(now_s)
            soon_s = max(now_s + self._rng.uniform(0.0, 0.2), self._announced_s + ANNOUNCE_GAP_S)
            self._announce_due_s = min(self._announce_due_s, soon_s)

    def set_able(self, able: bool, now_s: float) -> None:
        """Whether this node could speak to the outside for its site."""
        if able != self.site.able:
            self.site.able = able
            self._beacon.announce(now_s)

    def announce(self, now_s: float) -> None:
        """Our store changed in a way that neighbours should notice soon."""
        self._settled = True
        self._beacon.announce(now_s)

    def lan_came(self, now_s: float) -> None:
        """Our multicast reaches another LAN."""
        self._beacon.announce(now_s)

    def on_hello(
        self, hello: Hello, source: Address, now_s: float, *, multicast: bool, tunnelled: bool = False
    ) -> Greeting:
        """A hello arrived, by multicast, to this node alone, or through a tunnel."""
        if hello.me.node_id == self._me.node_id:
            self._introductions.answered(source)
            self._own_addresses.pop(source, None)
            self._own_addresses[source] = None
            if len(self._own_addresses) > OWN_ADDRESSES_MAX:
                del self._own_addresses[next(iter(self._own_addresses))]
            return Greeting()
        question = self._questions.answered(hello.pong) if hello.pong else None
        if question is not None:
            self._introductions.answered(question.address)
        proven = question is not None and question.address == source
        heard = self.table.hear(hello, source, now_s, multicast=multicast, proven=proven)
        sends: list[SendDatagram | CloseTunnel] = []
        sends += self._answers(hello, heard, source, now_s, multicast=multicast)
        peer = self.table.get(hello.me.node_id)
        moved = peer is not None and source != peer.info.address
        if peer is not None and moved and self._elsewhere.heard(peer, heard, now_s, multicast=multicast):
            sends.append(self._ping_peer(peer, now_s))
        if heard in (Heard.DOUBTED, Heard.FULL) or peer is None:
            return Greeting(tuple(sends))
        if hello.ping and not multicast:
            peer.knocked_s = now_s
        if self._note_way(peer, source, now_s, tunnelled=tunnelled):
            sends.append(CloseTunnel(source))
        answered = question is not None and self.table.reached(peer.info.node_id, question.address, now_s)
        self.site.heard(peer, answered=answered)
        if answered:
            sends += self._watch.answered(peer.info.node_id)
        elif self.site.membership.is_gone(peer.info.node_id) and now_s - peer.pinged_s > LOOK_AGAIN_S:
            sends.append(self._ping_peer(peer, now_s))
        differs = self._note_digest(
            peer, now_s, asked=question is not None, answers=bool(hello.ping) and not multicast
        )
        changed = heard in (Heard.NEW, Heard.CHANGED)
        return Greeting(tuple(sends), changed, peer if differs else None)

    def on_wakeup(self, now_s: float) -> tuple[list[SendDatagram | OpenTunnel], bool]:
        """What is due now, and whether a peer was lost, or is to be found elsewhere."""
        self._watch.deaf = not self._settings.beacon or bool(self.unheard(now_s))
        sends: list[SendDatagram | OpenTunnel] = []
        chased, lost = self._chase_unanswered(now_s)
        sends += chased
        if self.site.membership.next_s <= now_s:
            more, gone = self._watch.carry_out(self._membership_due(now_s), now_s)
            sends += more
            lost = self._gone(gone, now_s) or lost
        if self._settings.beacon and self._beacon.due_s <= now_s:
            sends += self._send_beacon(now_s)
        if self._announce_due_s <= now_s:
            sends += self._announce_to_far(now_s)
        who = {"outside": self.speaks, "deaf": self.deaf}
        if self._introductions.next_s(**who) <= now_s:
            want_more = len(self.far()) < self._settings.far_peers_wanted
            knocks = self._introductions.due(now_s, self._is_known, want_more=want_more, **who)
            for address in knocks:
                sends += self._knock(address, now_s)
        sends += self._ask_doubted(now_s)
        sends += self._look_after(now_s)
        return sends, lost

    def _knock(self, address: Address, now_s: float) -> list[SendDatagram | OpenTunnel]:
        """Ask whether somebody is there; by a stream, too, if datagrams do not seem to get out."""
        ping = self.ping(address, b"", now_s)
        tries, contact = self._introductions.tries(address), self._introductions.is_contact(address)
        tunnels = sum(peer.tunnelled and not peer.strikes for peer in self.far())
        wanted = contact or self._introductions.is_sought(address)
        if not self.shut_in.wants_tunnel(tries, tunnels, now_s, contact=contact, wanted=wanted):
            return [ping]
        return [ping, OpenTunnel(address, self._envelope.seal_request(Tunnel())[1], ping.data)]

    def try_plainly(self, now_s: float) -> list[SendDatagram]:
        """While everything goes through tunnels: ask one of the peers there by a datagram, which may get through after all."""
        tunnelled = [peer for peer in self.far() if peer.tunnelled]
        if not tunnelled or not self.shut_in.tries_plainly(now_s):
            return []
        asked = self.ask(sample(tunnelled, 1, self._rng), now_s)
        return [evolve(send, plain=True) for send in asked]

    def _note_way(self, peer: Peer, source: Address, now_s: float, *, tunnelled: bool) -> bool:
        """True if there is a tunnel to it that is not needed."""
        needless = peer.tunnelled and not tunnelled
        peer.guest = tunnelled and self.shut_in.is_guest(source)
        peer.tunnelled = tunnelled and not peer.guest
        if not peer.guest and not peer.info.same_site:
            self.shut_in.heard(now_s, tunnelled=tunnelled)
        return needless

    def ping(self, address: Address, node_id: bytes, now_s: float) -> SendDatagram:
        """Ask whoever is at `address` to say hello."""
        echo = self._rng.randbytes(ECHO_BYTES)
        self._questions.ask(echo, address, node_id, now_s)
        peer = self.table.get(node_id)
        if peer is not None:
            peer.pinged_s = now_s
        return self._send(address, ping=echo)

    def ask(self, peers: Iterable[Peer], now_s: float) -> list[SendDatagram]:
        """Ping these peers: their answers bring what they hold, and their digest."""
        return [self.ping(peer.info.address, peer.info.node_id, now_s) for peer in peers]

    def on_watch(
        self, message: PingFor | Word | Suspicion, source: Address, now_s: float
    ) -> tuple[list[SendDatagram], bool]:
        """What mates say about each other; the answer, and whether a peer was lost over it."""
        match message:
            case PingFor():
                return self._watch.on_ping_for(message, source, now_s), False
            case Word():
                self._watch.on_word(message, source)
                return [], False
            case Suspicion(node_id=self._me.node_id):
                self._beacon.announce(now_s)
                peer = self.table.at(source)
                return ([self._send(source)] if peer is not None else []), False
            case Suspicion():
                sends, gone = self._watch.on_suspicion(message, source, now_s)
                return sends, self._gone(gone, now_s)

    def links(self) -> list[Peer]:
        """Whom the one that speaks for its site asks in a quiet round."""
        return self._links.asked(self.far(), self.site.news_rank())

    def digests(self, peer: Peer) -> tuple[bytes, bytes | None]:
        """Ours and its own, over what the two of us have to agree about."""
        if peer.info.same_site:
            return self._digest(), peer.digest
        return self._digest(wide=True), peer.wide

    def seek(self, holding: bytes, now_s: float) -> list[SendDatagram]:
        """Ask some peers that are not known to hold this image."""
        others = [peer for peer in self.spoken_to(now_s) if holding not in peer.info.holdings]
        return self.ask(sample(others, SEEK_PEERS, self._rng), now_s)

    def doubt(self, peer: Peer, due_s: float) -> None:
        """Ask this peer for its digest at `due_s`, unless it has shown ours by then."""
        self._doubts.setdefault(peer.info.node_id, due_s)

    # ------------------------------------------------------------------ inside

    def _answers(
        self, hello: Hello, heard: Heard, source: Address, now_s: float, *, multicast: bool
    ) -> list[SendDatagram]:
        """Whoever asks us alone is answered; of a site that hears a newcomer, or a question, a few answer."""
        sends = []
        if not multicast and hello.ping:
            sends.append(self._send(source, pong=hello.ping))
        elif multicast and (heard is Heard.NEW or hello.ping) and self._welcomes():
            if heard is Heard.NEW:
                sends.append(self.ping(source, hello.me.node_id, now_s))
            else:
                sends.append(self._send(source, pong=hello.ping))
        if heard is Heard.DOUBTED and not multicast:
            sends.append(self.ping(source, b"", now_s))
        return sends

    def _look_after(self, now_s: float) -> list[SendDatagram]:
        """Ask those whose beacon came from elsewhere; `_chase_unanswered` turns there if the one in use is silent."""
        sends: list[SendDatagram] = []
        for peer, both in self._elsewhere.due(now_s, self._silence_s(), self._welcomes):
            if both:
                sends.append(self._ping_peer(peer, now_s))
            sends += self._ask_elsewhere(peer, now_s)
        return sends

    def _ask_elsewhere(self, peer: Peer, now_s: float) -> list[SendDatagram]:
        unproven = peer.elsewhere is not None and peer.elsewhere not in peer.places
        return [self.ping(peer.elsewhere, b"", now_s)] if peer.elsewhere is not None and unproven else []

    def _ping_peer(self, peer: Peer, now_s: float) -> SendDatagram:
        return self.ping(peer.info.address, peer.info.node_id, now_s)

    def _membership_due(self, now_s: float) -> list[Do]:
        first = self.site.gateway(self._fetching, now_s) if self._fetching and not self.out else None
        return self.site.membership.on_wakeup(now_s, first=first or b"", busy=bool(self._fetching))

    def _gone(self, gone: Iterable[Peer], now_s: float) -> bool:
        """These mates are dead or out of reach; True if there was one."""
        lost = False
        for peer in gone:
            lost = True
            self._doubts.pop(peer.info.node_id, None)
            self._introductions.lost(peer.info.address, now_s)
        return lost

    def _note_digest(self, peer: Peer, now_s: float, *, asked: bool, answers: bool) -> bool:
        """True if stores should be compared now; a difference seen in passing is looked into later."""
        ours, theirs = self.digests(peer)
        if theirs == ours:
            self._doubts.pop(peer.info.node_id, None)
            self._settled = True
            return False
        if asked:
            self._doubts.pop(peer.info.node_id, None)
            return True
        if not answers and (
            peer.info.same_site or self.speaks
        ):  # a peer that asks us will compare when it gets our pong
            early_s, late_s = LATE_DOUBT_S if self._settled else EARLY_DOUBT_S
            self.doubt(peer, now_s + self._rng.uniform(early_s, late_s))
        return False

    def _chase_unanswered(self, now_s: float) -> tuple[list[SendDatagram], bool]:
        sends: list[SendDatagram] = []
        lost = turned = False
        for question in self._questions.unanswered(now_s):
            peer = self.table.get(question.node_id)
            if peer is None:
                continue
            if question.address == peer.info.address:
                turned = self.table.turn(peer, now_s, self._silence_s()) or turned
                sends += self._ask_elsewhere(peer, now_s)
            if peer.info.heard_s > question.asked_s:
                continue
            if peer.info.same_site:
                sends += self._watch.unanswered(question.node_id)
                more, gone = self._watch.carry_out(self.site.unanswered(peer, now_s), now_s)
                sends += more
                lost = self._gone(gone, now_s) or lost
                continue
            if self.table.strike(question.node_id, self._settings.strikes_max) is not None:
                self._doubts.pop(question.node_id, None)
                if not peer.guest:
                    self._introductions.lost(peer.info.address, now_s)
                lost = True
            else:
                sends.append(self.ping(peer.info.address, question.node_id, now_s))
        if lost and not len(self.table):
            self._introductions.alone(now_s)
        return sends, lost or turned

    def _send_beacon(self, now_s: float) -> list[SendDatagram]:
        neighbours = self.neighbours(now_s)
        self._beacon.sent(now_s, len(neighbours))
        # Neighbours that remember this node from before its restart see no newcomer, and may not beacon for half a minute.
        who_is_there = b"" if len(self.table) else self._rng.randbytes(ECHO_BYTES)
        return [self._send(None, ping=who_is_there)]

    def _announce_to_far(self, now_s: float) -> list[SendDatagram]:
        self._announce_due_s = float("inf")
        self._announced_s = now_s
        others = self.table.all() if self._widely else self.spoken_to(now_s)
        self._widely = False
        chosen = sample(others, ANNOUNCE_PEERS, self._rng)
        if not chosen:
            return []
        data = self._send(None).data
        return [SendDatagram(peer.info.address, data) for peer in chosen]

    def _ask_doubted(self, now_s: float) -> list[SendDatagram]:
        due = [node_id for node_id, due_s in self._doubts.items() if due_s <= now_s]
        sends = []
        for node_id in due:
            del self._doubts[node_id]
            peer = self.table.get(node_id)
            if peer is None:
                continue
            ours, theirs = self.digests(peer)
            if theirs is not None and theirs != ours:
                sends.append(self.ping(peer.info.address, node_id, now_s))
        return sends

    def _welcomes(self) -> bool:
        """Whether it is this node's turn to answer a newcomer that the whole site hears."""
        return self._rng.random() * self.table.multicasters < WELCOME_REPLIES

    def _is_known(self, address: Address) -> bool:
        return address in self._own_addresses or self.table.at(address) is not None

    def _silence_s(self) -> float:
        return silence_s(self._settings.beacon_interval_s, self.table.multicasters)

    def _send(self, destination: Address | None, *, ping: bytes = b"", pong: bytes = b"") -> SendDatagram:
        peer = self.table.at(destination) if destination is not None else None
        near = peer is not None and peer.multicast_s > float("-inf")
        site = (self._digest(wide=True), self._fetching, self.site.able)
        hello = Hello(self._me, self._digest(), self._holdings, near, ping, pong, *site)
        return SendDatagram(destination, self._envelope.seal_datagram(hello))
