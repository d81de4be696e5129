"""The node core with its journal saved at every call, before anything else can happen.

The journal is saved on the event loop, a few times an update, although a slow card makes the loop wait for it: so no second
event can reach the updater while it is unknown whether what it decided is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fruitd.boot_facts import BootFacts
from fruitd.errors import RetryError
from fruitd.node.core import NodeCore
from fruitd.node.effects import (
    DropParcel,
    KeepNear,
    KeepShare,
    KeepTorrent,
    MakeLeaves,
    NodeEffect,
    RelayImage,
    StartSeed,
    StopSeed,
)
from fruitd.node.offer import PublishedParcel
from fruitd.node.powering import PowerCall
from fruitd.power.effects import KeepEnergy, KeepPower, PauseHeartbeat, SwitchBay, UpdateUsed
from fruitd.updater import events as update_events
from fruitd.updater.effects import SaveJournal
from fruitd.updater.journal import Journal
from swarm.address import Address
from swarm.effects import (
    CarryTunnel,
    CloseTunnel,
    DialWanted,
    OpenStream,
    OpenTunnel,
    RecordAccepted,
    RecordForgotten,
    Refused,
    SendDatagram,
    TableHeard,
)
from swarm.news.record import Record
from swarm.news.store import Standing
from swarm.parcel.header import Parcel

Effects = list[NodeEffect]
HARMLESS = (
    SendDatagram,
    OpenStream,
    OpenTunnel,
    CloseTunnel,
    CarryTunnel,
    RecordAccepted,
    RecordForgotten,
    Refused,
    TableHeard,
    DialWanted,
    KeepTorrent,
    KeepShare,
    StartSeed,
    StopSeed,
    MakeLeaves,
    DropParcel,
    RelayImage,
    KeepPower,
    KeepEnergy,
    UpdateUsed,
    PauseHeartbeat,
    SwitchBay,
    KeepNear,
)
"""Effects that no journal stands for. They are passed on even behind a journal that could not be saved: the cores have taken them
as done, and a stream that was never opened would be waited for without end."""


class JournaledCore:
    """What the shell and the jobs call; see `NodeCore` for each method."""

    def __init__(self, core: NodeCore, save: Callable[[Journal], None], clock: Callable[[], float]) -> None:
        self._core = core
        self._save = save
        self._clock = clock

    def started(self, boot: BootFacts | None, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.started(boot, now_s))

    def on_datagram(
        self,
        data: bytes,
        source: Address,
        now_s: float,
        *,
        multicast: bool = False,
        tunnelled: bool = False,
    ) -> Effects:
        """See `NodeCore`."""
        return self._saved(
            self._core.on_datagram(data, source, now_s, multicast=multicast, tunnelled=tunnelled)
        )

    def on_wakeup(self, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.on_wakeup(now_s))

    def next_wakeup_s(self) -> float:
        """See `NodeCore`."""
        return self._core.next_wakeup_s()

    def on_stream_reply(self, token: int, reply: bytes, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.on_stream_reply(token, reply, now_s))

    def on_stream_failed(self, token: int, why: str, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.on_stream_failed(token, why, now_s))

    def answer(self, request: bytes, source: Address, now_s: float) -> tuple[bytes, Effects]:
        """See `NodeCore`."""
        reply, effects = self._core.answer(request, source, now_s)
        return reply, self._saved(effects)

    def clock_set(self, wall_offset_s: float, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.clock_set(wall_offset_s, now_s))

    def set_contacts(self, contacts: Sequence[Address], now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.set_contacts(contacts, now_s))

    def lan_came(self, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.lan_came(now_s))

    def update_event(self, event: update_events.Event, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.update_event(event, now_s))

    def tell_power(self, call: PowerCall, now_s: float) -> Effects:
        """See `Powering.tell_power`."""
        return self._saved(self._core.tell_power(call, now_s))

    def slot_prepared(
        self,
        infohash: str,
        reused_bytes: int,
        missing_bytes: int,
        blocks_present: bytes,
        now_s: float,
        *,
        runs_as_kept: bool = False,
    ) -> Effects:
        """See `NodeCore`."""
        return self._saved(
            self._core.slot_prepared(
                infohash, reused_bytes, missing_bytes, blocks_present, now_s, runs_as_kept=runs_as_kept
            )
        )

    def step_failed(self, infohash: str, why: str, now_s: float, *, final: bool = False) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.step_failed(infohash, why, now_s, final=final))

    def parcel_opened(self, infohash: str, blocks_present: bytes, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.parcel_opened(infohash, blocks_present, now_s))

    def parcel_piece(self, infohash: str, piece: int, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.parcel_piece(infohash, piece, now_s))

    def parcel_fetched(self, infohash: str, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.parcel_fetched(infohash, now_s))

    def parcel_lost(self, infohash: str, why: str, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.parcel_lost(infohash, why, now_s))

    def parcel_head(self, infohash: str, parcel: Parcel | None, needs_bytes: int, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.parcel_head(infohash, parcel, needs_bytes, now_s))

    def segment_made(
        self,
        infohash: str,
        segment: int,
        right: tuple[int, ...],
        wrong: int,
        now_s: float,
        *,
        damaged: bool = False,
    ) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.segment_made(infohash, segment, right, wrong, now_s, damaged=damaged))

    def image_relayed(self, infohash: str, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.image_relayed(infohash, now_s))

    def relay_failed(self, infohash: str, why: str, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.relay_failed(infohash, why, now_s))

    def fetch_progress(self, infohash: str, near_bytes: int, far_bytes: int, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.fetch_progress(infohash, near_bytes, far_bytes, now_s))

    def set_able(self, unable: str | None, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.set_able(unable, now_s))

    def leaves_made(self, pieces_root: bytes, leaves: bytes, now_s: float) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.leaves_made(pieces_root, leaves, now_s))

    def publish(
        self,
        manifest: Record,
        torrent: bytes,
        image_path: str | None,
        now_s: float,
        parcels: Sequence[PublishedParcel] = (),
    ) -> Effects:
        """See `NodeCore`."""
        return self._saved(self._core.publish(manifest, torrent, image_path, now_s, parcels))

    def offer(self, record: Record, now_s: float) -> tuple[Standing, Effects]:
        """See `NodeCore`."""
        standing, effects = self._core.offer(record, now_s)
        return standing, self._saved(effects)

    def _saved(self, effects: Effects) -> Effects:
        """Save every journal among the effects; where one cannot be saved, only what is harmless behind it is passed on."""
        passed: Effects = []
        for place, effect in enumerate(effects):
            if not isinstance(effect, SaveJournal):
                passed.append(effect)
                continue
            try:
                self._save(effect.journal)
            except RetryError as error:
                passed += [e for e in effects[place + 1 :] if isinstance(e, HARMLESS)]
                return passed + self._core.journal_not_saved(effect.journal, str(error), self._clock())
        return passed
