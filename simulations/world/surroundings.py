"""What all nodes of a world share, and how a node's cores are put together from its disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from attrs import define, field, frozen

from fruitd.node.core import NodeCore
from fruitd.node.library import Library, Share
from fruitd.node.own_membership import OwnMembership
from fruitd.node.parcel_cache import SUFFIX, CachedParcel, ParcelCache
from fruitd.node.settings import NodeSettings
from fruitd.node.surroundings import surroundings_of
from fruitd.power.part import PowerPart
from fruitd.power.settings import PowerSettings
from fruitd.updater.journal import Journal
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from simulations.world.checker import Checker
from simulations.world.fabric import WorldFabric
from simulations.world.heap import Dice, Heap
from simulations.world.images import Behaviour, Image
from simulations.world.machine import Machine
from simulations.world.maintainer import CALENDAR_S, CHANNEL, RESOURCE, Maintainer, Published
from simulations.world.network import Network
from simulations.world.parcels import PIECE_BYTES, VirtualParcel
from simulations.world.trace import Trace
from swarm.address import Address
from swarm.admission import Admission
from swarm.beginning import begin
from swarm.core import SwarmCore, SwarmSettings
from swarm.errors import RefusedError
from swarm.joining import join
from swarm.me import Me
from swarm.news.record import Record, Signature
from swarm.roll import Roll
from swarm.root_file import RootChain
from swarm.seal import Keyring
from swarm.transfer.port import BLOCK_BYTES
from swarm.trust.keys import SecretKey
from swarm.trust.root import ROOT_KIND
from swarm.trust.trusted_set import TrustedSet

CONTROL_PORT = 47101
TRANSFER_PORT = 47102
SOFTWARE = "world"
CACHE_FOLDER = "/var/lib/fruitd/parcels"
CACHE_BYTES = 256 * 1024**2


@frozen
class NodePlan:
    """What one node is, for its whole life."""

    number: int
    site: int
    hardware: frozenset[str]
    identity: SecretKey
    site_name: str
    """"" where the node was not told."""
    power: PowerSettings | None = None
    """What it is to a stack of boards; None where it has none."""
    slots: bool = True
    """It can install."""
    relay_images: bool = False
    """It fetches images for others."""

    @property
    def node_id(self) -> bytes:
        """20 bytes."""
        return self.identity.node_id

    @property
    def name(self) -> str:
        """For people."""
        return f"n{self.number}"


class Verdicts:
    """The admission rules, with one memory for all nodes of a world.

    A verdict is a function of the record and the trust root alone, and most nodes here follow the same root: so a signature is
    checked once for the world rather than once for each node, which is most of what a large world would otherwise compute.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes, tuple[Signature, ...]], RefusedError | None] = {}

    def of(self, trusted: TrustedSet) -> Callable[[Record], None]:
        """The verdict of one node's store."""
        return partial(self.verdict, trusted)

    def verdict(self, trusted: TrustedSet, record: Record) -> None:
        """As `Admission(trusted).verdict`."""
        if record.kind == ROOT_KIND:  # judged by the roots before it, which nodes do not have in common
            Admission(trusted).verdict(record)
            return
        # A world's maintainer makes one root of each version.
        name = (trusted.root.version, record.content_hash, record.signatures)
        if name not in self._known:
            try:
                Admission(trusted).verdict(record)
                self._known[name] = None
            except RefusedError as error:
                self._known[name] = error
        why = self._known[name]
        if why is not None:
            raise type(why)(str(why), why.reason)


OPENED_MAX = 4096
"""Datagrams on their way at one moment; a multicast reaches its last listener within milliseconds."""


@frozen
class SharedKeyring(Keyring):
    """The swarm's keyring, with one memory for all nodes of a world of what was opened lately.

    A multicast is the same bytes for every node of a site, and opening them is a function of the bytes.
    """

    _opened: dict[tuple[bytes, bytes], bytes] = field(init=False, factory=dict, repr=False, eq=False)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """As `Keyring.open`."""
        opened = self._opened.get((sealed, context))
        if opened is None:
            opened = super().open(sealed, context)
            if len(self._opened) >= OPENED_MAX:
                self._opened.clear()
            self._opened[sealed, context] = opened
        return opened


@define
class Surroundings:
    """Everything a host needs of its world."""

    heap: Heap
    dice: Dice
    trace: Trace
    network: Network
    checker: Checker
    fabric: WorldFabric
    maintainer: Maintainer
    update_settings: UpdateSettings
    factory: Image
    contacts: tuple[Address, ...] = ()
    health_hiccups: float = 0.0
    published: list[Published] = field(factory=list)
    parcels: dict[bytes, VirtualParcel] = field(factory=dict)
    """By infohash."""
    cache_bytes: int = CACHE_BYTES
    """What each node keeps of parcels."""
    on_record: Callable[[int, Record], None] = field(default=lambda node, record: None)
    on_note: Callable[[int, str, str], None] = field(default=lambda node, what, why: None)
    on_commit: Callable[[int, str], None] = field(default=lambda node, slot: None)
    keyring: Keyring = field(init=False)
    verdicts: Verdicts = field(init=False, factory=Verdicts)
    _behaviours: dict[tuple[int, ...], Behaviour] = field(init=False, factory=dict)

    @keyring.default
    def _new_keyring(self) -> Keyring:
        return SharedKeyring((self.dice.bytes_for("swarm key"),))

    @property
    def health_interval_s(self) -> float:
        """Time between health samples."""
        return self.update_settings.health_interval_s

    def __attrs_post_init__(self) -> None:
        self._behaviours[self.factory.blocks] = Behaviour.GOOD
        self.checker.add_factory_image(self.factory.blocks)
        self.checker.add_genuine(self.maintainer.token.terms)

    def publish(self, published: Published) -> None:
        """The world takes note of a signed release; nodes hear of it by their own means."""
        self.published.append(published)
        self._behaviours[published.image.blocks] = published.image.behaviour
        self.checker.add_release(published)
        self.checker.add_genuine(published.manifest)
        self.fabric.publish(published.infohash, published.image.blocks, published.piece_bytes)
        for parcel in published.parcels:
            self.parcels[parcel.infohash] = parcel.content
            self.fabric.publish(parcel.infohash, parcel.content.blocks, PIECE_BYTES)

    def rotate(self) -> Record:
        """The maintainers take their release keys out of use; nodes hear of it by their own means."""
        root = self.maintainer.rotate()
        self.checker.add_genuine(root)
        self.checker.rotated_out({bytes(key.verify_key) for key in self.maintainer.stolen_keys})
        return root

    def behaviour(self, machine: Machine, slot: str) -> Behaviour | None:
        """What happens to a machine that boots this slot; None where there is no whole system in it."""
        return self._behaviours.get(tuple(machine.slots[slot].blocks))

    def healthy(self, machine: Machine, rng: random.Random) -> bool:
        """One health sample of the system that runs."""
        assert machine.active is not None
        if self.behaviour(machine, machine.active) is not Behaviour.GOOD:
            return False
        return not self.health_hiccups or rng.random() >= self.health_hiccups

    def record_accepted(self, node: int, record: Record) -> None:
        """A node's store took a record in."""
        self.trace.note(
            self.heap.now_s,
            node,
            "record",
            f"{record.kind} {record.sequence} {record.content_hash.hex()[:16]}",
        )
        self.checker.record_accepted(node, record)
        self.on_record(node, record)

    def noted(self, node: int, what: str, why: str) -> None:
        """A node wrote a line into its history."""
        self.checker.noted(node, what, why)
        self.on_note(node, what, why)

    def new_machine(self, plan: NodePlan) -> Machine:
        """A computer with the factory image in slot a."""
        machine = Machine(len(self.factory.blocks), self.dice.named("machine", plan.number))
        machine.slots["a"].blocks[:] = self.factory.blocks
        self.checker.add_node(plan.number, machine, plan.hardware)
        return machine

    def new_core(self, plan: NodePlan, machine: Machine, now_s: float, life: int) -> NodeCore:
        """The node's cores, as a daemon that starts makes them from what is on its disk."""
        disk = machine.disk
        given = RootChain.of(self.maintainer.roots[:1])
        kept = [record for records in disk.records.values() for record in records]
        beginning = begin(given, kept, verdict=self.verdicts.of)
        store, trusted = beginning.store, beginning.trusted
        for record, _ in beginning.let_go:
            held = store.get(record.kind, record.key)
            disk.records[record.kind, record.key] = list(held.records) if held is not None else []
        roll = Roll(store, trusted)
        for kind, key in roll.fallen():
            store.forget(kind, key)
            disk.records.pop((kind, key), None)
        identity = WatchedKey(plan.identity.seed, plan.identity.name, self.checker)
        # The certificate on the node's disk: the same in all its lives, whatever its clock says.
        certificate = join(self.maintainer.token, identity, trusted.root, CALENDAR_S)
        me = Me(plan.node_id, plan.name, plan.site_name, CONTROL_PORT, TRANSFER_PORT)
        rng = self.dice.named("core", plan.number, life)
        shares = [Share(infohash, path, path.endswith(SUFFIX)) for infohash, path in disk.shares.items()]
        cached = [path for path in disk.files if path.startswith(CACHE_FOLDER)]
        cache = ParcelCache(
            CACHE_FOLDER,
            self.cache_bytes,
            [
                CachedParcel(
                    infohash := path.removeprefix(f"{CACHE_FOLDER}/").removesuffix(SUFFIX),
                    len(disk.files[path]) * BLOCK_BYTES,
                    disk.shares.get(infohash) == path,
                )
                for path in cached
            ],
        )
        library = Library(disk.torrents.values(), shares, cache)
        swarm = SwarmCore(
            me,
            SwarmSettings(contacts=self.contacts),
            self.keyring,
            store,
            library.blob,
            rng,
            now_s,
            roll,
            trusted,
        )
        power = None
        if plan.power is not None:
            around = surroundings_of(swarm, store, trusted)
            power = PowerPart(plan.power, plan.node_id, store, around, rng, now_s, disk.power, disk.energy)
        return NodeCore(
            NodeSettings(
                plan.name, plan.site_name, SOFTWARE, RESOURCE, plan.hardware, CHANNEL, plan.relay_images
            ),
            swarm=swarm,
            store=store,
            trusted=trusted,
            updater=Updater(disk.journal or Journal(), self.update_settings, rng) if plan.slots else None,
            identity=identity,
            library=library,
            rng=rng,
            membership=OwnMembership(plan.node_id, roll, certificate),
            power=power,
        )


@frozen(slots=False)
class WatchedKey(SecretKey):
    """A node's identity key that tells the checker what it signs."""

    checker: Checker

    def sign(self, message: bytes) -> bytes:
        """As `SecretKey.sign`."""
        self.checker.add_genuine_message(message)
        return super().sign(message)
