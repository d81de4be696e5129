"""The transfer port on libtorrent: bytes go from the network straight into the slot (design D4).

One session, TCP, with `posix_disk_io_constructor`: the only disk back end that writes to block devices and neither truncates
nor extends what it is given. It needs libtorrent 2.1.1, which also has the security fixes for v2 hash requests.
Every piece is hashed by libtorrent, those put in place beforehand too: they are handed over as *unfinished* pieces.

Nothing here waits for libtorrent. Its one thread also reads, writes and hashes, and answers in between: a node that has nearly
all of an image in place is not answered until all of that is hashed, minutes on a small computer. So whatever needs an answer
is asked from a thread of its own, one question after another, and the answer is taken when it is there (docs/adr/0014).

What the shell has to do: wait for `wait()`, then take `events()`, in a loop; and give `offer_peers` the current holders
every few seconds while fetching, since a peer that could not be reached is dialled again only when it is offered again.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import trio

from swarm.address import Address
from swarm.errors import RefusedError, UnavailableError
from swarm.transfer.bitmap import blocks_by_piece
from swarm.transfer.desk import Desk
from swarm.transfer.libtorrent_module import load_libtorrent
from swarm.transfer.manner import Manner
from swarm.transfer.near_and_far import NearAndFar
from swarm.transfer.piece_order import FIRST
from swarm.transfer.port import (
    ImageFetched,
    ImageJob,
    Progress,
    Source,
    TransferEvent,
    TransferPeer,
    TransferStopped,
)
from swarm.transfer.port_mapping import PortMappings
from swarm.transfer.session_settings import END_GAME_SHARE, TransferSettings, session_settings
from swarm.transfer.sources import NOBODY, Connection
from swarm.transfer.torrent_job import TorrentJob
from swarm.transfer.torrent_params import torrent_params
from swarm.transfer.uplink_meter import UplinkMeter

ACCOUNT_S = 0.2
"""Pause between two looks at who gives what, while fetching. Smaller costs processor time: of 25 nodes on two cores that fetched,
looks every 50 ms took a fifth of both. Larger makes the split between peers coarser, see `SourceLedger`."""
WAIT_LOOKS = 5
"""After so many looks, about a second, a torrent starts without anybody to dial: there may be those who dial this node."""
EAGER_S = 0.05
"""Likewise, while the beginning of something streamed is waited for, as nothing can be made of it before, or where it comes fast.
Larger delays it."""
SERVED_S = 5.0
"""Age up to which is told how much was served. Smaller wakes a node that has nothing to do; larger, `fruit status` is late."""
OFFERED_MAX = 512
"""Peers remembered per image for their names' sake."""

Found: TypeAlias = tuple[TorrentJob, Any, list[Connection]]
"""By a look: of whom, its status, its connections."""
Again: TypeAlias = tuple[Any, Found, Any]
"""The handle before, what was found with it last, and the status afterwards."""


class LibtorrentTransfer:
    """Implements `swarm.transfer.port.Transfer`. Used from one thread only."""

    def __init__(self, settings: TransferSettings) -> None:
        """Start listening.

        Raises:
            UnsupportedError: libtorrent is missing or too old.
            UnavailableError: the port is taken.
        """
        self._lt = load_libtorrent()
        self._settings = settings
        self._jobs: dict[bytes, TorrentJob] = {}
        self._by_handle: dict[Any, TorrentJob] = {}
        self._entering: dict[bytes, TorrentJob] = {}
        """Given to libtorrent, which has not answered yet."""
        self._leaving: list[TorrentJob] = []
        """Stopped, and perhaps still written to."""
        self._left = trio.Event()
        self._events: list[TransferEvent] = []
        self._meter = UplinkMeter()
        self.mappings = PortMappings(self._lt)
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._desk = Desk("libtorrent", self._ring)
        self._session = self._start_session()
        self._manner = Manner(self._session.apply_settings)
        self._sides = NearAndFar(self._lt, self._session, settings)
        self.port = int(self._session.listen_port())
        """TCP port other nodes reach this one at."""
        if self.port == 0 or (settings.port and self.port != settings.port):
            self.close()
            raise UnavailableError(f"transfer port {settings.port} on {settings.host} cannot be listened on")

    def fetch(self, job: ImageJob, blocks_present: bytes) -> None:
        """See `Transfer.fetch`. Whatever is wrong with the job arrives as `TransferStopped`."""
        self.stop(job.infohash)
        params = self._params(job)
        if params is None:
            return
        pieces = blocks_by_piece(blocks_present, job.length_bytes, params.ti.piece_length())
        params.unfinished_pieces = pieces
        self._add(
            job, params, fetching=True, prepared=frozenset(p for p, flags in pieces.items() if all(flags))
        )

    def seed(self, job: ImageJob) -> None:
        """See `Transfer.seed`."""
        known = self._jobs.get(job.infohash)
        if known is not None and not known.fetching and known.job.path == job.path:
            return
        self.stop(job.infohash)
        params = self._params(job)
        if params is not None:
            params.have_pieces = [True] * params.ti.num_pieces()
            self._add(job, params, fetching=False)

    def stop(self, infohash: bytes) -> None:
        """See `Transfer.stop`. `settled` waits until nothing is written any more."""
        known = self._jobs.pop(infohash, None)
        if known is None:
            return
        self._leaving.append(known)
        self._desk.ask(partial(self._remove, known), self._on_removed)
        self._pace()

    async def settled(self) -> None:
        """Return when nothing will be written any more to the path of any job that was stopped.

        Needs somebody who takes `events`.
        """
        while self._leaving:
            await self._left.wait()

    def hurry(self, infohash: bytes) -> None:
        """See `Transfer.hurry`."""
        known = self._jobs.get(infohash)
        if known is not None and known.job.cautious_bytes_per_s:
            known.hurried = True
            self._hasten(known)

    def offer_peers(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """See `Transfer.offer_peers`."""
        known = self._jobs.get(infohash)
        if known is None:
            return
        others = [peer for peer in peers if peer.node_id != self._settings.node_id]
        for peer in others:
            if len(known.offered) < OFFERED_MAX or peer.node_id in known.offered:
                known.offered[peer.node_id] = peer
        pieces, received = (0, 0) if known.status is None else (known.status.num_pieces, known.received_bytes)
        turn = known.turns.whom(others, pieces, received, time.monotonic())
        known.dialled = turn.peers
        if turn.again:
            self._begin_again(known)
        self._dial(known)

    def knock(self, infohash: bytes, peers: Sequence[TransferPeer], *, over_utp: bool = True) -> None:
        """Dial these over uTP, whether this node fetches or seeds: they dial it at this moment, and each dial opens the way
        for the other's through the translators in between. Until `rest`, whatever is dialled is dialled over uTP first.
        Without `over_utp` by TCP: where no datagram gets out, the other side has to be open. An image that is exchanged with
        nodes of this site only has nobody to knock at."""
        known = self._jobs.get(infohash)
        if known is None or known.handle is None or known.leaving or known.near_only:
            return
        self._manner.knock(over_utp=over_utp)
        others = [peer for peer in peers if peer.node_id != self._settings.node_id]
        if known.fetching:  # of those it was offered, only whose turn it is: the others may be liars
            turn = {peer.node_id for peer in known.dialled}
            others = [peer for peer in others if peer.node_id in turn]
        known.dial(others)
        known.start()

    def rest(self) -> None:
        """TCP again, if nobody was knocked at lately; called now and then. uTP connections that stand go on."""
        self._manner.rest()

    def keep_near(self, infohash: bytes, mates: Sequence[TransferPeer], *, near_only: bool) -> None:
        """See `Transfer.keep_near`."""
        self._sides.set_hosts(frozenset(mate.address.host for mate in mates))
        known = self._jobs.get(infohash)
        if known is not None and known.fetching:
            self._confine(known, near_only=near_only)

    def _confine(self, known: TorrentJob, *, near_only: bool) -> None:
        if known.near_only == near_only:
            return
        known.near_only = near_only
        if known.handle is None:
            return  # done when it has been taken in
        flag = self._lt.torrent_flags.apply_ip_filter
        if near_only:
            known.handle.set_flags(flag)
        else:
            known.handle.unset_flags(flag)

    def progress(self, infohash: bytes) -> Progress | None:
        """See `Transfer.progress`."""
        known = self._jobs.get(infohash)
        if known is None or known.status is None:
            return None
        status, counted = known.status, known.past.plus(known.status)
        return Progress(
            have_bytes=status.total_done,
            # The sources were asked after the total was: what came in between, they know of first.
            received_bytes=max(counted.received, known.ledger.received_bytes),
            wasted_bytes=counted.wasted,
            sent_bytes=counted.sent,
            receive_rate_bytes_per_s=float(status.download_payload_rate),
            send_rate_bytes_per_s=float(status.upload_payload_rate),
            peers=status.num_peers,
            connected=known.connected,
            sources=tuple(
                Source(
                    s.node_id,
                    known.offered[s.node_id].address if s.node_id in known.offered else s.address,
                    self._is_near(known, s.node_id, s.address),
                    s.received_bytes,
                    s.rate_bytes_per_s,
                )
                for s in known.ledger.totals()
            ),
        )

    def uplink_bytes(self) -> tuple[int, int]:
        """See `Transfer.uplink_bytes`; as of the last look at each image."""
        return self._meter.received_bytes, self._meter.sent_bytes

    def events(self) -> list[TransferEvent]:
        """See `Transfer.events`. To be called each time `wait` returns."""
        self._take_in()
        events, self._events = self._events, []
        return events

    async def wait(self) -> None:
        """Return when `events` may have something; meanwhile keep the sources' accounts."""
        while not self._events:
            # First, and by the clock: alerts that come one after the other would put a look off for ever.
            self._look_where_due()
            with trio.move_on_after(self._pause_s()) as pause:
                await trio.lowlevel.wait_readable(self._bell)
            if not pause.cancelled_caught:
                self._silence()
                return

    def _look_where_due(self) -> None:
        now_s = time.monotonic()
        for known in self._jobs.values():
            if now_s - known.looked_s >= self._rest_s(known):
                known.looked_s = now_s
                self._look(known)

    def close(self) -> None:
        """Stop everything and let go of the port; waits for libtorrent. The transfer cannot be used afterwards."""
        for infohash in list(self._jobs):
            self.stop(infohash)
        self._desk.close()
        for known in self._leaving:
            os.close(known.held)
        self._session.set_alert_fd(-1)
        self._session.pause()
        del self._manner, self._sides, self._session  # the session ends with whoever holds it last
        self._bell.close()
        self._ringer.close()

    def _pause_s(self) -> float:
        return min(map(self._rest_s, self._jobs.values()), default=math.inf)

    @staticmethod
    def _rest_s(known: TorrentJob) -> float:
        """Between two looks at it."""
        if not known.fetching:
            return SERVED_S
        return EAGER_S if known.is_urgent else ACCOUNT_S

    def _start_session(self) -> Any:
        categories = self._lt.alert_category
        mask = (
            categories.error | categories.status | categories.storage | categories.connect | categories.peer
            | categories.port_mapping
        )  # fmt: skip
        params = self._lt.session_params()
        params.settings = session_settings(self._settings, int(mask))
        params.disk_io_constructor = "posix_disk_io_constructor"
        session = self._lt.session(params)
        session.set_alert_fd(self._ringer.fileno())
        if self._settings.map_ports and self._settings.control_port:
            port, protocols = self._settings.control_port, self._lt.portmap_protocol
            for protocol in (protocols.udp, protocols.tcp):
                session.add_port_mapping(protocol, port, port)
        return session

    def _is_near(self, known: TorrentJob, node_id: bytes, address: Address) -> bool:
        offered = known.offered.get(node_id)
        return offered.same_site if offered is not None else self._sides.is_near(address.host)

    def _params(self, job: ImageJob) -> Any | None:
        """What is common to fetching and seeding; None, and an event, where the torrent is not the job's."""
        try:
            return torrent_params(self._lt, job)
        except RefusedError as error:
            self._refuse(job, str(error))
            return None

    def _add(
        self, job: ImageJob, params: Any, *, fetching: bool, prepared: frozenset[int] = frozenset()
    ) -> None:
        try:
            held = os.open(job.path, (os.O_RDWR if fetching else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError as error:
            self._refuse(job, f"{job.path} cannot be opened: {error.strerror}")
            return
        size_bytes = os.lseek(held, 0, os.SEEK_END)
        if size_bytes < job.length_bytes:
            os.close(held)
            self._refuse(job, f"{job.path} has {size_bytes} bytes, the image has {job.length_bytes}")
            return
        known = TorrentJob(job, held, fetching, params.ti.piece_length(), prepared=prepared)
        self._jobs[job.infohash] = self._entering[job.infohash] = known
        self._desk.ask(partial(self._enter, known, params), self._on_entered)
        self._pace()

    def _refuse(self, job: ImageJob, why: str) -> None:
        self._events.append(TransferStopped(job.infohash, why))
        self._ring()

    # ------------------------------------------------------------------ questions: what runs at the desk, and what comes of it

    def _take_in(self) -> None:
        """Take what has been told and answered."""
        answers = self._desk.answered()
        # After looking what is answered: whoever was missing among the peers has left its alert by then.
        for alert in self._session.pop_alerts():
            self._on_alert(alert)
        for take in answers:
            take()

    def _enter(self, known: TorrentJob, params: Any) -> TorrentJob:
        if known.fetching:
            params.flags |= self._lt.torrent_flags.paused
            known.waits = True
        known.handle = self._session.add_torrent(params)
        return known

    def _on_entered(self, known: TorrentJob) -> None:
        if self._entering.get(known.job.infohash) is known:
            del self._entering[known.job.infohash]
        self._by_handle[known.handle] = known
        if self._jobs.get(known.job.infohash) is known:  # not stopped meanwhile
            self._go_on(known)

    def _go_on(self, known: TorrentJob) -> None:
        """What was asked for before libtorrent had the torrent, or has to be asked for again because it was put in anew."""
        self._hasten(known)
        if known.near_only:
            known.handle.set_flags(self._lt.torrent_flags.apply_ip_filter)
        self._dial(known)

    def _hasten(self, known: TorrentJob) -> None:
        if known.hurried and known.handle is not None:
            known.handle.unset_flags(self._lt.torrent_flags.sequential_download)
            known.handle.set_download_limit(0)

    @staticmethod
    def _hasten_pieces(known: TorrentJob, status: Any) -> None:
        pieces = known.to_hasten(status.pieces) if known.fetching else ()
        if pieces:
            known.handle.prioritize_pieces([(piece, FIRST) for piece in pieces])

    @staticmethod
    def _dial(known: TorrentJob) -> None:
        if known.fetching and known.handle is not None and not known.leaving:
            known.dial([peer for peer in known.dialled if not peer.shut])

    def _begin_again(self, known: TorrentJob) -> None:
        """Take the torrent out and put it in again with the pieces that are right: libtorrent forgets whom it has banned."""
        params = self._params(known.job)
        if params is not None and known.handle is not None and not known.leaving:
            known.leaving = True
            self._desk.ask(partial(self._enter_again, known, params), self._on_entered_again)

    def _enter_again(self, known: TorrentJob, params: Any) -> Again:
        found, before = self._read(known), known.handle
        params.have_pieces = list(before.status(self._lt.torrent_handle.query_pieces).pieces)
        self._remove(known)
        self._enter(known, params)
        return before, found, known.handle.status(0)

    def _on_entered_again(self, again: Again) -> None:
        before, (known, status, connections), fresh = again
        self._by_handle.pop(before, None)
        self._by_handle[known.handle] = known
        known.leaving = False
        if self._jobs.get(known.job.infohash) is known:
            known.ledger.snapshot(connections, known.past.plus(status).received)
            known.past = known.past.plus(status)
            known.status = fresh
            known.first_until = 0
            self._go_on(known)

    def _remove(self, known: TorrentJob) -> TorrentJob:
        self._session.remove_torrent(known.handle)
        # Answered by the thread that also writes, after it has taken the torrent out: no write can follow.
        self._session.listen_port()
        return known

    def _on_removed(self, known: TorrentJob) -> None:
        self._by_handle.pop(known.handle, None)
        os.close(known.held)
        self._leaving.remove(known)
        if not self._leaving:
            self._left.set()
            self._left = trio.Event()

    def _look(self, known: TorrentJob) -> None:
        """Have a snapshot taken of who gave what; at most one is under way."""
        if known.asked:
            known.again = True
            return
        known.asked = True
        known.looks += 1
        self._desk.ask(partial(self._read, known), self._on_read)

    def _read(self, known: TorrentJob) -> Found:
        pieces_too = known.job.streamed and known.fetching
        # Before the peers: the ledger relies on this order.
        status = known.handle.status(self._lt.torrent_handle.query_pieces if pieces_too else 0)
        connections = [
            Connection(
                peer.pid.to_bytes(),
                Address(*peer.ip),
                peer.total_download,
                peer.payload_down_speed,
                peer.total_upload,
            )
            for peer in known.handle.get_peer_info()
        ]
        return known, status, connections

    def _on_read(self, found: Found) -> None:
        known, status, connections = found
        known.asked = False
        if self._jobs.get(known.job.infohash) is not known:
            return
        known.status = status
        known.connected = frozenset(c.node_id for c in connections) - {NOBODY}
        if known.looks >= WAIT_LOOKS:
            known.start()
        if known.fetching and not known.near_only:
            self._manner.scatter(True)
            self._manner.end_game(status.total_done >= END_GAME_SHARE * known.job.length_bytes)
        far = [c for c in connections if not self._is_near(known, c.node_id, c.address)]
        counted = known.past.plus(status)
        self._meter.snapshot(known.job.infohash, connections, far, counted.received, counted.sent)
        known.ledger.snapshot(connections, counted.received, list(known.departed))
        # One that left after it was seen is settled with the next look.
        seen = {connection.node_id for connection in connections}
        known.departed = {gone: None for gone in known.departed if gone[0] in seen}
        self._events += known.tell_rejected(everything=status.is_finished)
        self._events += known.tell_arrived(status.pieces)
        self._hasten_pieces(known, status)
        # What alerts say first; some may have been dropped.
        if status.errc.value():
            self.stop(known.job.infohash)
            why = f"{known.job.path}: {status.errc.message()}"
            self._events.append(TransferStopped(known.job.infohash, why))
        elif known.fetching and status.is_finished:
            known.fetching = False
            self._confine(known, near_only=False)  # a whole image is for everybody
            self._pace()
            self._events.append(ImageFetched(known.job.infohash))
        elif known.again:
            known.again = False
            self._look(known)

    # ------------------------------------------------------------------ alerts

    def _known(self, alert: Any) -> TorrentJob | None:
        handle = getattr(alert, "handle", None)
        known = self._by_handle.get(handle)
        if known is None and handle is not None and self._entering:
            # It speaks of a torrent before the answer is here that it was taken in.
            known = self._entering.pop(handle.info_hashes().v2.to_bytes(), None)
            if known is not None:
                self._by_handle[handle] = known
        return known if known is not None and self._jobs.get(known.job.infohash) is known else None

    def _on_alert(self, alert: Any) -> None:
        if isinstance(alert, self._lt.alerts_dropped_alert):
            for known in self._jobs.values():
                self._look(known)
            return
        if self.mappings.take(alert):
            return
        found = self._known(alert)
        if found is not None:
            self._on_alert_of(found, alert)

    def _on_alert_of(self, known: TorrentJob, alert: Any) -> None:
        match alert:
            case self._lt.peer_disconnected_alert():
                known.departed[alert.pid.to_bytes(), Address(*alert.ip)] = None
            case self._lt.peer_ban_alert():
                known.on_banned(Address(*alert.ip))
            case self._lt.hash_failed_alert():
                known.rejected.append((alert.piece_index, known.looks + 1))
                self._look(known)
            case self._lt.torrent_finished_alert():
                self._look(known)  # the last one: it tells that the image is here, and who gave it
            case self._lt.file_error_alert() | self._lt.torrent_error_alert():
                self._on_storage_error(known, alert)

    def _on_storage_error(self, known: TorrentJob, alert: Any) -> None:
        full = alert.error.value() == errno.ENOSPC and alert.error.category().name() in {"generic", "system"}
        why = f"{known.job.path}: {alert.error.message()}"
        self.stop(known.job.infohash)
        self._events.append(TransferStopped(known.job.infohash, why, disk_full=full))

    def _pace(self) -> None:
        """Tick fast only while something is being fetched."""
        self._manner.busy(any(known.fetching for known in self._jobs.values()))

    def _ring(self) -> None:
        try:
            self._ringer.send(b"!")
        except BlockingIOError:
            return  # it is ringing already

    def _silence(self) -> None:
        try:
            while self._bell.recv(4096):
                pass
        except BlockingIOError:
            return
