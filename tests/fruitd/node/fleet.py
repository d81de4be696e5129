"""A node core with real trust, real torrents and a real updater, for tests that are its host."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

import attrs
from attrs import frozen

from bep35 import merkle, metainfo, signing
from fruitd.boot_facts import BootFacts
from fruitd.node.core import NodeCore
from fruitd.node.library import Library
from fruitd.node.own_membership import OwnMembership
from fruitd.node.settings import NodeSettings
from fruitd.updater.journal import Journal, State
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from swarm.beginning import begin
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.news.record import Record
from swarm.roll import Roll
from swarm.root_file import RootChain, root_record
from swarm.seal import Keyring
from swarm.signing import signed
from swarm.trust.freshness import Freshness
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.trusted_set import torrent_statement

NOW_S = 1_800_000_000.0
DAY_S = 86_400
RESOURCE = "org.fruit-testbed.os/rootfs"
ROOT_KEY = SecretKey(b"\1" * 32, "root-1")
RELEASE_KEY = SecretKey(b"\2" * 32, "release-1")
NEXT_KEY = SecretKey(b"\5" * 32, "release-2")
FRESHNESS_KEY = SecretKey(b"\6" * 32, "freshness-1")
KEYRING = Keyring((b"\4" * 32,))
FIRST_BOOT = BootFacts("boot-1", "a", "a", None)
T = TypeVar("T")


@frozen
class Signed:
    """A release ready to be published."""

    release: Release
    torrent: bytes
    image: bytes
    leaves: bytes


def make_root(
    version: int = 1, key: SecretKey = RELEASE_KEY, *, freshness: bool = False, expires_at_s: float = 0
) -> Record:
    """A root of a swarm with one root key and one release key, signed."""
    names = {ROOT_KEY.public.raw: "root-1", key.public.raw: key.name}
    roles = {
        Role.ROOT: RoleKeys(1, frozenset({ROOT_KEY.public.raw})),
        Role.RELEASE: RoleKeys(1, frozenset({key.public.raw})),
    }
    if freshness:
        names[FRESHNESS_KEY.public.raw] = FRESHNESS_KEY.name
        roles[Role.FRESHNESS] = RoleKeys(1, frozenset({FRESHNESS_KEY.public.raw}))
    return signed(root_record(TrustRoot("fleet", version, names, roles, int(expires_at_s))), ROOT_KEY)


def make_release(number: int, hardware: Sequence[str] = ("pi",), key: SecretKey = RELEASE_KEY) -> Signed:
    """A signed torrent of a small image, and its row of a manifest."""
    image = random.Random(number).randbytes(5 * merkle.BLOCK_BYTES + 100)
    leaves = merkle.leaf_hashes(image)
    raw = metainfo.build(f"rootfs-{number}.img", len(image), leaves, 4 * merkle.BLOCK_BYTES)
    row = Release(
        RESOURCE, tuple(hardware), number, f"v{number}", len(image), metainfo.parse(raw).infohash,
        bytes(32), 1, key.public.raw,
    )  # fmt: skip
    signer_id = signing.signer_id_of(key.public.raw)
    torrent = signing.sign(raw, signer_id, key.signing_key, torrent_statement(row))
    named = attrs.evolve(row, torrent_sha256=hashlib.sha256(torrent).digest(), torrent_bytes=len(torrent))
    return Signed(named, torrent, image, leaves)


def make_manifest(
    sequence: int, *releases: Signed, issued_at_s: int = int(NOW_S), key: SecretKey = RELEASE_KEY
) -> Record:
    """A manifest of channel stable, signed."""
    body = Manifest("fleet", "stable", issued_at_s, tuple(r.release for r in releases)).encode()
    return signed(Record("manifest", b"stable", sequence, body), key)


def make_fresh(about: Record, at_s: float, valid_for_s: int = 7 * DAY_S, **changes: object) -> Record:
    """The word that this manifest is current, signed."""
    said = Freshness("fleet", "stable", about.sequence, about.content_hash, int(at_s), valid_for_s)
    said = attrs.evolve(said, **changes)
    return signed(Record("fresh", b"stable", said.at_s, said.encode()), FRESHNESS_KEY)


def make_core(
    hardware: Iterable[str] = ("pi",),
    roots: Sequence[Record] = (make_root(),),
    kept: Iterable[Record] = (),
    journal: Journal | None = None,
    now_s: float = NOW_S,
    boot: BootFacts = FIRST_BOOT,
    library: Library | None = None,
    *,
    start: bool = True,
    slots: bool = True,
    relay_images: bool = False,
) -> NodeCore:
    """A node that has just started (or is about to), given these roots, with what it kept; with `slots` or none."""
    rng = random.Random(7)
    beginning = begin(RootChain.of(roots), kept)
    store, trusted = beginning.store, beginning.trusted
    library = library or Library([], [])
    identity = SecretKey(b"\3" * 32, "identity")
    me = Me(identity.node_id, "node", "", 47101, 47102)
    roll = Roll(store, trusted)
    swarm = SwarmCore(me, SwarmSettings(), KEYRING, store, library.blob, rng, now_s, roll, trusted)
    settings = NodeSettings("node", "", "fruitd test", RESOURCE, frozenset(hardware), "stable", relay_images)
    updater = Updater(journal or Journal(), UpdateSettings(), rng, strict=True) if slots else None
    core = NodeCore(
        settings, swarm=swarm, store=store, trusted=trusted, updater=updater, identity=identity,
        library=library, rng=rng, membership=OwnMembership(identity.node_id, roll),
    )  # fmt: skip
    if start:
        core.started(boot, now_s)
    return core


def only(effects: Iterable[object], kind: type[T]) -> T:
    """The one effect of this kind."""
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, effects
    return found[0]


def state_of(core: NodeCore) -> State:
    """Where the update stands."""
    assert core.updater is not None
    return core.updater.journal.state
