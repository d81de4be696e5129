"""What this node can give to others: torrent files++, leaves, and images in slots or in shared files. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from attrs import frozen

from bep35.errors import Bep35Error
from bep35.metainfo import Metainfo, parse
from fruitd.node.effects import KeepShare, MakeLeaves, NodeEffect, StartSeed, StopSeed
from fruitd.node.leaf_shelf import LeafShelf
from fruitd.node.parcel_cache import ParcelCache
from fruitd.node.passed_shelf import PassedShelf
from fruitd.updater.journal import SLOTS, Target
from swarm.trust.manifest import Release

SHARES_MAX = 4
"""Published image files served at once; the oldest go first. More: a publisher serves releases nobody needs any more. Fewer:
a release that failed on this node is gone before slow nodes, or those for other hardware, have come for theirs."""


PARCELS_MAX = 8
"""Parcels served at once, published or from the cache; the oldest go first. With images and slots they are at most as many as
a hello names (`HOLDINGS_MAX`)."""

MAKE_AGAIN_GAP_S = 5.0
"""Least time between two times of making the leaves of one image for peers. Shorter: an image that cannot be read is tried, and
complained about, at every question; longer: a node waits for what was dropped from the shelf just before it asked."""


@frozen
class Share:
    """A file outside the slots that this node serves: an image that was published here or is relayed, or a parcel."""

    infohash: str
    path: str
    parcel: bool = False


@frozen
class _Shelved:
    metainfo: Metainfo
    sha256: bytes


class Library:
    """Torrents by infohash (hex), what of their images is served, and from where."""

    def __init__(
        self, torrents: Iterable[bytes], shares: Sequence[Share], cache: ParcelCache | None = None
    ) -> None:
        """`cache`: what is kept of parcels; None: nothing."""
        self.leaves = LeafShelf()
        self.passed = PassedShelf()
        self.cache = cache or ParcelCache("", 0)
        self._torrents: dict[str, _Shelved] = {}
        self._shares = {share.infohash: share for share in shares}
        self._served: dict[str, str] = {}
        """Infohash -> "a", "b" or the path of a shared file."""
        self._made_s: dict[bytes, float] = {}
        for raw in torrents:
            self.shelve(raw)

    def shelve(self, raw: bytes) -> Metainfo | None:
        """Keep a torrent; None where it cannot be read (a torn file on disk: it will be fetched again)."""
        try:
            metainfo = parse(raw)
        except Bep35Error:
            return None
        self._torrents[metainfo.infohash.hex()] = _Shelved(metainfo, hashlib.sha256(raw).digest())
        return metainfo

    def torrent(self, infohash: str) -> Metainfo | None:
        """The torrent of an image, if it is here."""
        found = self._torrents.get(infohash)
        return found.metainfo if found else None

    def torrent_with(self, infohash: str, sha256: str) -> Metainfo | None:
        """The same, but only the very file that a manifest names."""
        found = self._torrents.get(infohash)
        return found.metainfo if found and found.sha256.hex() == sha256 else None

    def blob(self, kind: str, blob_id: bytes) -> bytes | None:
        """What peers fetch by hash: this node's own, or what it got for them."""
        found = None
        if kind == "leaves":
            found = self.leaves.get(blob_id)
        elif kind == "torrent":
            found = next((t.metainfo.raw for t in self._torrents.values() if t.sha256 == blob_id), None)
        return found if found is not None else self.passed.get(kind, blob_id)

    def pieces_root(self, release: Release) -> bytes | None:
        """Of an image whose torrent is here, if only for others."""
        found = self.torrent_with(release.infohash.hex(), release.torrent_sha256.hex())
        return found.pieces_root if found is not None else self.passed.pieces_root(release.torrent_sha256)

    def share_path(self, infohash: str) -> str | None:
        """Where a shared image file of this image lies."""
        share = self._shares.get(infohash)
        return share.path if share else None

    def holdings(self, target: Target | None, beside: bytes | None = None) -> list[bytes]:
        """Infohashes that peers may come for: what is served, and what is being fetched (its torrent at least); `beside`: of a
        parcel, or for others."""
        held = {bytes.fromhex(infohash) for infohash in self._served}
        if beside is not None and beside.hex() in self._torrents:
            held.add(beside)
        if target is not None and target.infohash in self._torrents:
            held.add(bytes.fromhex(target.infohash))
        return sorted(held)

    def make_leaves(self, pieces_root: bytes) -> list[NodeEffect]:
        """Leaves can be made from an image that is served here."""
        for infohash, place in self._served.items():
            found = self._torrents[infohash].metainfo
            if found.pieces_root == pieces_root:
                slot = place if place in SLOTS else None
                return [MakeLeaves(pieces_root, found.length_bytes, slot, None if slot else place)]
        return []

    def leaves_wanted(self, pieces_root: bytes, now_s: float) -> list[NodeEffect]:
        """A peer asked for leaves that are not ready: they are being made soon, where that can be done here.

        Remembered is only what is made, so that nobody's questions for other things stand in the way of this.
        """
        self._made_s = {root: s for root, s in self._made_s.items() if now_s - s < MAKE_AGAIN_GAP_S}
        if pieces_root in self._made_s:
            return []
        effects = self.make_leaves(pieces_root)
        if effects:
            self._made_s[pieces_root] = now_s
        return effects

    # ------------------------------------------------------------------ serving

    def serve_shares(self) -> list[NodeEffect]:
        """Serve every shared file whose torrent is here: at the start."""
        return [effect for share in list(self._shares.values()) for effect in self._serve_share(share)]

    def share(self, infohash: str, sha256: str, path: str, *, parcel: bool = False) -> list[NodeEffect]:
        """Serve this file from now on, across restarts, unless it is served already."""
        if infohash in self._served:
            return []
        share = Share(infohash, path, parcel)
        self._shares[infohash] = share
        effects: list[NodeEffect] = [KeepShare(infohash, sha256, path, parcel), *self._serve_share(share)]
        alike = [share.infohash for share in self._shares.values() if share.parcel == parcel]
        for oldest in alike[: max(len(alike) - (PARCELS_MAX if parcel else SHARES_MAX), 0)]:
            effects += self.forget_share(oldest)
        return effects

    def shares(self) -> list[Share]:
        """What is shared from outside the slots, the oldest first."""
        return list(self._shares.values())

    def took_over(self, infohash: str, path: str, *, parcel: bool = True) -> list[NodeEffect]:
        """A parcel that was being fetched, or an image for others, is whole; its transfer goes on by serving it."""
        shelved = self._torrents.get(infohash)
        if shelved is None:
            return []
        self._served[infohash] = path
        self._shares[infohash] = Share(infohash, path, parcel)
        return [KeepShare(infohash, shelved.sha256.hex(), path, parcel)]

    def forget_share(self, infohash: str) -> list[NodeEffect]:
        """Share this file no more."""
        share = self._shares.pop(infohash)
        shelved = self._torrents.get(infohash)
        sha256 = shelved.sha256.hex() if shelved else ""
        effects: list[NodeEffect] = [KeepShare(infohash, sha256, None, share.parcel)]
        if self._served.get(infohash, "a") not in SLOTS:
            del self._served[infohash]
            effects.append(StopSeed(infohash))
        return effects

    def unshare(self, target: Target) -> list[NodeEffect]:
        """The shared file is not to be relied on any more, or not needed."""
        effects: list[NodeEffect] = []
        if self._shares.pop(target.infohash, None) is not None:
            effects.append(KeepShare(target.infohash, target.torrent_sha256, None))
        if self._served.get(target.infohash, "a") not in SLOTS:
            del self._served[target.infohash]
            effects.append(StopSeed(target.infohash))
        return effects

    def serve_slot(self, target: Target | None, slot: str | None) -> list[NodeEffect]:
        """Serve this image from this slot, and nothing else from slots."""
        effects: list[NodeEffect] = []
        wanted = (target.infohash, slot) if target else None
        for infohash, place in list(self._served.items()):
            if place in SLOTS and (infohash, place) != wanted:
                del self._served[infohash]
                effects.append(StopSeed(infohash))
                # Given up here, perhaps because it failed its trial; others may still come for what was published here.
                if infohash in self._shares:
                    effects += self._serve_share(self._shares[infohash])
        if target is None or slot is None or self._served.get(target.infohash) == slot:
            return effects
        metainfo = self.torrent(target.infohash)
        if metainfo is None:
            return effects
        if self._served.pop(target.infohash, None) is not None:
            effects.append(StopSeed(target.infohash))
        self._served[target.infohash] = slot
        effects.append(StartSeed(target.infohash, metainfo.raw, target.length_bytes, slot, None))
        return effects

    def _serve_share(self, share: Share) -> list[NodeEffect]:
        metainfo = self.torrent(share.infohash)
        if metainfo is None:
            return []
        self._served[share.infohash] = share.path
        return [StartSeed(share.infohash, metainfo.raw, metainfo.length_bytes, None, share.path)]
