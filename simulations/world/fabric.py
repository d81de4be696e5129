"""Joins the model of transfers (`swarm.transfer.model`) to the world: its clock, its network, its machines.

The model knows its transfers by address. Private addresses repeat from site to site, so here each node's transfer stands under an
address of its own, and whom a node means by an address is worked out from where that node stands.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from simulations.world.heap import Dice, Heap
from simulations.world.images import TORN
from simulations.world.machine import Machine
from simulations.world.network import Network
from swarm.address import Address
from swarm.transfer.fabric import Fabric, ModelImage, Pipe, Route
from swarm.transfer.model import ModelTransfer
from swarm.transfer.port import BLOCK_BYTES, ImageJob, Progress, TransferPeer

if TYPE_CHECKING:
    from simulations.world.slot_work import SlotWork

RUN_BYTES = 1024 * 1024
"""Moved by one event of the model. Smaller shows more of how nodes share, and runs slower."""


class WorldFabric:
    """All transfers of a world."""

    def __init__(
        self,
        heap: Heap,
        network: Network,
        dice: Dice,
        *,
        lan_bytes_per_s: float,
        wan_bytes_per_s: float,
        run_bytes: int = RUN_BYTES,
        dials_back: bool = False,
    ) -> None:
        """`dials_back`: a holder that cannot be dialled dials whoever wants its image, if that one can be: as daemons do
        (`fruitd.daemon.moving.dialling`)."""
        self._heap = heap
        self._network = network
        self._lan_bytes_per_s = lan_bytes_per_s
        self._wan_bytes_per_s = wan_bytes_per_s
        self._fabric = Fabric(self, dice.named("fabric"), run_bytes=run_bytes)
        self._ears: dict[ModelTransfer, SlotWork] = {}
        self._pipes: dict[str, Pipe] = {}
        self._due_s = float("inf")
        self._dials_back = dials_back
        self._nodes: dict[bytes, int] = {}

    # ------------------------------------------------------------------ as nodes see it

    def join(self, node: int, node_id: bytes, machine: Machine, work: SlotWork) -> End:
        """A daemon starts its transfer."""
        transfer = ModelTransfer(self._fabric, node_id, _address_of(node), MachineStorage(machine))
        self._ears[transfer] = work
        self._nodes[node_id] = node
        return End(self, node, transfer)

    def join_liar(self, node: int, node_id: bytes) -> End:
        """A liar's transfer: whatever is asked of it, it has something else."""
        return End(self, node, ModelTransfer(self._fabric, node_id, _address_of(node), LyingStorage()))

    def publish(self, infohash: bytes, blocks: Sequence[int], piece_bytes: int) -> None:
        """What this infohash stands for."""
        self._fabric.publish(infohash, ModelImage(blocks, piece_bytes // BLOCK_BYTES))

    def leave(self, transfer: ModelTransfer, *, at_once: bool) -> None:
        """The daemon is gone: peers see its connections close (`at_once`), or hear nothing any more."""
        self.let_pass()
        self._ears.pop(transfer, None)
        if at_once:
            transfer.close()
        else:
            transfer.vanish()
        self.plan()

    def let_pass(self) -> None:
        """Let the model see the time before it is called. What its transfers have to say is said right after this moment."""
        for transfer in self._fabric.advance(self._heap.now_s):
            work = self._ears.get(transfer)
            for event in transfer.events():
                if work is not None:
                    self._heap.after(0.0, work.transfer_event, event)

    def plan(self) -> None:
        """Wake when the model has something to do."""
        due_s = self._fabric.next_event_s()
        if due_s is not None and due_s < self._due_s:
            self._due_s = due_s
            self._heap.at(due_s, self._wake, due_s)

    def _wake(self, due_s: float) -> None:
        if due_s != self._due_s:
            return
        self._due_s = float("inf")
        self.let_pass()
        self.plan()

    def end_of(self, asker: int, peer: TransferPeer) -> Address | None:
        """Whom the asker means, as the model knows it; None where nobody can be dialled."""
        node = self._network.dialled(asker, peer.address)
        if node is None and self._dials_back:
            node = self._nodes.get(peer.node_id)
            node = node if node is not None and self._network.can_dial(node, asker) else None
        return None if node is None else _address_of(node)

    # ------------------------------------------------------------------ as the model sees it

    def reachable(self, dialler: Address, listener: Address) -> bool:
        """See `swarm.transfer.fabric.Paths`."""
        back = self._dials_back and self._network.can_dial(listener.port, dialler.port)
        return back or self._network.can_dial(dialler.port, listener.port)

    def route(self, giver: Address, taker: Address) -> Route:
        """See `swarm.transfer.fabric.Paths`."""
        sites = self._network.site_of(giver.port), self._network.site_of(taker.port)
        pipes = [self._pipe(f"out {giver.port}"), self._pipe(f"in {taker.port}")]
        if sites[0] != sites[1]:
            pipes += [self._pipe(f"up {sites[0]}"), self._pipe(f"down {sites[1]}")]
        return Route(self._network.delay_s(giver.port, taker.port), tuple(pipes))

    def _pipe(self, name: str) -> Pipe:
        pipe = self._pipes.get(name)
        if pipe is None:
            wide = name.startswith(("up", "down"))
            pipe = self._pipes[name] = Pipe(self._wan_bytes_per_s if wide else self._lan_bytes_per_s)
        return pipe

    def slow_down(self, node: int, bytes_per_s: float) -> None:
        """This node's cable carries so much from now on, each way."""
        for way in ("in", "out"):
            self._pipe(f"{way} {node}").rate_bytes_per_s = bytes_per_s

    # ------------------------------------------------------------------ figures

    @property
    def moved_bytes(self) -> int:
        """Image bytes received by all nodes."""
        return sum(p.carried_bytes for name, p in self._pipes.items() if name.startswith("in"))

    def moved_into_site_bytes(self, site: int) -> int:
        """Image bytes that came into a site over its uplink."""
        return self._pipe(f"down {site}").carried_bytes

    @property
    def moved_between_sites_bytes(self) -> int:
        """Of these, what crossed from site to site."""
        return sum(p.carried_bytes for name, p in self._pipes.items() if name.startswith("down"))


class End:
    """One node's transfer, as its daemon uses it: the model behind the world's clock and addresses."""

    def __init__(self, fabric: WorldFabric, node: int, transfer: ModelTransfer) -> None:
        self._fabric = fabric
        self._node = node
        self._transfer = transfer

    def fetch(self, job: ImageJob, blocks_present: bytes) -> None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        self._transfer.fetch(job, blocks_present)
        self._fabric.plan()

    def seed(self, job: ImageJob) -> None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        self._transfer.seed(job)
        self._fabric.plan()

    def stop(self, infohash: bytes) -> None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        self._transfer.stop(infohash)
        self._fabric.plan()

    def offer_peers(self, infohash: bytes, peers: Sequence[TransferPeer]) -> None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        self._transfer.offer_peers(infohash, self._known(peers))
        self._fabric.plan()

    def keep_near(self, infohash: bytes, mates: Sequence[TransferPeer], *, near_only: bool) -> None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        self._transfer.keep_near(infohash, self._known(mates), near_only=near_only)
        self._fabric.plan()

    def _known(self, peers: Sequence[TransferPeer]) -> list[TransferPeer]:
        met = [(peer, self._fabric.end_of(self._node, peer)) for peer in peers]
        return [evolve(peer, address=address) for peer, address in met if address is not None]

    def progress(self, infohash: bytes) -> Progress | None:
        """See `swarm.transfer.port.Transfer`."""
        self._fabric.let_pass()
        return self._transfer.progress(infohash)

    def leave(self, *, at_once: bool) -> None:
        """The process is gone."""
        self._fabric.leave(self._transfer, at_once=at_once)


class MachineStorage:
    """A machine's slots and image files, as the model sees them: a slot by its letter, a file by its path."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def size_bytes(self, path: str) -> int:
        """See `swarm.transfer.fabric.BlockStorage`."""
        if path in self._machine.slots:
            return len(self._machine.slots[path].blocks) * BLOCK_BYTES
        if path not in self._machine.disk.files:
            raise OSError(errno.ENOENT, "No such file")
        return len(self._machine.disk.files[path]) * BLOCK_BYTES

    def read(self, path: str, block: int) -> int:
        """See `swarm.transfer.fabric.BlockStorage`."""
        if path in self._machine.slots:
            return self._machine.slots[path].read(block)
        return self._machine.disk.files[path][block]

    def write(self, path: str, block: int, content: int) -> None:
        """See `swarm.transfer.fabric.BlockStorage`."""
        if path in self._machine.slots:
            self._machine.write(path, block, content)
        else:
            self._machine.keep_in_cache(path, block, content)


class LyingStorage:
    """Holds rubbish wherever one looks."""

    def size_bytes(self, path: str) -> int:
        """See `swarm.transfer.fabric.BlockStorage`."""
        return 1 << 40

    def read(self, path: str, block: int) -> int:
        """See `swarm.transfer.fabric.BlockStorage`."""
        return TORN

    def write(self, path: str, block: int, content: int) -> None:
        """See `swarm.transfer.fabric.BlockStorage`."""


def _address_of(node: int) -> Address:
    return Address("node", node)
