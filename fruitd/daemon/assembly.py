"""Puts a node together from its configuration and what it kept on disk; every part that can be wrong is tried here.

Raises `UsageError` or `RefusedError` with one line that says what to do; nothing has been changed then but the state folder.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from attrs import frozen

from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.config.tables import Config, TransferConfig
from fruitd.daemon.identity import load_identity
from fruitd.daemon.own_certificate import load_certificate
from fruitd.daemon.power.heartbeat import wanted_lines
from fruitd.daemon.power.power_assembly import ENERGY_META, POWER_META, power_part
from fruitd.daemon.steady_time import SteadyTime
from fruitd.errors import RefusedError as NodeRefusedError
from fruitd.errors import UsageError
from fruitd.keeper.boot_backend import boot_backend
from fruitd.keeper.client import KeeperClient
from fruitd.keeper.own import OwnKeeper
from fruitd.keeper.port import SlotKeeper
from fruitd.node.core import NodeCore
from fruitd.node.library import Library, Share
from fruitd.node.own_membership import OwnMembership
from fruitd.node.parcel_cache import SUFFIX, CachedParcel, ParcelCache
from fruitd.node.settings import NodeSettings
from fruitd.node.standing import signed_time_s, without_a_clock_s
from fruitd.power.part import PowerPart
from fruitd.slots.locate import located
from fruitd.slots.size import size_bytes_of
from fruitd.state.node_state import NodeState
from fruitd.updater.journal import Journal
from fruitd.updater.machine import Updater
from fruitd.updater.settings import UpdateSettings
from swarm.beginning import Beginning, begin
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.errors import KeyFileError, RefusedError, SwarmError
from swarm.news.store import RecordStore
from swarm.roll import Roll
from swarm.root_file import ROOT_FILE_BYTES_MAX, RootChain, load_chain
from swarm.seal import Keyring
from swarm.shell.settings import ShellSettings
from swarm.shell.sockets import Sockets, open_sockets
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.session_settings import TransferSettings
from swarm.transfer.uplink_rules import UplinkRules
from swarm.trust.clock import FlooredClock
from swarm.trust.key_files import read_bounded
from swarm.trust.keys import SecretKey
from swarm.trust.trusted_set import TrustedSet

CONNECTIONS_MAX = 64
"""Streams served at once. Each may hold a frame of 256 KiB."""
NODES_ON_ONE_HOST = 48
"""Of those, to one address: many nodes may stand behind one NAT. Fewer than all, so that no address takes all."""


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
    keeper: SlotKeeper | None
    power: PowerPart
    lines: str
    """Where the heartbeat goes; see `wanted_lines`."""


async def assemble(config: Config) -> Assembly:
    """Make every part; sockets are bound when it returns."""
    software = f"fruitd {metadata.version('fruitd')}"
    chain = _load_roots(config.trust.root)
    keyring = Keyring(read_swarm_keys(config.swarm.key_file))
    state = NodeState(config.node.state_dir)
    # Behind the lock on the state: whoever holds the boot environment mends it, and two at once would undo each other's changes.
    keeper = _keeper(config)
    beginning = begin(chain, state.records(), state.followed_root())
    _let_go(state, beginning)
    clock = FlooredClock(_build_time_s(), state.floor_s())
    trusted = beginning.trusted
    clock.signed_time(signed_time_s(beginning.store, trusted), without_a_clock_s(trusted))
    time = SteadyTime(clock)
    identity = load_identity(config.node.state_dir)
    transfer = _transfer(config, identity)
    sockets = await _sockets(config)
    lines = wanted_lines(config.heartbeat.lines)
    core, power = _core(
        config, software, state, time, identity, beginning, keyring, transfer.port, sockets, lines
    )
    return Assembly(
        config, software, state, time, identity, core.trusted, core, transfer, sockets, keeper, power, lines
    )


def _core(
    config: Config,
    software: str,
    state: NodeState,
    time: SteadyTime,
    identity: SecretKey,
    beginning: Beginning,
    keyring: Keyring,
    transfer_port: int,
    sockets: Sockets,
    lines: str,
) -> tuple[NodeCore, PowerPart]:
    store, trusted = beginning.store, beginning.trusted
    roll = _roll(state, store, trusted)
    certificate, trouble = load_certificate(
        config.node.state_dir, config.node.token, identity, trusted.root, time.wall_s()
    )
    membership = OwnMembership(identity.node_id, roll, certificate, trouble)
    site = config.node.site or (certificate.token.site if certificate is not None else "")
    shares = [
        Share(share.infohash, share.path, share.parcel)
        for share in state.shares()
        if Path(share.path).is_file()
    ]
    state.prune_torrents(_torrents_needed(state.journal()))
    library = Library(state.torrents(), shares, _parcel_cache(config, shares))
    me = Me(identity.node_id, config.node.name, site, sockets.port, transfer_port)
    rng = random.SystemRandom()
    swarm_settings = SwarmSettings(beacon=config.swarm.beacon)
    swarm = SwarmCore(me, swarm_settings, keyring, store, library.blob, rng, time.now_s(), roll, trusted)
    settings = NodeSettings(
        name=config.node.name,
        site=site,
        software=software,
        resource=config.node.resource,
        hardware=frozenset(config.node.compatible),
        channel=config.node.channel,
        relay_images=config.transfer.relay_images,
        slot_bytes=_smaller_slot_bytes(config),
    )
    updater = Updater(state.journal(), _update_settings(config), rng) if config.slots is not None else None
    kept, energy_kept = state.meta(POWER_META), state.meta(ENERGY_META)
    power = power_part(
        config, identity.node_id, lines, kept, energy_kept, swarm, store, trusted, time.now_s()
    )
    core = NodeCore(
        settings,
        swarm=swarm,
        store=store,
        trusted=trusted,
        updater=updater,
        identity=identity,
        library=library,
        rng=rng,
        membership=membership,
        power=power,
    )
    return core, power


def _parcel_cache(config: Config, shares: Sequence[Share]) -> ParcelCache:
    """What is in the cache folder: what is shared is whole, the rest an earlier try left."""
    folder = config.node.state_dir / "parcels"
    whole = {share.infohash for share in shares if Path(share.path).parent == folder}
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    sizes = {path.stem: path.stat().st_size for path in found}
    parts = [
        CachedParcel(infohash, size, whole=False) for infohash, size in sizes.items() if infohash not in whole
    ]
    kept = [
        CachedParcel(share.infohash, sizes[share.infohash], whole=True)
        for share in shares
        if share.infohash in whole
    ]
    return ParcelCache(str(folder), config.transfer.parcel_cache_bytes, [*parts, *kept])


def _smaller_slot_bytes(config: Config) -> int:
    slots = config.slots
    return min(map(size_bytes_of, located(slots.a, slots.b).values())) if slots is not None else 0


def _torrents_needed(journal: Journal) -> set[str]:
    """SHA-256 of the torrents that the slots, the work under way and the next offer are about."""
    targets = [content.target for content in journal.slots.values() if content is not None]
    targets += [target for target in (journal.target, journal.pending) if target is not None]
    return {target.torrent_sha256 for target in targets}


def _let_go(state: NodeState, beginning: Beginning) -> None:
    """What was kept and is not believed any more goes from the disk, with what contradicted it; the store has the rest."""
    for record, why in beginning.let_go:
        state.notes.append(f"a stored {record.kind} is not believed any more: {why}")
        state.forget_record(record.kind, record.key)
        held = beginning.store.get(record.kind, record.key)
        if held is not None:
            state.save_records(held.records)


def _roll(state: NodeState, store: RecordStore, trusted: TrustedSet) -> Roll:
    """Who is a member; what was kept and does not count any more is let go."""
    roll = Roll(store, trusted)
    for kind, key in roll.fallen():
        store.forget(kind, key)
        state.forget_record(kind, key)
    return roll


def _update_settings(config: Config) -> UpdateSettings:
    health, update = config.health, config.update
    return UpdateSettings(
        max_attempts=update.max_attempts,
        cut_offs_max=update.cut_offs_max,
        retry_min_s=update.retry_min_s,
        retry_max_s=update.retry_max_s,
        health_interval_s=health.interval_s,
        health_sustain_s=health.sustain_s,
        health_samples=health.samples,
        health_fail_after=health.fail_after,
        trial_deadline_s=health.deadline_s,
        outage_s_max=health.outage_s,
    )


def _load_roots(path: Path) -> RootChain:
    try:
        return load_chain(read_bounded(path, ROOT_FILE_BYTES_MAX))
    except (KeyFileError, RefusedError) as error:
        raise UsageError(f"[trust] root {path}: {error}") from error


def _keeper(config: Config) -> SlotKeeper | None:
    slots, boot = config.slots, config.boot
    if slots is None:
        return None
    if boot is None:
        raise UsageError(
            "[slots] without [boot]: the node would not know how to boot its other slot; add [boot]"
        )
    if config.keeper is not None:
        return KeeperClient(config.keeper.socket)
    paths = located(slots.a, slots.b)
    return OwnKeeper(boot_backend(boot, paths, config.node.state_dir), paths, boot.restart_command)


def uplink_rules(transfer: TransferConfig) -> UplinkRules:
    """What the operator set for the uplink."""
    return UplinkRules(transfer.hours, transfer.monthly_quota_bytes, transfer.metered, transfer.on_battery)


def _transfer(config: Config, identity: SecretKey) -> LibtorrentTransfer:
    settings = TransferSettings(
        node_id=identity.node_id,
        host=config.swarm.bind,
        port=config.transfer.port,
        connections_max=config.transfer.connections_max,
        upload_bytes_per_s=config.transfer.upload_bytes_per_s,
        download_bytes_per_s=config.transfer.download_bytes_per_s,
        lan_upload_bytes_per_s=config.transfer.lan_upload_bytes_per_s,
        map_ports=config.transfer.map_ports,
        control_port=config.swarm.port,
    )
    try:
        return LibtorrentTransfer(settings)
    except SwarmError as error:
        raise NodeRefusedError(f"[transfer] {error}") from error


async def _sockets(config: Config) -> Sockets:
    swarm = config.swarm
    settings = ShellSettings(
        bind=swarm.bind,
        port=swarm.port,
        beacon=swarm.beacon,
        beacon_group=swarm.beacon_group,
        beacon_port=swarm.beacon_port,
        beacon_interfaces=swarm.beacon_interface,
        contacts=swarm.contacts,
        connections_max=CONNECTIONS_MAX,
        connections_per_host_max=NODES_ON_ONE_HOST,
    )
    try:
        return await open_sockets(settings)
    except (OSError, SwarmError) as error:
        # An address may come later, and a port be free in a moment: no wrong configuration, which is never tried again.
        raise NodeRefusedError(f"[swarm] {swarm.bind}:{swarm.port} cannot be listened on: {error}") from error


def _build_time_s() -> float:
    """When this software was put on the machine: it cannot be earlier now. Its newest source file tells."""
    package = Path(__file__).parents[1]
    return max(path.stat().st_mtime for path in package.rglob("*.py"))
