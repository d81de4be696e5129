"""Relaying, where the owner allows it: images that other sites cannot get from each other are fetched for them. Pure.

For sites behind translators that show each peer another port, or behind firewalls, none of which can reach another: their images
go by way of a node that all of them reach. It is a stop on the way and no pipe: the image is fetched like any other, into the
room for parcels, and served from there like a parcel (docs/adr/0025-nat.md).

Whoever asks decides nothing: only images that a manifest names are fetched, one at a time, each once in a while, and only where
somebody else says that he holds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define

from fruitd.amounts import size
from fruitd.node.effects import KeepTorrent, OfferPeers, RelayImage, StopSeed
from fruitd.node.installing import OFFER_PEERS_EVERY_S, Effects, transfer_peer
from fruitd.node.library import Library
from fruitd.node.passing_on import PassingOn
from fruitd.node.powering import Powering
from fruitd.power.part import PowerPart
from fruitd.updater.effects import Effect as UpdateEffect
from fruitd.updater.effects import Note
from fruitd.updater.journal import State, Target
from fruitd.updater.machine import Updater
from fruitd.updater.table import WORKING
from swarm.core import SwarmCore
from swarm.effects import HoldersSought, Refused
from swarm.errors import RefusedError
from swarm.news.store import RecordStore
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Release
from swarm.trust.trusted_set import TrustedSet

PATIENCE_S = 30.0
"""An image has been sought for so long at least. Shorter: fetched for somebody who is just about to be brought together with a
holder; longer: the wait of who cannot be."""
FORGET_S = 600.0
"""Sought again after so long a silence, it is sought anew; and what is on its way is stopped. Shorter: for a seeker that starts
anew; longer: this node's line is used for nobody."""
WHOLE_S = 24 * 3600.0
"""An image that is not here by then makes way for others that are sought: its holder may have lied, or be gone."""
AGAIN_S = 6 * 3600.0
"""One image is fetched for others once in this time. Shorter: where the room is too small for two that are sought in turn, both
go over this node's line again and again; longer: who comes when it has been dropped waits."""


@define
class _Sought:
    first_s: float
    last_s: float


class Relaying(Powering):
    """What is sought by others, and the one image that is on its way for them."""

    def __init__(
        self,
        swarm: SwarmCore,
        trusted: TrustedSet,
        updater: Updater | None,
        library: Library,
        store: RecordStore,
        identity: SecretKey,
        power: PowerPart | None,
        passing_on: PassingOn,
        *,
        relay_images: bool,
    ) -> None:
        """`relay_images`: whether the owner allows it."""
        super().__init__(swarm, trusted, updater, library, store, identity, power)
        self.passing_on = passing_on
        self._relay_images = relay_images
        self._relayed: Release | None = None
        """On its way."""
        self._relayed_since_s = 0.0
        self._relay_due_s = float("inf")
        self._relay_again_s: dict[bytes, float] = {}
        self._sought: dict[bytes, _Sought] = {}

    # ------------------------------------------------------------------ what the host says

    def image_relayed(self, infohash: str, now_s: float) -> Effects:
        """RelayImage is done: all of it is here, and is served from now on."""
        release = self._relayed
        if release is None or release.infohash.hex() != infohash:
            return []
        self._forget_relayed()
        cache = self.library.cache
        cache.whole(infohash)
        served = self.library.took_over(infohash, cache.path_of(infohash), parcel=False)
        words = f"the image, {size(release.length_bytes)}, is here for others"
        return [
            *served,
            Note("relayed", words, release.release, release.version),
            *self._tell_holdings(now_s),
        ]

    def relay_failed(self, infohash: str, why: str, now_s: float) -> Effects:
        """RelayImage cannot go on."""
        release = self._relayed
        if release is None or release.infohash.hex() != infohash:
            return []
        note = Note("not relayed", f"the image for others: {why}", release.release, release.version)
        return [note, *self._drop(infohash), *self._tell_holdings(now_s)]

    # ------------------------------------------------------------------ what others seek

    def _holders_sought(self, sought: HoldersSought, now_s: float) -> Effects:
        """A peer knows nobody whom it could get an image from, or not enough of them."""
        if not self._relay_images or not self._may_relay():
            return []
        release = next((r for r in self.passing_on.releases() if r.infohash.startswith(sought.holding)), None)
        if release is None or not self.swarm.elsewhere(sought.asker.host):
            return []
        infohash, host = release.infohash, sought.asker.host
        if infohash in self.library.holdings(self._target()):
            return []
        if not self.passing_on.held_by_another(infohash, host, now_s) or not self._patient(infohash, now_s):
            return []
        if self._relayed is not None or now_s < self._relay_again_s.get(infohash, float("-inf")):
            return []
        torrent = self.library.blob("torrent", release.torrent_sha256)
        if torrent is None:
            return self._from_swarm(self.passing_on.fetch_torrent(release, now_s), now_s)
        return self._relay(release, torrent, now_s)

    def _patient(self, infohash: bytes, now_s: float) -> bool:
        """Has it been sought for long enough? Remembered is only what manifests name."""
        self._sought = {h: s for h, s in self._sought.items() if now_s - s.last_s <= FORGET_S}
        sought = self._sought.setdefault(infohash, _Sought(now_s, now_s))
        sought.last_s = now_s
        return now_s - sought.first_s >= PATIENCE_S

    def _may_relay(self) -> bool:
        """Not over an uplink that images may not use, nor beside an update of this node's own."""
        return self.unable is None and self._state() not in WORKING

    def _relay(self, release: Release, torrent: bytes, now_s: float) -> Effects:
        try:
            self.trusted.check_torrent(release, torrent)
        except RefusedError as error:
            return [Refused("torrent", str(error), "peers", error.reason)]
        self._relay_again_s = {h: s for h, s in self._relay_again_s.items() if now_s < s}
        self._relay_again_s[release.infohash] = now_s + AGAIN_S
        infohash, cache = release.infohash.hex(), self.library.cache
        going = cache.make_room(infohash, release.length_bytes, self._named())
        if going is None:
            words = (
                f"the image for others has {size(release.length_bytes)}, the cache for parcels has "
                f"{size(cache.bytes_max)}: [transfer] parcel_cache_bytes"
            )
            return [Note("not relayed", words, release.release, release.version)]
        dropped = [effect for other in going for effect in self._drop(other)]
        self.library.shelve(torrent)
        self._relayed, self._relayed_since_s = release, now_s
        self._relay_due_s = now_s
        words = f"fetching the image, {size(release.length_bytes)}, for sites that cannot reach each other"
        return [
            *dropped,
            KeepTorrent(release.torrent_sha256.hex(), torrent),
            Note("relaying", words, release.release, release.version),
            RelayImage(infohash, torrent, cache.path_of(infohash), release.length_bytes),
            *self._tell_holdings(now_s),
        ]

    # ------------------------------------------------------------------ on its way

    def _work_on_relaying(self, now_s: float) -> Effects:
        """Time has passed: whom to fetch it from, unless it may not go on."""
        release = self._relayed
        if release is None or now_s < self._relay_due_s:
            return []
        if not self._may_relay():
            return self._stop_relaying(release, now_s)
        sought = self._sought.get(release.infohash)
        if now_s - self._relayed_since_s > WHOLE_S or sought is None or now_s - sought.last_s > FORGET_S:
            return self.relay_failed(release.infohash.hex(), "it did not come, or nobody seeks it", now_s)
        self._relay_due_s = now_s + OFFER_PEERS_EVERY_S
        holders = self.swarm.holders(release.infohash)
        peers = tuple(transfer_peer(peer) for peer in holders if peer.transfer_port)
        seek = self._from_swarm(self.swarm.seek_holders(release.infohash, now_s), now_s)
        return [OfferPeers(release.infohash.hex(), peers, self._transfer_mates()), *seek]

    def _updated(
        self,
        updater: Updater,
        asked: Iterable[UpdateEffect],
        before: tuple[State, Target | None],
        now_s: float,
    ) -> Effects:
        """An update of this node's own begins, perhaps of the very image that is on its way: first that is stopped."""
        effects = super()._updated(updater, asked, before, now_s)
        if self._relayed is None or self._may_relay():
            return effects
        return [*self._stop_relaying(self._relayed, now_s), *effects]

    def _stop_relaying(self, release: Release, now_s: float) -> Effects:
        """What has come stays in the cache: if it is still sought later on, the rest is fetched."""
        self._forget_relayed()
        self._relay_again_s.pop(release.infohash, None)
        return [StopSeed(release.infohash.hex()), *self._tell_holdings(now_s)]

    def _forget_relayed(self) -> None:
        self._relayed, self._relay_due_s = None, float("inf")

    def _for_others(self) -> bytes | None:
        return self._relayed.infohash if self._relayed is not None else None

    def _drop(self, infohash: str) -> Effects:
        """What makes room in the cache is on its way no more."""
        if self._relayed is None or self._relayed.infohash.hex() != infohash:
            return super()._drop(infohash)
        self._forget_relayed()
        return [StopSeed(infohash), *super()._drop(infohash)]
