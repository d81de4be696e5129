"""Passing on: torrents and leaves that peers ask for in vain are fetched for them from a peer that holds the image. Pure.

For sites that cannot exchange datagrams (both behind translators that show each peer another port) and know this node both
(docs/adr/0025-nat.md). Whoever asks decides nothing: only what a manifest names is fetched, one blob at a time, each once in a
while, and only from peers that say they hold the image. A node that says so itself passes nothing of that image on. So a question
goes on to one node and ends there.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from attrs import define, frozen

from bep35.merkle import BLOCK_BYTES, HASH_BYTES
from fruitd.node.library import Library
from fruitd.node.passed_shelf import PASSED_BLOB_BYTES_MAX
from swarm.core import SwarmCore
from swarm.effects import BlobFetched, BlobGiven, BlobWanted, SwarmEffect
from swarm.me import HOLDING_BYTES
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.trust.manifest import Manifest, NamedParcel, Release
from swarm.trust.trusted_set import MANIFEST_KIND

PATIENCE_S = 10.0
"""Who asks has been asking for so long at least. Shorter: a holder that is just making its leaves has everybody who is asked
meanwhile fetch them too; longer: sites that cannot get them otherwise wait."""
PATIENCE_EACH_S = 10.0
OTHERS_MAX = 32
"""And up to so much longer for each peer of another site that this node knows, drawn by lot: they are asked as well, at the same
time, and the first that has it is enough. An asker comes back within 25 s (`swarm.blobs`), so about two begin before it knows,
however many are asked. Shorter: more of them fetch it, from one holder behind a thin line; longer: the wait."""
GUESS_S = 180.0
"""And so much longer where leaves are asked for and none of the torrents that are here is their image's, so that another one is
fetched to see. Shorter: everybody who is asked for leaves fetches the torrent, while one that has it is getting the leaves;
longer: helpers that were all started again meanwhile need longer to be of use."""
AGAIN_S = 900.0
"""One blob is fetched for others once in this time. Shorter: somebody who asks without end, or a holder that gives nonsense,
costs this node's uplink more; longer: who comes when it has been dropped, or when the holder was away, waits."""
FORGET_S = 600.0
"""A blob that nobody asked for in this time is a new wish when it is asked for again."""


@frozen
class Named:
    """A blob that a manifest names, by its hash or by the torrent that it names."""

    kind: str
    blob_id: bytes
    size_bytes: int
    infohash: bytes
    """Whose holders have it."""
    guessed: bool = False
    """It is a torrent that may tell of what image the leaves are that were asked for."""


@define
class _Asked:
    first_s: float
    last_s: float
    patience_s: float


class PassingOn:
    """What was asked for in vain, and what of it this node gets for others."""

    def __init__(self, swarm: SwarmCore, store: RecordStore, library: Library, rng: random.Random) -> None:
        self._swarm = swarm
        self._store = store
        self._library = library
        self._rng = rng
        self._manifests: list[Record] = []
        self._releases: list[Release] = []
        self._asked: dict[Named, _Asked] = {}
        self._again_s: dict[tuple[str, bytes], float] = {}
        self._under_way: tuple[str, bytes] | None = None
        self.given_bytes = 0
        """Of blobs that were fetched for others, since the start."""

    def asked(self, wanted: BlobWanted, own: Collection[bytes], now_s: float) -> list[SwarmEffect]:
        """A peer asked for a blob that is not here. Begins to fetch it, if it is time for that.

        Args:
            wanted: what, and by whom.
            own: infohashes of what this node says it holds.
        """
        if not self._swarm.elsewhere(wanted.asker.host):
            return []
        for named in self._named(wanted.kind, wanted.blob_id):
            fits = named.infohash not in own and named.size_bytes <= PASSED_BLOB_BYTES_MAX
            if fits and self.held_by_another(named.infohash, wanted.asker.host, now_s):
                return self._wish(named, now_s)
        return []

    def held_by_another(self, infohash: bytes, host: str, now_s: float) -> bool:
        """Does somebody say that he holds it who is not the asker? That one may, while he is still getting it."""
        return any(
            peer.address.host != host or peer.holds_whole(infohash[:HOLDING_BYTES])
            for peer in self._swarm.heard_holders(infohash, now_s)
        )

    def fetched(self, blob: BlobFetched, now_s: float) -> None:
        """A blob for others has come."""
        self._library.passed.put(blob.kind, blob.blob_id, blob.data, now_s)

    def given(self, given: BlobGiven, now_s: float) -> None:
        """A peer was given so much of some blob."""
        if self._library.passed.given(given.kind, given.blob_id, now_s):
            self.given_bytes += given.size_bytes

    def _wish(self, named: Named, now_s: float) -> list[SwarmEffect]:
        return self._get(named, now_s) if self._has_waited(named, now_s) else []

    def fetch_torrent(self, release: Release, now_s: float) -> list[SwarmEffect]:
        """This node needs a torrent that is not here, to relay its image: like one that was asked for long enough."""
        return self._get(
            Named("torrent", release.torrent_sha256, release.torrent_bytes, release.infohash), now_s
        )

    def _get(self, named: Named, now_s: float) -> list[SwarmEffect]:
        key = (named.kind, named.blob_id)
        if now_s < self._again_s.get(key, float("-inf")):
            return []
        if self._swarm.fetches(*key) or (
            self._under_way is not None and self._swarm.fetches(*self._under_way)
        ):
            return []
        self._under_way = key
        self._again_s = {k: again_s for k, again_s in self._again_s.items() if now_s < again_s}
        self._again_s[key] = now_s + AGAIN_S
        return self._swarm.fetch_for_others(*key, named.size_bytes, named.infohash, now_s)

    def _has_waited(self, named: Named, now_s: float) -> bool:
        """Has it been asked for long enough? Remembered is only what manifests name."""
        self._asked = {n: asked for n, asked in self._asked.items() if now_s - asked.last_s <= FORGET_S}
        asked = self._asked.get(named)
        if asked is None:
            others = min(sum(not peer.same_site for peer in self._swarm.peers()), OTHERS_MAX)
            patience_s = PATIENCE_S + self._rng.uniform(0.0, PATIENCE_EACH_S * others)
            patience_s += GUESS_S if named.guessed else 0.0
            asked = self._asked[named] = _Asked(now_s, now_s, patience_s)
        asked.last_s = now_s
        return now_s - asked.first_s >= asked.patience_s

    # ------------------------------------------------------------------ what manifests name

    def _named(self, kind: str, blob_id: bytes) -> Iterator[Named]:
        """What would help whoever asks for this blob, the best first."""
        releases = self.releases()
        if kind == "torrent":
            for release in releases:
                rows: tuple[Release | NamedParcel, ...] = (release, *release.parcels)
                for row in rows:
                    if row.torrent_sha256 == blob_id:
                        yield Named(kind, blob_id, row.torrent_bytes, row.infohash)
        if kind != "leaves":
            return
        roots = [(self._library.pieces_root(release), release) for release in releases]
        for root, release in roots:
            if root == blob_id:
                leaves_bytes = -(-release.length_bytes // BLOCK_BYTES) * HASH_BYTES
                yield Named(kind, blob_id, leaves_bytes, release.infohash)
                return
        for root, release in roots:
            if root is None:  # they may be of this image: its torrent would tell
                sha256, size_bytes = release.torrent_sha256, release.torrent_bytes
                yield Named("torrent", sha256, size_bytes, release.infohash, guessed=True)

    def releases(self) -> list[Release]:
        """The releases of all manifests that are believed and not in dispute, of whatever channel."""
        entries = [entry.record for entry in self._store.entries(MANIFEST_KIND)]
        manifests = [record for record in entries if record is not None]
        if manifests != self._manifests:
            self._manifests = manifests
            self._releases = [row for record in manifests for row in Manifest.decode(record.body).releases]
        return self._releases
