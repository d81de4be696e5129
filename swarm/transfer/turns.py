"""Whom to ask for an image after libtorrent has banned somebody: all at once, or one at a time. Pure.

libtorrent bans whoever gave a block that fails its hash, and can take an honest peer for the liar: hashes of single blocks come
a while after a piece has failed, and by then the block may be coming again, from somebody else, who is blamed for it (2.1.1,
`torrent::add_hashes`). A ban cannot be lifted; where it hit the only honest holder, the image would never come. So when nothing
more comes after a ban, the image is begun again, which forgets bans and keeps every piece that was right, and from then on the
holders are asked one at a time: a piece that is wrong then has one giver, and whoever is banned in its own turn is a liar.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define, frozen

from swarm.address import Address
from swarm.transfer.port import TransferPeer

GUILTY_MAX = 64
"""Liars remembered of one image; beyond it the first is tried again, which costs one piece."""


@frozen
class Turn:
    """Whom to dial now; `again`: the image has to be begun again first, which ends all connections."""

    peers: Sequence[TransferPeer]
    again: bool = False


@define
class Turns:
    """The turns of one image.

    Args:
        stall_s: nothing came for so long: the next one's turn. Smaller gives up on slow peers, larger waits longer for silent
            ones.
        piece_s_max: no whole piece came for so long: the same. Smaller starves a thin line, which needs 80 s for a piece of
            4 MiB at 50 KB/s; larger waits longer for a liar that trickles.
    """

    stall_s: float
    piece_s_max: float
    _banned: bool = False
    _alone: TransferPeer | None = None
    _last: bytes = b""
    """Whose turn it was last."""
    _guilty: dict[Address, None] = Factory(dict)
    _pieces: int = -1
    _piece_s: float = 0.0
    _received_bytes: int = -1
    _moved_s: float = 0.0

    def banned(self, address: Address) -> None:
        """libtorrent has banned the peer that listens here."""
        self._banned = True
        if self._alone is not None and self._alone.address == address:
            self._guilty[address] = None
            self._alone = None
            if len(self._guilty) > GUILTY_MAX:
                del self._guilty[next(iter(self._guilty))]

    def whom(self, offered: Sequence[TransferPeer], pieces: int, received_bytes: int, now_s: float) -> Turn:
        """Whom to dial, of those that hold the image.

        Args:
            offered: best first, without this node itself.
            pieces: how many are here and right.
            received_bytes: right or wrong.
            now_s: steady time.
        """
        if pieces != self._pieces:
            self._pieces, self._piece_s = pieces, now_s
        if received_bytes != self._received_bytes:
            self._received_bytes, self._moved_s = received_bytes, now_s
        silent = now_s - self._moved_s >= self.stall_s or now_s - self._piece_s >= self.piece_s_max
        if not self._banned or not (silent or self._last):
            return Turn(offered)
        if self._alone is not None and not silent:
            return Turn([self._alone])
        chosen = self._next(offered)
        if chosen is None:
            return Turn([])
        self._alone, self._last = chosen, chosen.node_id
        self._moved_s = self._piece_s = now_s
        return Turn([chosen], again=True)

    def _next(self, offered: Sequence[TransferPeer]) -> TransferPeer | None:
        """The one behind whoever was last, round and round; liars only where there are no others."""
        if offered and all(peer.address in self._guilty for peer in offered):
            self._guilty.clear()
        ids = [peer.node_id for peer in offered]
        begin = ids.index(self._last) + 1 if self._last in ids else 0
        in_turn = [*offered[begin:], *offered[:begin]]
        return next((peer for peer in in_turn if peer.address not in self._guilty), None)
