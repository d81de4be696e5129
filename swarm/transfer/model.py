"""The transfer port on virtual time: what the simulated world uses in libtorrent's place.

Bytes are not moved; the *content numbers* of blocks are. An image is a sequence of such numbers, a node's storage holds one per
block, and a block is right where the two are equal: that stands for its hash. Pieces travel in runs of about a MiB, one event
each, and one run at a time on each connection and direction.

How a world uses it::

    fabric = Fabric(paths, rng)                       # `paths` says who reaches whom, and over which pipes
    fabric.publish(infohash, ModelImage(blocks))      # the truth, once per image
    transfer = ModelTransfer(fabric, node_id, address, storage)
    fabric.advance(now_s)                             # before every call of a transfer, so that it knows the time
    transfer.fetch(job, bitmap); transfer.offer_peers(infohash, peers)
    wake at fabric.next_event_s(); for each of fabric.advance(now_s): transfer.events()

A process that ends is `close()`; a machine that loses power is `vanish()`: its peers only notice after a silence.
Everything random comes from `rng`; equal seeds give equal runs.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from attrs import evolve

from swarm.address import Address
from swarm.transfer.bitmap import block_count, has_block
from swarm.transfer.fabric import RATE_UNBOUND, BlockStorage, Fabric
from swarm.transfer.model_task import Connection, Run, Task
from swarm.transfer.port import (
    BLOCK_BYTES,
    ImageFetched,
    ImageJob,
    PieceArrived,
    PieceRejected,
    Progress,
    Source,
    TransferEvent,
    TransferPeer,
    TransferStopped,
)

SILENCE_S = 20.0
"""How long a peer that says nothing is believed to be there: `request_timeout` of the real session."""


class ModelTransfer:
    """Implements `swarm.transfer.port.Transfer` on a `Fabric`."""

    def __init__(self, fabric: Fabric, node_id: bytes, address: Address, storage: BlockStorage) -> None:
        self.node_id = node_id
        self.address = address
        self._fabric = fabric
        self._storage = storage
        self._tasks: dict[bytes, Task] = {}
        self._events: list[TransferEvent] = []
        self._near: set[Address] = set()
        fabric.transfers[address] = self

    def fetch(self, job: ImageJob, blocks_present: bytes) -> None:
        """See `Transfer.fetch`."""
        self.stop(job.infohash)
        task = self._begin(job)
        if task is None:
            return
        for piece in range(len(task.have)):
            task.believed.append({b for b in task.blocks_of(piece) if has_block(blocks_present, b)})
        task.needed = dict.fromkeys(self._order(task))
        self._check_believed(task)

    def seed(self, job: ImageJob) -> None:
        """See `Transfer.seed`."""
        known = self._tasks.get(job.infohash)
        if known is not None and known.whole and known.job.path == job.path:
            return
        self.stop(job.infohash)
        task = self._begin(job)
        if task is not None:
            task.have = bytearray(b"\1" * len(task.have))
            task.believed = [set() for _ in task.have]

    def stop(self, infohash: bytes) -> None:
        """See `Transfer.stop`."""
        task = self._tasks.pop(infohash, None)
        if task is not None:
            for connection in list(task.connections.values()):
                self._disconnect(infohash, connection)

    def hurry(self, infohash: bytes) -> None:
        """See `Transfer.hurry`. Caution is about fast lines; here nothing is held back."""

    def offer_peers(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """See `Transfer.offer_peers`."""
        task = self._tasks.get(infohash)
        if task is None:
            return
        for peer in peers:
            task.offered[peer.address] = peer
            known = peer.address in task.connections or peer.address in task.banned
            if not known and peer.address != self.address and not task.whole:
                latency_s = self._fabric.paths.route(peer.address, self.address).latency_s
                self._fabric.later(2 * latency_s, lambda task=task, to=peer.address: self._dial(task, to))  # type: ignore[misc]

    def keep_near(self, infohash: bytes, mates: Sequence[TransferPeer], *, near_only: bool) -> None:
        """See `Transfer.keep_near`. Here mates are known by their whole address."""
        self._near = {mate.address for mate in mates}
        task = self._tasks.get(infohash)
        if task is None or task.whole:
            return
        task.near_only = near_only
        for address, connection in list(task.connections.items()):
            if not self._admits(task, address):
                self._disconnect(infohash, connection)

    def _admits(self, task: Task, address: Address) -> bool:
        return task.whole or not task.near_only or address in self._near

    def progress(self, infohash: bytes) -> Progress | None:
        """See `Transfer.progress`."""
        task = self._tasks.get(infohash)
        if task is None:
            return None
        taking = {
            c.other(self).node_id: c.runs[self].rate_bytes_per_s
            for c in task.connections.values()
            if self in c.runs
        }
        giving = [run for c in task.connections.values() for run in c.runs.values() if run.giver is self]
        sources = sorted(task.sources.values(), key=lambda s: (-s.received_bytes, s.node_id))
        have = sum(
            sum(map(task.block_bytes, task.blocks_of(piece) if task.have[piece] else task.believed[piece]))
            for piece in range(len(task.have))
        )
        return Progress(
            have_bytes=have,
            received_bytes=task.received_bytes,
            wasted_bytes=task.wasted_bytes,
            sent_bytes=task.sent_bytes,
            receive_rate_bytes_per_s=sum(taking.values()),
            send_rate_bytes_per_s=sum(run.rate_bytes_per_s for run in giving),
            peers=len(task.connections),
            connected=frozenset(c.other(self).node_id for c in task.connections.values()),
            sources=tuple(evolve(s, rate_bytes_per_s=taking.get(s.node_id, 0.0)) for s in sources),
        )

    def uplink_bytes(self) -> tuple[int, int]:
        """See `Transfer.uplink_bytes`. The world counts at its pipes."""
        return 0, 0

    def events(self) -> list[TransferEvent]:
        """See `Transfer.events`."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """See `Transfer.close`. Peers see their connections closed at once."""
        for infohash in list(self._tasks):
            self.stop(infohash)
        self.vanish()

    def vanish(self) -> None:
        """Be gone without a word, as after a power cut: peers notice when they have heard nothing for `SILENCE_S`."""
        self._tasks.clear()
        self._events.clear()
        if self._fabric.transfers.get(self.address) is self:
            del self._fabric.transfers[self.address]

    def _begin(self, job: ImageJob) -> Task | None:
        image = self._fabric.images.get(job.infohash)
        if image is None or len(image.blocks) != block_count(job.length_bytes):
            self._end(job.infohash, "torrent describes another image than the one asked for")
            return None
        try:
            room = self._storage.size_bytes(job.path)
        except OSError as error:
            self._end(job.infohash, f"{job.path} cannot be opened: {error.strerror}")
            return None
        if room < job.length_bytes:
            self._end(job.infohash, f"{job.path} has {room} bytes, the image has {job.length_bytes}")
            return None
        task = Task(self, job, image, bytearray(-(-len(image.blocks) // image.piece_blocks)), {})
        self._tasks[job.infohash] = task
        return task

    def _end(self, infohash: bytes, why: str, *, disk_full: bool = False) -> None:
        self.stop(infohash)
        self._emit(TransferStopped(infohash, why, disk_full))

    def _emit(self, event: TransferEvent) -> None:
        """Through the heap, so that nobody hears of it before the call that caused it has returned."""

        def say() -> None:
            self._events.append(event)
            self._fabric.tell(self)

        self._fabric.later(0.0, say)

    def _attached(self) -> bool:
        return self._fabric.transfers.get(self.address) is self

    def _check_believed(self, task: Task) -> None:
        """Look at the pieces that are said to be in place whole, as libtorrent hashes them."""
        for piece, blocks in enumerate(task.believed):
            if len(blocks) < len(task.blocks_of(piece)):
                continue
            del task.needed[piece]
            try:
                right = self._check(task, piece)
            except OSError as error:
                self._fail(task, error)
                return
            if not right:
                self._reject(task, piece, "blocks that were in place")
        self._check_whole(task)

    def _check(self, task: Task, piece: int) -> bool:
        """Is everything of the piece on the storage right? Then it is ours."""
        right = all(
            self._storage.read(task.job.path, block) == task.image.blocks[block]
            for block in task.blocks_of(piece)
        )
        if right:
            task.have[piece] = 1
            task.believed[piece] = set()
            if task.job.streamed:
                self._emit(PieceArrived(task.job.infohash, piece))
        return right

    def _reject(self, task: Task, piece: int, source: str) -> None:
        task.believed[piece] = set()
        task.needed[piece] = None
        self._emit(PieceRejected(task.job.infohash, piece, source))

    def _check_whole(self, task: Task) -> None:
        if not task.whole:
            return
        infohash = task.job.infohash
        self._emit(ImageFetched(infohash))
        for connection in list(task.connections.values()):
            theirs = connection.other(self)._tasks.get(infohash)
            if theirs is None or theirs.whole:
                self._disconnect(infohash, connection)

    def _dial(self, task: Task, to: Address) -> None:
        infohash = task.job.infohash
        other = self._fabric.transfers.get(to)
        theirs = other._tasks.get(infohash) if other is not None else None
        if other is None or theirs is None or self._tasks.get(infohash) is not task:
            return
        if task.whole or to in task.connections or self.address in theirs.banned or not self._attached():
            return
        if not (self._admits(task, to) and other._admits(theirs, self.address)):
            return
        if max(len(task.connections), len(theirs.connections)) >= self._fabric.connections_max:
            return
        if self._fabric.paths.reachable(self.address, to):
            connection = Connection(self, other)
            task.connections[to] = theirs.connections[self.address] = connection
            self._pull(task)
            other._pull(theirs)

    def _disconnect(self, infohash: bytes, connection: Connection) -> None:
        """End a connection: what was under way on it is asked of others."""
        for taker, run in list(connection.runs.items()):
            run.leave_pipes()
            task = taker._tasks.get(infohash)
            if task is not None and not task.whole:
                task.needed.update(dict.fromkeys(run.pieces))
        connection.runs.clear()
        for one in (connection.dialler, connection.listener):
            task = one._tasks.get(infohash)
            other = connection.other(one)
            if task is not None and task.connections.get(other.address) is connection:
                del task.connections[other.address]
                self._fabric.later(0.0, lambda one=one, task=task: one._pull(task))  # type: ignore[misc]

    def _pull(self, task: Task) -> None:
        """Ask every idle peer for something."""
        if self._tasks.get(task.job.infohash) is not task:
            return
        for connection in list(task.connections.values()):
            if self not in connection.runs and task.needed:
                self._ask(task, connection)

    def _ask(self, task: Task, connection: Connection) -> None:
        giver = connection.other(self)
        theirs = giver._tasks.get(task.job.infohash)
        if theirs is None or not giver._attached():
            self._wait_in_silence(task, connection)
            return
        pieces = self._choose(task, theirs)
        if not pieces:
            return
        route = self._fabric.paths.route(giver.address, self.address)
        for pipe in route.pipes:
            pipe.flows += 1
        rate = min((pipe.rate_bytes_per_s / pipe.flows for pipe in route.pipes), default=RATE_UNBOUND)
        asked = {p: [b for b in task.blocks_of(p) if b not in task.believed[p]] for p in pieces}
        size = sum(task.block_bytes(block) for blocks in asked.values() for block in blocks)
        run = Run(giver, self, asked, route.pipes, rate, size)
        connection.runs[self] = run
        self._fabric.later(route.latency_s + size / rate, lambda: self._arrive(task, connection, run))

    def _run_pieces(self, task: Task) -> int:
        """How many pieces a run has at most."""
        return max(1, self._fabric.run_bytes // (task.image.piece_blocks * BLOCK_BYTES))

    def _order(self, task: Task) -> list[int]:
        """All pieces, those of a run together, in an order of this node's own.

        libtorrent takes any of those that are equally rare, so two that fetch from the same givers and from each other seldom
        fetch the same. In one order for all, the one that has caught up with the other would fetch all the rest a second time.
        """
        pieces, most = range(len(task.have)), self._run_pieces(task)
        runs = [pieces[begin : begin + most] for begin in range(0, len(pieces), most)]
        self._fabric.rng.shuffle(runs)
        return [piece for run in runs for piece in run]

    def _choose(self, task: Task, theirs: Task) -> list[int]:
        """Consecutive pieces the giver has and we need, taken out of `needed`."""
        first = next((piece for piece in task.needed if theirs.have[piece]), None)
        if first is None:
            return []
        most = self._run_pieces(task)
        pieces: list[int] = []
        for piece in range(first, min(first - first % most + most, len(task.have))):
            if piece not in task.needed or not theirs.have[piece]:
                break
            del task.needed[piece]
            pieces.append(piece)
        return pieces

    def _arrive(self, task: Task, connection: Connection, run: Run) -> None:
        if run.over:
            return
        run.leave_pipes()
        if self._tasks.get(task.job.infohash) is not task:
            return  # this machine has lost its power since
        del connection.runs[self]
        theirs = run.giver._tasks.get(task.job.infohash)
        reachable = self._fabric.paths.reachable(connection.dialler.address, connection.listener.address)
        if theirs is None or not run.giver._attached() or not reachable:
            task.needed.update(dict.fromkeys(run.pieces))
            self._wait_in_silence(task, connection)
            self._pull(task)
            return
        for pipe in run.pipes:
            pipe.carried_bytes += run.size_bytes
        self._book(task, theirs, run)
        if self._store(task, theirs, run):
            self._check_whole(task)
            self._spread(task)

    def _book(self, task: Task, theirs: Task, run: Run) -> None:
        task.received_bytes += run.size_bytes
        theirs.sent_bytes += run.size_bytes
        giver = run.giver
        offered = task.offered.get(giver.address)
        before = task.sources.get(giver.node_id)
        task.sources[giver.node_id] = Source(
            node_id=giver.node_id,
            address=giver.address,
            same_site=offered is not None and offered.same_site,
            received_bytes=run.size_bytes + (before.received_bytes if before is not None else 0),
            rate_bytes_per_s=0.0,
        )

    def _store(self, task: Task, theirs: Task, run: Run) -> bool:
        """Write what arrived and check it; False where either side's storage failed, which ends its job."""
        infohash, giver = task.job.infohash, run.giver
        who = f"node {giver.node_id.hex()[:12]} at {giver.address}"
        for piece, blocks in run.pieces.items():
            try:
                contents = [giver._storage.read(theirs.job.path, block) for block in blocks]
            except OSError as error:
                task.needed.update(dict.fromkeys(p for p in run.pieces if not task.have[p]))
                giver._fail(theirs, error)
                return False
            try:
                for block, content in zip(blocks, contents, strict=True):
                    self._storage.write(task.job.path, block, content)
                right = self._check(task, piece)
            except OSError as error:
                self._fail(task, error)
                return False
            if not right:
                liar = contents != [task.image.blocks[block] for block in blocks]
                task.wasted_bytes += sum(map(task.block_bytes, blocks))
                self._reject(task, piece, who if liar else "blocks that were in place")
                if liar:
                    task.banned.add(giver.address)
        if giver.address in task.banned and giver.address in task.connections:
            self._disconnect(infohash, task.connections[giver.address])
        return True

    def _fail(self, task: Task, error: OSError) -> None:
        why = f"{task.job.path}: {error.strerror}"
        self._end(task.job.infohash, why, disk_full=error.errno == errno.ENOSPC)

    def _spread(self, task: Task) -> None:
        """Go on, and let those who need what we have just got ask for it."""
        self._pull(task)
        for connection in list(task.connections.values()):
            other = connection.other(self)
            theirs = other._tasks.get(task.job.infohash)
            if theirs is not None and not theirs.whole:
                other._pull(theirs)

    def _wait_in_silence(self, task: Task, connection: Connection) -> None:
        """The giver does not answer. Believe in it for a while, then look again."""
        run = Run(connection.other(self), self)
        connection.runs[self] = run

        def look_again() -> None:
            if run.over or connection.runs.get(self) is not run:
                return
            del connection.runs[self]
            giver = run.giver
            alive = giver._attached() and task.job.infohash in giver._tasks
            if alive and self._fabric.paths.reachable(
                connection.dialler.address, connection.listener.address
            ):
                self._pull(task)
            else:
                self._disconnect(task.job.infohash, connection)

        restarted = self._fabric.transfers.get(run.giver.address) not in {None, run.giver}
        self._fabric.later(0.0 if restarted else SILENCE_S, look_again)
