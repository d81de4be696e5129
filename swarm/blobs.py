"""Fetching blobs by hash: things too large to gossip, such as torrent files and block indexes.

One blob comes from one peer at a time, in ranges, so that a blob that does not match its hash has one
culprit. A peer that lies is not asked again for that blob; one that is slow, or has it not yet, is asked
again later. Blamed is the address: anybody with the swarm key can answer under any node's id, and the node
itself would never be asked again. Pure: the core sends what `orders` returns and reports what came of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import Factory, define, frozen

from swarm.address import Address
from swarm.blob_checks import BlobCheck, check_for
from swarm.discovery.peers import PeerInfo
from swarm.wire import CHUNK_BYTES, Get

BLOB_BYTES_MAX = 32 * 1024 * 1024
"""Held in memory while it comes: the block index of a 16 GiB image. A torrent file++ is at most 8 MiB."""
BLOBS_MAX = 8
"""Blobs fetched at one time; a node works on one update and needs two."""
BLAMED_MAX = 64
"""Addresses remembered for each kind of disappointment; beyond it the oldest is forgotten. More: memory for whoever has many
addresses; fewer: he is asked again sooner."""
FOR_OTHERS_S = 300.0
"""A blob that is to be passed on is given up after so long, whatever has come of it: one that trickles in keeps other blobs
waiting. Shorter: 8 MiB do not come over a line of 256 kbit/s."""
FOR_OTHERS_GIVE_UP_S = 60.0
"""And after so long where nobody gives it. Shorter: a Pi has not made the leaves of 4 GiB by then; longer: who asked has it from
another helper, and it is fetched all the same."""
LIARS_FOR_OTHERS_MAX = 3
"""And once so many have given what cannot be: each may cost the whole length of the blob."""
PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 20.0
"""Before a peer that could not give the blob is asked for it again. A block index takes a Pi several seconds
to make."""


@frozen
class Order:
    """One range to ask one peer for."""

    kind: str
    blob_id: bytes
    node_id: bytes
    address: Address
    get: Get


@frozen
class Finished:
    """The end of a fetch: `data` matches its id, or is None and `why` says what was in the way."""

    kind: str
    blob_id: bytes
    data: bytes | None
    why: str = ""
    for_others: bool = False


@define
class _Rest:
    """Who could not give this blob is not asked before `until_s`."""

    until_s: float
    tries: int


@define
class _Fetch:
    kind: str
    blob_id: bytes
    size_bytes: int
    holders_of: bytes
    give_up_s: float
    end_s: float = float("inf")
    for_others: bool = False
    """It is to be passed on: only whoever says that it holds the image is asked, and nobody is looked for."""
    source: PeerInfo | None = None
    check: BlobCheck | None = None
    parts: list[bytes] = Factory(list)
    early: dict[int, bytes] = Factory(dict)
    """Ranges that came before the one ahead of them."""
    asked: set[int] = Factory(set)
    checked_bytes: int = 0
    liars: dict[Address, bytes] = Factory(dict)
    """Whence came what cannot be, and under which node id: whoever is elsewhere under that id comes behind all others."""
    resting: dict[Address, _Rest] = Factory(dict)
    why: str = "no peer is there to ask"

    def drop_source(self) -> None:
        self.source = None
        self.check = None
        self.parts.clear()
        self.early.clear()
        self.asked.clear()
        self.checked_bytes = 0


Candidates = Callable[[bytes, bool], Sequence[PeerInfo]]
"""Peers to ask for an image's blobs, best first, given the image's infohash, and whether it is for others."""


class BlobFetches:
    """All fetches under way. `next_s` is when `orders` should be called though nothing was reported."""

    def __init__(self, rng: random.Random, *, window: int, give_up_s: float) -> None:
        self._rng = rng
        self._window = window
        self._give_up_s = give_up_s
        self._fetches: dict[tuple[str, bytes], _Fetch] = {}
        self._silent: dict[Address, int] = {}
        """How often no answer at all came from there, since the last one that did, for whatever blob. Those who did come behind
        everybody else: a peer that says nothing costs the whole time limit of a stream, again and again."""
        self.next_s = float("inf")

    def start(
        self,
        kind: str,
        blob_id: bytes,
        size_bytes: int,
        holders_of: bytes,
        now_s: float,
        *,
        for_others: bool = False,
    ) -> Finished | None:
        """Begin; a blob that is being fetched already goes on, from whomever it can be had if that is wanted once. Returns why
        not, if it cannot be fetched at all."""
        key = (kind, blob_id)
        if key in self._fetches:
            if not for_others:
                fetch = self._fetches[key]
                fetch.give_up_s, fetch.end_s, fetch.for_others = now_s + self._give_up_s, float("inf"), False
            return None
        if check_for(kind) is None or not 1 <= size_bytes <= BLOB_BYTES_MAX:
            why = f"this node does not fetch a {kind} of {size_bytes} bytes"
            return Finished(kind, blob_id, None, why, for_others)
        if len(self._fetches) >= BLOBS_MAX:
            why = f"{BLOBS_MAX} blobs are being fetched already"
            return Finished(kind, blob_id, None, why, for_others)
        fetch = _Fetch(kind, blob_id, size_bytes, holders_of, now_s + self._give_up_s)
        if for_others:
            fetch.give_up_s, fetch.end_s, fetch.for_others = (
                now_s + FOR_OTHERS_GIVE_UP_S,
                now_s + FOR_OTHERS_S,
                True,
            )
        self._fetches[key] = fetch
        return None

    def cancel(self, kind: str, blob_id: bytes) -> None:
        """Forget it; replies still under way are ignored."""
        self._fetches.pop((kind, blob_id), None)

    def stop_for_others(self) -> None:
        """Forget those that are for others; replies still under way are ignored."""
        self._fetches = {key: fetch for key, fetch in self._fetches.items() if not fetch.for_others}

    @property
    def sourceless(self) -> bool:
        """True while some fetch has nobody to get its blob from, and this node wants it for itself."""
        return any(fetch.source is None and not fetch.for_others for fetch in self._fetches.values())

    @property
    def looked_for(self) -> list[bytes]:
        """Images (infohashes) of which this node wants something that nobody gives at this moment."""
        return [f.holders_of for f in self._fetches.values() if f.source is None and not f.for_others]

    def under_way(self, kind: str, blob_id: bytes) -> bool:
        """Whether it is being fetched."""
        return (kind, blob_id) in self._fetches

    def orders(self, now_s: float, candidates: Candidates) -> tuple[list[Order], list[Finished]]:
        """What to ask for now, and which fetches have run out of time."""
        orders: list[Order] = []
        finished: list[Finished] = []
        for key, fetch in list(self._fetches.items()):
            if fetch.end_s <= now_s or (fetch.source is None and fetch.give_up_s <= now_s):
                del self._fetches[key]
                why = f"{fetch.kind} not found: {fetch.why}"
                finished.append(Finished(*key, None, why, fetch.for_others))
                continue
            if fetch.source is None:
                self._choose_source(fetch, now_s, candidates)
            orders += self._fill_window(fetch)
        self.next_s = min((_due_s(fetch, now_s) for fetch in self._fetches.values()), default=float("inf"))
        return orders, finished

    def arrived(self, order: Order, size_bytes: int, data: bytes, now_s: float) -> Finished | None:
        """A range came. Returns the blob when it is whole and matches its id."""
        self._silent.pop(order.address, None)
        fetch = self._current(order)
        if fetch is None:
            return None
        expected = min(CHUNK_BYTES, fetch.size_bytes - order.get.offset)
        if size_bytes != fetch.size_bytes or len(data) != expected:
            self._lied(fetch, order, "its size is not the one that was signed", now_s)
            return None
        fetch.asked.discard(order.get.offset)
        fetch.early[order.get.offset] = data
        self._check_in_order(fetch)
        if fetch.checked_bytes < fetch.size_bytes or fetch.check is None:
            return None
        if fetch.check.blob_id() != fetch.blob_id:
            self._lied(fetch, order, "its bytes do not match its hash", now_s)
            return None
        del self._fetches[(fetch.kind, fetch.blob_id)]
        return Finished(fetch.kind, fetch.blob_id, b"".join(fetch.parts), for_others=fetch.for_others)

    def refused(self, order: Order, why: str, now_s: float) -> None:
        """The peer could not or would not give the range: another is asked, this one again later."""
        self._silent.pop(order.address, None)
        fetch = self._current(order)
        if fetch is None:
            return
        tries = fetch.resting[order.address].tries + 1 if order.address in fetch.resting else 1
        pause_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** (tries - 1)) * self._rng.uniform(0.75, 1.25)
        _blame(fetch.resting, order.address, _Rest(now_s + pause_s, tries))
        fetch.why = f"{order.address}: {why}"
        fetch.drop_source()

    def failed(self, order: Order, why: str, now_s: float) -> None:
        """The peer gave no answer: as `refused`, and it is asked again only when nobody else is left to ask."""
        fetch = self._current(order)
        if fetch is not None:
            times = self._silent.get(order.address, 0) + 1
            self.refused(order, why, now_s)
            _blame(self._silent, order.address, times)

    def lied(self, order: Order, why: str, now_s: float) -> None:
        """What the peer sent cannot be: it is not asked for this blob again."""
        fetch = self._current(order)
        if fetch is not None:
            self._lied(fetch, order, why, now_s)

    def called_liar(self, order: Order) -> bool:
        """True if the peer of this order has been caught with false bytes for this very blob."""
        fetch = self._fetches.get((order.kind, order.blob_id))
        return fetch is not None and order.address in fetch.liars

    def _current(self, order: Order) -> _Fetch | None:
        """The fetch an answer belongs to; None if it is over, or has turned to another peer meanwhile."""
        fetch = self._fetches.get((order.kind, order.blob_id))
        if fetch is None or fetch.source is None or fetch.source.node_id != order.node_id:
            return None
        return fetch if order.get.offset in fetch.asked else None

    def _lied(self, fetch: _Fetch, order: Order, why: str, now_s: float) -> None:
        _blame(fetch.liars, order.address, order.node_id)
        fetch.why = f"{order.address}: {why}"
        fetch.drop_source()
        if not fetch.for_others:
            fetch.give_up_s = max(fetch.give_up_s, now_s + PAUSE_MIN_S)
        elif len(fetch.liars) >= LIARS_FOR_OTHERS_MAX:
            fetch.give_up_s = now_s

    def _choose_source(self, fetch: _Fetch, now_s: float, candidates: Candidates) -> None:
        dubious = set(fetch.liars.values())
        known = candidates(fetch.holders_of, fetch.for_others)
        for peer in sorted(known, key=lambda p: (p.node_id in dubious, self._silent.get(p.address, 0))):
            rest = fetch.resting.get(peer.address)
            if peer.address in fetch.liars or (rest is not None and rest.until_s > now_s):
                continue
            fetch.source = peer
            fetch.check = check_for(fetch.kind)
            return

    def _fill_window(self, fetch: _Fetch) -> list[Order]:
        if fetch.source is None:
            return []
        orders = []
        offset = fetch.checked_bytes
        while offset < fetch.size_bytes and len(fetch.asked) < self._window:
            if offset not in fetch.asked and offset not in fetch.early:
                fetch.asked.add(offset)
                length = min(CHUNK_BYTES, fetch.size_bytes - offset)
                get = Get(fetch.kind, fetch.blob_id, offset, length)
                orders.append(
                    Order(fetch.kind, fetch.blob_id, fetch.source.node_id, fetch.source.address, get)
                )
            offset += CHUNK_BYTES
        return orders

    def _check_in_order(self, fetch: _Fetch) -> None:
        while fetch.check is not None and fetch.checked_bytes in fetch.early:
            part = fetch.early.pop(fetch.checked_bytes)
            fetch.check.add(part)
            fetch.parts.append(part)
            fetch.checked_bytes += len(part)


T = TypeVar("T")


def _blame(blamed: dict[Address, T], address: Address, what: T) -> None:
    """Remember it, as the newest of at most `BLAMED_MAX`."""
    blamed.pop(address, None)
    blamed[address] = what
    if len(blamed) > BLAMED_MAX:
        del blamed[next(iter(blamed))]


def _due_s(fetch: _Fetch, now_s: float) -> float:
    """When this fetch has something to do without hearing from anybody: its streams have time limits of their
    own."""
    if fetch.source is not None:
        return float("inf")
    rests = [rest.until_s for rest in fetch.resting.values() if rest.until_s > now_s]
    return min([fetch.give_up_s, *rests])
