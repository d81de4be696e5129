"""Puts a node together from its configuration and what it kept on disk; every part that can be wrong is tried here.

Raises `UsageError` or `RefusedError` with one line that says what to do; nothing has been changed then but the state folder.
"""

from __future__ import annotations

import random
from importlib import metadata
from pathlib import Path

from attrs import frozen

from fruitd.boot.file_backend import FileBackend
from fruitd.boot.port import BootBackend
from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.config.tables import Config
from fruitd.daemon.identity import load_identity
from fruitd.daemon.steady_time import SteadyTime
from fruitd.errors import UsageError
from fruitd.node.core import NodeCore
from fruitd.node.library import Library, Share
from fruitd.node.settings import NodeSettings
from fruitd.state.node_state import NodeState
from fruitd.updater.journal import Journal
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from swarm.admission import Admission
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.errors import KeyFileError, RefusedError, SwarmError
from swarm.news.store import RecordStore
from swarm.root_file import load_root
from swarm.seal import Keyring
from swarm.shell.settings import ShellSettings
from swarm.shell.sockets import Sockets, open_sockets
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.session_settings import TransferSettings
from swarm.trust.clock import FlooredClock
from swarm.trust.key_files import read_bounded
from swarm.trust.keys import SecretKey
from swarm.trust.root import TrustRoot
from swarm.trust.trusted_set import TrustedSet

ROOT_BYTES_MAX = 4096
NODES_ON_ONE_HOST = 64
"""Streams served at once to one address: many nodes may stand behind one NAT."""


@frozen
class Assembly:
    """The parts of one node, before anything moves."""

    config: Config
    software: str
    state: NodeState
    time: SteadyTime
    identity: SecretKey
    trusted: TrustedSet
    core: NodeCore
    transfer: LibtorrentTransfer
    sockets: Sockets
    boot: BootBackend | None


async def assemble(config: Config) -> Assembly:
    """Make every part; sockets are bound when it returns."""
    software = f"fruitd {metadata.version('fruitd')}"
    root = _load_root(config.trust.root)
    keyring = Keyring(read_swarm_keys(config.swarm.key_file))
    boot = _boot_backend(config)
    state = NodeState(config.node.state_dir)
    time = SteadyTime(FlooredClock(_build_time_s(), state.floor_s()))
    identity = load_identity(config.node.state_dir)
    transfer = _transfer(config, identity)
    sockets = await _sockets(config)
    trusted = TrustedSet(root)
    core = _core(config, software, state, time, identity, trusted, keyring, transfer.port, sockets)
    return Assembly(config, software, state, time, identity, trusted, core, transfer, sockets, boot)


def _core(
    config: Config,
    software: str,
    state: NodeState,
    time: SteadyTime,
    identity: SecretKey,
    trusted: TrustedSet,
    keyring: Keyring,
    transfer_port: int,
    sockets: Sockets,
) -> NodeCore:
    store = _store(state, trusted)
    shares = [Share(share.infohash, share.path) for share in state.shares() if Path(share.path).is_file()]
    state.prune_torrents(_torrents_needed(state.journal()))
    library = Library(state.torrents(), shares)
    me = Me(identity.node_id, config.node.name, config.node.site, sockets.port, transfer_port)
    rng = random.SystemRandom()
    swarm_settings = SwarmSettings(beacon=config.swarm.beacon)
    swarm = SwarmCore(me, swarm_settings, keyring, store, library.blob, rng, time.now_s())
    settings = NodeSettings(
        name=config.node.name,
        site=config.node.site,
        software=software,
        resource=config.node.resource,
        hardware=frozenset(config.node.compatible),
        channel=config.node.channel,
    )
    updater = Updater(state.journal(), _update_settings(config), rng) if config.slots is not None else None
    return NodeCore(
        settings,
        swarm=swarm,
        store=store,
        trusted=trusted,
        updater=updater,
        identity=identity,
        library=library,
        rng=rng,
    )


def _torrents_needed(journal: Journal) -> set[str]:
    """SHA-256 of the torrents that the slots, the work under way and the next offer are about."""
    targets = [content.target for content in journal.slots.values() if content is not None]
    targets += [target for target in (journal.target, journal.pending) if target is not None]
    return {target.torrent_sha256 for target in targets}


def _store(state: NodeState, trusted: TrustedSet) -> RecordStore:
    store = RecordStore(Admission(trusted).verdict)
    for record in state.records():
        try:
            store.offer(record)
        except RefusedError as error:  # signed under a trust root that was replaced, or expired meanwhile
            state.notes.append(f"a stored {record.kind} is not believed any more: {error}")
            state.forget_record(record.kind, record.key)
    return store


def _update_settings(config: Config) -> UpdateSettings:
    health, update = config.health, config.update
    return UpdateSettings(
        max_attempts=update.max_attempts,
        retry_min_s=update.retry_min_s,
        retry_max_s=update.retry_max_s,
        health_interval_s=health.interval_s,
        health_sustain_s=health.sustain_s,
        health_samples=health.samples,
        health_fail_after=health.fail_after,
        trial_deadline_s=health.deadline_s,
    )


def _load_root(path: Path) -> TrustRoot:
    try:
        return load_root(read_bounded(path, ROOT_BYTES_MAX))
    except (KeyFileError, RefusedError) as error:
        raise UsageError(f"[trust] root {path}: {error}") from error


def _boot_backend(config: Config) -> BootBackend | None:
    if config.slots is None:
        return None
    if config.boot is None:
        raise UsageError(
            "[slots] without [boot]: the node would not know how to boot its other slot; add [boot] env"
        )
    return FileBackend(config.boot.env)


def _transfer(config: Config, identity: SecretKey) -> LibtorrentTransfer:
    settings = TransferSettings(
        node_id=identity.node_id,
        host=config.swarm.bind,
        port=config.transfer.port,
        connections_max=config.transfer.connections_max,
        upload_bytes_per_s=config.transfer.upload_bytes_per_s,
        download_bytes_per_s=config.transfer.download_bytes_per_s,
    )
    try:
        return LibtorrentTransfer(settings)
    except SwarmError as error:
        raise UsageError(f"[transfer] {error}") from error


async def _sockets(config: Config) -> Sockets:
    swarm = config.swarm
    settings = ShellSettings(
        bind=swarm.bind,
        port=swarm.port,
        beacon=swarm.beacon,
        beacon_group=swarm.beacon_group,
        beacon_port=swarm.beacon_port,
        beacon_interface=swarm.beacon_interface,
        contacts=swarm.contacts,
        connections_max=NODES_ON_ONE_HOST,
        connections_per_host_max=NODES_ON_ONE_HOST,
    )
    try:
        return await open_sockets(settings)
    except (OSError, SwarmError) as error:
        raise UsageError(f"[swarm] {swarm.bind}:{swarm.port} cannot be listened on: {error}") from error


def _build_time_s() -> float:
    """When this software was put on the machine: it cannot be earlier now. Its newest source file tells."""
    package = Path(__file__).parents[1]
    return max(path.stat().st_mtime for path in package.rglob("*.py"))
