"""The transfer port on libtorrent: bytes go from the network straight into the slot (design D4).

One session, TCP, with `posix_disk_io_constructor`: the only disk back end that writes to block devices and neither truncates
nor extends what it is given. It needs libtorrent 2.1.1, which also has the security fixes for v2 hash requests.
Every piece is hashed by libtorrent, those put in place beforehand too: they are handed over as *unfinished* pieces.

What the shell has to do: wait for `wait()`, then take `events()`, in a loop; and give `offer_peers` the current holders
every few seconds while fetching, since a peer that could not be reached is dialled again only when it is offered again.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import trio
from attrs import define, field

from bep35 import metainfo
from bep35.errors import Bep35Error
from swarm.address import Address
from swarm.errors import UnavailableError, UnsupportedError
from swarm.transfer.bitmap import blocks_by_piece
from swarm.transfer.port import (
    ImageFetched,
    ImageJob,
    PieceRejected,
    Progress,
    Source,
    TransferEvent,
    TransferPeer,
    TransferStopped,
)
from swarm.transfer.session_settings import TICK_BUSY_MS, TICK_IDLE_MS, TransferSettings, session_settings
from swarm.transfer.sources import Connection, SourceLedger

LIBTORRENT_MIN = (2, 1, 1)
ACCOUNT_S = 0.05
"""Pause between two looks at who gives what, while fetching. Smaller costs processor time (0.1 ms a look); larger makes the
split between peers coarser, see `SourceLedger`."""
OFFERED_MAX = 512
"""Peers remembered per image for their names' sake."""
BANNED_MAX = 8
"""Liars remembered per image, for words only."""


@define(eq=False)
class _Job:
    job: ImageJob
    handle: Any
    held: int
    """File descriptor kept open: closing a block device for the last time flushes and forgets its page cache, and
    libtorrent opens and closes it for every block."""
    fetching: bool
    prepared: frozenset[int] = frozenset()
    """Pieces of which all blocks were said to be in place."""
    ledger: SourceLedger = field(factory=SourceLedger)
    offered: dict[bytes, TransferPeer] = field(factory=dict)
    departed: list[tuple[bytes, Address]] = field(factory=list)
    banned: dict[str, None] = field(factory=dict)
    """Peers that libtorrent has convicted of a wrong piece; not all are, so later rejections name them too."""


class LibtorrentTransfer:
    """Implements `swarm.transfer.port.Transfer`. Used from one thread only."""

    def __init__(self, settings: TransferSettings) -> None:
        """Start listening.

        Raises:
            UnsupportedError: libtorrent is missing or too old.
            UnavailableError: the port is taken.
        """
        self._lt = _libtorrent()
        self._settings = settings
        self._jobs: dict[bytes, _Job] = {}
        self._by_handle: dict[Any, _Job] = {}
        self._events: list[TransferEvent] = []
        self._busy = False
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._session = self._start_session()
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
        """See `Transfer.stop`. When it returns, nothing will be written to the path any more."""
        known = self._jobs.pop(infohash, None)
        if known is None:
            return
        self._session.remove_torrent(known.handle)
        # Answered by the thread that also writes, after it has taken the torrent out: no write can follow.
        self._session.listen_port()
        self._by_handle.pop(known.handle, None)
        os.close(known.held)
        self._pace()

    def offer_peers(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """See `Transfer.offer_peers`."""
        known = self._jobs.get(infohash)
        if known is None:
            return
        for peer in peers:
            if peer.node_id == self._settings.node_id:
                continue
            if len(known.offered) < OFFERED_MAX or peer.node_id in known.offered:
                known.offered[peer.node_id] = peer
            if known.fetching:
                known.handle.connect_peer((peer.address.host, peer.address.port))

    def progress(self, infohash: bytes) -> Progress | None:
        """See `Transfer.progress`."""
        known = self._jobs.get(infohash)
        if known is None:
            return None
        status = self._account(known)
        return Progress(
            have_bytes=status.total_done,
            received_bytes=status.total_payload_download,
            wasted_bytes=status.total_failed_bytes + status.total_redundant_bytes,
            sent_bytes=status.total_payload_upload,
            receive_rate_bytes_per_s=float(status.download_payload_rate),
            send_rate_bytes_per_s=float(status.upload_payload_rate),
            peers=status.num_peers,
            sources=tuple(
                Source(
                    s.node_id,
                    known.offered[s.node_id].address if s.node_id in known.offered else s.address,
                    s.node_id in known.offered and known.offered[s.node_id].same_site,
                    s.received_bytes,
                    s.rate_bytes_per_s,
                )
                for s in known.ledger.totals()
            ),
        )

    def events(self) -> list[TransferEvent]:
        """See `Transfer.events`. To be called each time `wait` returns."""
        self._take_alerts()
        events, self._events = self._events, []
        return events

    async def wait(self) -> None:
        """Return when `events` may have something; meanwhile keep the sources' accounts."""
        while not self._events:
            with trio.move_on_after(ACCOUNT_S if self._busy else math.inf) as pause:
                await trio.lowlevel.wait_readable(self._bell)
            if not pause.cancelled_caught:
                self._silence()
                return
            for known in [known for known in self._jobs.values() if known.fetching]:
                if known.fetching:  # what one account brings to light may stop another job
                    self._account(known)

    def close(self) -> None:
        """Stop everything and let go of the port. The transfer cannot be used afterwards."""
        for infohash in list(self._jobs):
            self.stop(infohash)
        self._session.set_alert_fd(-1)
        self._session.pause()
        del self._session
        self._bell.close()
        self._ringer.close()

    def _start_session(self) -> Any:
        categories = self._lt.alert_category
        mask = categories.error | categories.status | categories.storage | categories.connect
        params = self._lt.session_params()
        params.settings = session_settings(self._settings, int(mask))
        params.disk_io_constructor = "posix_disk_io_constructor"
        session = self._lt.session(params)
        if self._settings.upload_bytes_per_s or self._settings.download_bytes_per_s:
            # By default libtorrent exempts private addresses from limits; here the LAN is what is limited.
            everybody = self._lt.ip_filter()
            for first, last in (("0.0.0.0", "255.255.255.255"), ("::", "ffff" + ":ffff" * 7)):  # noqa: S104
                everybody.add_rule(first, last, 1 << session.global_peer_class_id)
            session.set_peer_class_filter(everybody)
        session.set_alert_fd(self._ringer.fileno())
        return session

    def _params(self, job: ImageJob) -> Any | None:
        """What is common to fetching and seeding; None, and an event, where the torrent is not the job's."""
        try:
            described = metainfo.parse(job.torrent)
        except Bep35Error as error:
            self._refuse(job, f"torrent cannot be used: {error}")
            return None
        if described.infohash != job.infohash or described.length_bytes != job.length_bytes:
            self._refuse(job, "torrent describes another image than the one asked for")
            return None
        try:
            params = self._lt.load_torrent_buffer(job.torrent)
        except RuntimeError as error:
            self._refuse(job, f"libtorrent cannot use the torrent: {error}")
            return None
        # Trackers, web seeds and DHT nodes are not covered by any signature: nobody is called because of them.
        params.trackers, params.url_seeds, params.http_seeds, params.dht_nodes = [], [], [], []
        flags = self._lt.torrent_flags
        params.flags = flags.no_verify_files | flags.disable_pex | flags.disable_dht | flags.disable_lsd
        params.save_path = "/nowhere"
        params.renamed_files = {0: str(Path(job.path).absolute())}
        return params

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
        handle = self._session.add_torrent(params)
        self._jobs[job.infohash] = self._by_handle[handle] = _Job(job, handle, held, fetching, prepared)
        self._pace()

    def _refuse(self, job: ImageJob, why: str) -> None:
        self._events.append(TransferStopped(job.infohash, why))
        self._ring()

    def _account(self, known: _Job) -> Any:
        """Take a snapshot of who gave what; returns the torrent's status."""
        status = known.handle.status(0)  # before the peers: the ledger relies on this order
        connections = [
            Connection(peer.pid.to_bytes(), Address(*peer.ip), peer.total_download, peer.payload_down_speed)
            for peer in known.handle.get_peer_info()
        ]
        self._take_alerts()  # after the peers: whoever is missing among them has left its alert
        known.ledger.snapshot(connections, status.total_payload_download, known.departed)
        known.departed.clear()
        return status

    def _take_alerts(self) -> None:
        for alert in self._session.pop_alerts():
            self._on_alert(alert)

    def _on_alert(self, alert: Any) -> None:
        if isinstance(alert, self._lt.alerts_dropped_alert):
            self._look_for_missed()
            return
        known = self._by_handle.get(getattr(alert, "handle", None))
        if known is None:
            return
        match alert:
            case self._lt.peer_disconnected_alert():
                known.departed.append((alert.pid.to_bytes(), Address(*alert.ip)))
            case self._lt.peer_ban_alert():
                if len(known.banned) < BANNED_MAX:
                    known.banned[_named(alert.pid.to_bytes(), Address(*alert.ip))] = None
            case self._lt.hash_failed_alert():
                self._on_rejected(known, alert.piece_index)
            case self._lt.torrent_finished_alert():
                self._on_finished(known)
            case self._lt.file_error_alert() | self._lt.torrent_error_alert():
                self._on_storage_error(known, alert)

    def _on_rejected(self, known: _Job, piece: int) -> None:
        if known.banned:
            who = ", ".join(known.banned)
        elif piece in known.prepared:
            who = "blocks that were in place"
        else:
            who = self._only_giver(known) or "one of several peers"
        known.prepared -= {piece}
        self._events.append(PieceRejected(known.job.infohash, piece, who))

    @staticmethod
    def _only_giver(known: _Job) -> str | None:
        givers = {(total.node_id, total.address) for total in known.ledger.totals()} | set(known.departed)
        return _named(*givers.pop()) if len({node_id for node_id, _ in givers}) == 1 else None

    def _on_finished(self, known: _Job) -> None:
        if not known.fetching:
            return
        known.fetching = False
        self._pace()
        self._events.append(ImageFetched(known.job.infohash))

    def _on_storage_error(self, known: _Job, alert: Any) -> None:
        full = alert.error.value() == errno.ENOSPC and alert.error.category().name() in {"generic", "system"}
        why = f"{known.job.path}: {alert.error.message()}"
        self.stop(known.job.infohash)
        self._events.append(TransferStopped(known.job.infohash, why, disk_full=full))

    def _look_for_missed(self) -> None:
        """Alerts were dropped: the one among them that must not be missed is the end of an image."""
        for known in list(self._jobs.values()):
            status = known.handle.status(0)
            if status.errc.value():
                self.stop(known.job.infohash)
                why = f"{known.job.path}: {status.errc.message()}"
                self._events.append(TransferStopped(known.job.infohash, why))
            elif known.fetching and status.is_finished:
                self._on_finished(known)

    def _pace(self) -> None:
        """Tick fast only while something is being fetched."""
        busy = any(known.fetching for known in self._jobs.values())
        if busy != self._busy:
            self._busy = busy
            self._session.apply_settings({"tick_interval": TICK_BUSY_MS if busy else TICK_IDLE_MS})

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


def _named(node_id: bytes, address: Address) -> str:
    return f"node {node_id.hex()[:12]} at {address}"


def check_version(version: str) -> None:
    """Refuse, as `UnsupportedError`, a libtorrent that lacks what the slot's safety rests on."""
    digits = version.split(".")[:3]
    found = tuple(int(part) for part in digits if part.isdecimal())
    if len(found) < 3 or found < LIBTORRENT_MIN:
        need = ".".join(map(str, LIBTORRENT_MIN))
        raise UnsupportedError(
            f"libtorrent {version} is too old, {need} or later is needed: "
            f"pip install 'libtorrent>={need}', or build it from source on 32-bit ARM"
        )


def _libtorrent() -> ModuleType:
    # Imported late: 10 MiB of resident memory that commands and simulations do not need.
    try:
        import libtorrent
    except ImportError as error:
        raise UnsupportedError(f"libtorrent cannot be loaded ({error}): pip install libtorrent") from error
    check_version(libtorrent.__version__)
    return libtorrent
