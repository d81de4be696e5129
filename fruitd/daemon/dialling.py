"""Getting image bytes from and to nodes that no plain dial reaches: both sides dial at once, over uTP (BEP-29).

A node that fetches asks a far holder, by a datagram, to dial it, and dials itself in the same moment. If one of the two is
open, the one that is not comes to it; if neither is, their dials open the doors for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarm.address import Address
from swarm.discovery.meeting import HOLDING_BYTES, Dial
from swarm.effects import DialWanted
from swarm.transfer.port import TransferPeer

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

ASKED_MAX = 8
"""Far holders asked at once to dial."""
IN_VAIN_MAX = 1
"""An open node dials plainly so often before it asks to be dialled: TCP is quicker where it gets through."""


class Dialling:
    """Of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._in_vain: Counter[bytes] = Counter()

    def offered(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """These hold what is being fetched, and were dialled plainly: what else can be done about those that gave nothing yet."""
        daemon = self._daemon
        moving = daemon.transfer.progress(infohash)
        gave = {source.node_id for source in moving.sources if source.received_bytes} if moving else set()
        far = [peer for peer in peers if not peer.same_site and peer.node_id not in gave]
        self._in_vain = Counter({peer.node_id: self._in_vain[peer.node_id] + 1 for peer in far})
        is_open = daemon.reach.is_open(daemon.time.now_s())
        chosen = [p for p in far if not is_open or self._in_vain[p.node_id] > IN_VAIN_MAX][:ASKED_MAX]
        if not chosen:
            return
        control = {peer.node_id: peer.address for peer in daemon.core.swarm.peers()}
        dial = Dial(infohash[:HOLDING_BYTES], daemon.transfer.port)
        daemon.submit(
            [daemon.core.swarm.say(dial, control[p.node_id]) for p in chosen if p.node_id in control]
        )
        self._knock(infohash, chosen)

    def wanted(self, effect: DialWanted) -> None:
        """A peer dials this node for an image: dial it too, if the image is here."""
        for infohash in map(bytes.fromhex, self._daemon.jobs.moving):
            if infohash.startswith(effect.holding):
                self._knock(infohash, [_peer(effect.node_id, effect.address)])

    def _knock(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        daemon = self._daemon
        shut_in = daemon.core.swarm.shut_in(daemon.time.now_s())
        daemon.transfer.knock(infohash, peers, over_utp=not shut_in)


def _peer(node_id: bytes, address: Address) -> TransferPeer:
    return TransferPeer(node_id, address, same_site=False)
