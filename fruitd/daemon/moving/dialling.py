"""Getting image bytes from and to nodes: a plain dial where that gets through, and both sides at once where it does not (BEP-29).

Each holder in another site is tried first, by a connection that is closed again. If that gets nowhere, the holder is asked by a
datagram to dial this node, which dials it in the same moment, over uTP: if one of the two is open, the one that is not comes to
it; if neither is, their dials open the doors for each other. libtorrent cannot be left to find that out: it dials everybody over
uTP as long as that is allowed, and waits five seconds for a plain dial to fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from swarm.address import Address
from swarm.discovery.gateway import ranked
from swarm.discovery.meeting import HOLDING_BYTES, Dial
from swarm.discovery.peers import PeerInfo
from swarm.effects import DialWanted
from swarm.transfer.port import TransferPeer

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

ASKED_MAX = 8
"""Far holders asked at once to dial."""
TRY_S = 1.5
"""So long a plain dial may take to get through. Shorter: uTP where TCP would have got through, which takes twice the processor
time, is several times as slow on a LAN, and was seen to stand still for half a minute. Longer: two nodes behind translators begin
later."""
TRIES_MAX = 16
"""At once. More: a holder of a large swarm is tried by all others in the same second."""
FAR_MAX = 64
"""Holders in other sites that anything is done about, those first that most likely let this node in. More: memory and tries for
connections that nobody has room for."""
KNOWN_S = 60.0
"""How long the answer counts: lines and translators change."""
KNOWN_MAX = 8 * FAR_MAX


@frozen
class _Found:
    is_open: bool
    at_s: float


class Dialling:
    """Of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._found: dict[Address, _Found] = {}
        """Where a plain dial gets through, and where it does not."""
        self._trying: set[Address] = set()
        self._latest: tuple[bytes, Sequence[TransferPeer]] = (b"", ())

    def offer(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """These hold what is being fetched, best first: have them dialled; repeats are harmless."""
        holding, known = infohash[:HOLDING_BYTES], {p.node_id: p for p in self._daemon.core.swarm.peers()}
        elsewhere = [peer for peer in peers if not peer.same_site and peer.node_id in known]
        far = likeliest(holding, elsewhere, known)[:FAR_MAX]
        moving = self._daemon.transfer.progress(infohash)
        connected = moving.connected if moving else frozenset()
        gave = {source.node_id for source in moving.sources if source.received_bytes} if moving else set()
        # Of a site only the gateway and whoever is whole let others in: beside one that gives, only those are dialled.
        giving = {peer.address.host for peer in far if peer.node_id in connected & gave}
        missed = [
            peer
            for peer in far
            if peer.node_id not in connected
            and (peer.address.host not in giving or known[peer.node_id].holds_whole(holding))
        ]
        mates = [peer for peer in peers if peer.same_site]
        self._latest = (infohash, [*mates, *(peer for peer in far if peer.node_id in connected), *missed])
        self._dial_plainly()
        self._meet(infohash, [p for p in missed if self._is_open(p.address) is False][:ASKED_MAX], known)
        self._try([peer.address for peer in missed if self._is_open(peer.address) is None])

    def wanted(self, effect: DialWanted) -> None:
        """A peer dials this node for an image: dial it too, if the image is here."""
        for infohash in map(bytes.fromhex, self._daemon.jobs.moving):
            if infohash.startswith(effect.holding):
                self._knock(infohash, [TransferPeer(effect.node_id, effect.address, same_site=False)])

    def _dial_plainly(self) -> None:
        infohash, peers = self._latest
        shut = [p if p.same_site or self._is_open(p.address) else evolve(p, shut=True) for p in peers]
        self._daemon.transfer.offer_peers(infohash, shut)

    # ------------------------------------------------------------------ who is open

    def _is_open(self, address: Address) -> bool | None:
        """Whether a plain dial gets through there; None where that is not known."""
        found = self._found.get(address)
        if found is None or self._daemon.time.now_s() - found.at_s > KNOWN_S:
            return None
        return found.is_open

    def _try(self, addresses: Sequence[Address]) -> None:
        """Those that are heard of later do not wait for the answers of the first."""
        nursery = self._daemon.jobs.nursery
        new = [each for each in addresses if each not in self._trying][: TRIES_MAX - len(self._trying)]
        if new and nursery is not None:
            self._trying.update(new)
            nursery.start_soon(self._try_all, new)

    async def _try_all(self, addresses: Sequence[Address]) -> None:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(self._try_one, address)
        self._trying.difference_update(addresses)
        self.offer(*self._latest)

    async def _try_one(self, address: Address) -> None:
        is_open = await gets_through(address)
        self._found.pop(address, None)
        self._found[address] = _Found(is_open, self._daemon.time.now_s())
        if len(self._found) > KNOWN_MAX:
            del self._found[next(iter(self._found))]
        if is_open:
            self._dial_plainly()

    # ------------------------------------------------------------------ from both sides

    def _meet(self, infohash: bytes, peers: Sequence[TransferPeer], known: Mapping[bytes, PeerInfo]) -> None:
        """Ask these to dial this node, and dial them at the same moment."""
        if not peers:
            return
        swarm = self._daemon.core.swarm
        dial = Dial(infohash[:HOLDING_BYTES], self._daemon.transfer.port)
        self._daemon.submit([swarm.say(dial, known[peer.node_id].address) for peer in peers])
        self._knock(infohash, peers)

    def _knock(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        daemon = self._daemon
        shut_in = daemon.core.swarm.shut_in(daemon.time.now_s())
        daemon.transfer.knock(infohash, peers, over_utp=not shut_in)


async def gets_through(address: Address) -> bool:
    """Whether somebody takes a connection there in time. Nothing is said on it."""
    try:
        with trio.move_on_after(TRY_S) as waiting:
            stream = await trio.open_tcp_stream(address.host, address.port)
            await trio.aclose_forcefully(stream)
    except OSError:
        return False
    return not waiting.cancelled_caught


def likeliest(
    holding: bytes, peers: Sequence[TransferPeer], known: Mapping[bytes, PeerInfo]
) -> list[TransferPeer]:
    """Those first that most likely let this node in: of each outside address who is whole, then who is the gateway there as far
    as can be seen from here; then the second of each, and so on.

    Args:
        holding: first 8 bytes of the infohash.
        peers: each in `known`, by its node id.
    """
    behind: dict[str, list[TransferPeer]] = {}
    for peer in peers:
        behind.setdefault(peer.address.host, []).append(peer)
    turns: list[tuple[int, TransferPeer]] = []
    for mates in behind.values():
        rank = {node_id: place for place, node_id in enumerate(ranked(holding, [m.node_id for m in mates]))}
        infos = {mate.node_id: known[mate.node_id] for mate in mates}
        mates.sort(
            key=lambda m: (
                not infos[m.node_id].holds_whole(holding),
                not infos[m.node_id].able,
                rank[m.node_id],
            )
        )
        turns += enumerate(mates)
    return [peer for _, peer in sorted(turns, key=lambda turn: turn[0])]
