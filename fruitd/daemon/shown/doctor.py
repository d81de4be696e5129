"""What `fruit doctor` looks at: each check says what was found and, where something is wrong, what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from fruitd import gnu_gzip
from fruitd.boot.examination import BootSettings, examine_boot
from fruitd.daemon.shown.trust_checks import current, trust
from fruitd.errors import FruitError
from fruitd.health.commands import checks_in
from fruitd.node.offer import nothing_for
from fruitd.node.standing import day
from fruitd.slots.size import size_bytes_of
from fruitd.updater.journal import State, other_slot
from swarm.seal import UNKNOWN_KEY, key_id

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

STATE_FREE_BYTES_MIN = 8 * 1024 * 1024
"""A torrent file and a journal fit many times over."""
STRANGE_KEY_S = 900.0
"""Messages under a key that is not here are told for so long after the last: a swarm beacons every half minute."""
CHANNELS_TOLD_MAX = 3
"""Other channels named in one line for a person."""
Finding = tuple[bool, str, str]


async def examine(daemon: Daemon) -> list[dict[str, Any]]:
    """Every check, in the order a person would look."""
    checks: tuple[tuple[str, Callable[[Daemon], Finding]], ...] = (
        ("peers", _peers),
        ("beacon", _beacon),
        ("reach", _reach),
        ("router", _router),
        ("dht", lambda daemon: daemon.dht.finding()),
        ("swarm key", _swarm_key),
        ("membership", _membership),
        ("trust", trust),
        ("manifest", _manifest),
        ("current", current),
        ("update", _update),
        ("boot", _boot),
        ("inactive slot", _inactive_slot),
        ("gzip", _gzip),
        ("state", _state),
        ("clock", _clock),
    )
    rows = []
    for name, check in checks:
        ok, found, do = (
            await trio.to_thread.run_sync(check, daemon)
            if check in (_inactive_slot, _gzip)
            else check(daemon)
        )
        rows.append({"name": name, "ok": ok, "found": found, "do": "" if ok else do})
    rows += await trio.to_thread.run_sync(_health_rows, daemon)
    return rows + await trio.to_thread.run_sync(_boot_rows, daemon)


def _health_rows(daemon: Daemon) -> list[dict[str, Any]]:
    """What a trial would look at, as it is now. The owner's programs are listed and not run: a trial runs them."""
    if daemon.config.slots is None:
        return []
    results = daemon.trial_watch.panel().built_in()
    do = "a release on trial is not condemned for what was so before; mend it all the same"
    rows = [
        {"name": f"health: {r.name}", "ok": r.ok, "found": r.why, "do": "" if r.ok else do} for r in results
    ]
    programs = checks_in(daemon.config.health.checks_dir)
    wrong = [found for _, found in programs if isinstance(found, str)]
    named = ", ".join(name for name, _ in programs) or "none"
    rows.append(
        {
            "name": "health checks",
            "ok": not wrong,
            "found": wrong[0] if wrong else f"in {daemon.config.health.checks_dir}: {named}",
            "do": "a check that is not run counts as bad in a trial; see docs/operating.md" if wrong else "",
        }
    )
    watchdog, updater = daemon.trial_watch.watchdog, daemon.core.updater
    if updater is not None and updater.journal.state is State.TRIAL:
        do = "the trial goes on without it; see docs/operating.md"
        rows.append(
            {
                "name": "trial's watchdog",
                "ok": watchdog.held,
                "found": watchdog.words,
                "do": "" if watchdog.held else do,
            }
        )
    return rows


def _boot_rows(daemon: Daemon) -> list[dict[str, Any]]:
    """The boot loader, its environment, the disk and the watchdog."""
    boot = daemon.config.boot
    if boot is None or daemon.config.slots is None:
        return []
    settings = BootSettings(boot.backend, boot.env, boot.fw_env_config, boot.autoboot)
    sizes = {slot: size_bytes_of(path) for slot, path in daemon.slot_paths.items()}
    return [attrs.asdict(row) for row in examine_boot(settings, daemon.slot_paths, sizes, os.environ)]


def _peers(daemon: Daemon) -> Finding:
    peers = daemon.core.swarm.peers()
    found = f"{len(peers)} known, {sum(p.same_site for p in peers)} of them on this site"
    do = "check the network, the swarm key, and [swarm] contacts; UDP and TCP port, and the beacon, must get through"
    return bool(peers), found, do


def _beacon(daemon: Daemon) -> Finding:
    swarm = daemon.config.swarm
    if not swarm.beacon:
        return True, "off: [swarm] beacon is false", ""
    on = daemon.shell.beaconed_on
    if on:
        return True, f"sent and heard on {on}", ""
    named = ", ".join(swarm.beacon_interface)
    why = f"{named} is not up, or has no address" if named else "no interface of a LAN is up"
    do = "bring the interface up, or mend [swarm] bind and beacon_interface; contacts work meanwhile"
    return False, f"neither sent nor heard: {why}", do


def _reach(daemon: Daemon) -> Finding:
    return True, daemon.dht.reach_words(), ""


def _router(daemon: Daemon) -> Finding:
    if not daemon.config.transfer.map_ports:
        return True, "not asked to let anybody in: [transfer] map_ports is off", ""
    mappings = daemon.transfer.mappings
    if mappings.words:
        return True, mappings.words, ""
    found = "lets nobody in: " + (mappings.refusal or "no router has answered by UPnP, NAT-PMP or PCP")
    return (
        False,
        found,
        "allow UPnP or NAT-PMP on the router, forward both ports by hand, or set map_ports to false",
    )


def _swarm_key(daemon: Daemon) -> Finding:
    keys = daemon.core.swarm.keyring.keys
    found = f"seals with key {key_id(keys[0]).hex()}"
    if len(keys) > 1:
        found += f", opens {', '.join(key_id(key).hex() for key in keys[1:])} too"
    now_s = daemon.time.wall_s()
    strange = [
        row
        for row in daemon.state.refusals()
        if row["why"] == UNKNOWN_KEY and now_s - float(row["last_s"]) < STRANGE_KEY_S
    ]
    if not strange:
        return True, found, ""
    times = sum(int(row["count"]) for row in strange)
    do = (
        "if the swarm key was changed, this node missed it: fruit key swarm FILE --add NEW, --promote NEW, fruit reload; "
        "if not, strangers are near"
    )
    return False, f"{found}; {times} messages were sealed with a key that is not here", do


def _membership(daemon: Daemon) -> Finding:
    own = daemon.core.membership
    if not own.needed:
        return True, "not needed: this swarm's trust root names no operator", ""
    member, why = own.membership, own.why_not()
    found = why or (f"member by token {member.token.name}" if member is not None else "")
    do = "updates go on; to be counted again it needs a join token that counts (docs/membership.md), then: fruit reload"
    return not why, found, do


def _manifest(daemon: Daemon) -> Finding:
    channel = daemon.config.node.channel
    manifest = daemon.core.manifest()
    if manifest is None:
        return True, f"no manifest of channel {channel} has been heard yet{_elsewhere(daemon)}", ""
    record, body = manifest
    node = daemon.config.node
    if (
        daemon.core.updater is not None
        and body.release_for(node.resource, frozenset(node.compatible)) is None
    ):
        # Nothing is wrong where a channel serves other hardware; where it should serve this one, these words are the clue.
        return (
            True,
            nothing_for(record.sequence, body, node.resource, node.compatible) + _elsewhere(daemon),
            "",
        )
    return True, f"channel {channel} is at manifest {record.sequence}{_elsewhere(daemon)}", ""


def _elsewhere(daemon: Daemon) -> str:
    """Manifests of channels that this node passes on and does not follow, a few of them."""
    channel = daemon.config.node.channel
    others = [
        entry for entry in daemon.core.store.entries("manifest") if entry.records[0].key != channel.encode()
    ]
    return "".join(
        f"; manifest {entry.sequence} is of channel {entry.records[0].key.decode(errors='replace')}, "
        f"this node follows {channel}"
        for entry in others[:CHANNELS_TOLD_MAX]
    )


def _update(daemon: Daemon) -> Finding:
    updater = daemon.core.updater
    if updater is None:
        return True, "no slots: this node relays news and seeds", ""
    journal = updater.journal
    bad = journal.state in (State.REFUSED, State.QUARANTINED)
    stuck = journal.state is State.WAITING and journal.failures > 0
    do = (
        "see the reason; a newer release supersedes it"
        if bad
        else "the node tries again by itself; see the reason"
    )
    return not (bad or stuck), updater.describe(), do


def _boot(daemon: Daemon) -> Finding:
    if daemon.keeper is None:
        return True, "not needed without slots", ""
    try:
        facts = daemon.keeper.facts()
    except FruitError as error:
        return False, str(error), "the boot environment has to be mended by hand"
    words = f"slot {facts.active} runs, slot {facts.default} is the default"
    return True, words + (f", slot {facts.armed} is armed" if facts.armed else ""), ""


def _inactive_slot(daemon: Daemon) -> Finding:
    slots, facts = daemon.config.slots, daemon.boot_facts
    if slots is None or facts is None or daemon.keeper is None:
        return True, "no slots", ""
    paths = daemon.slot_paths
    inactive = other_slot(facts.active)
    try:
        size_bytes = daemon.keeper.slot_bytes(inactive)
    except FruitError as error:
        return (
            False,
            str(error),
            "updates wait until the slot can be written; the running system is not affected",
        )
    return (
        True,
        f"slot {inactive} ({paths[inactive]}) has {size_bytes / 2**20:.0f} MiB and can be written",
        "",
    )


def _gzip(daemon: Daemon) -> Finding:
    if daemon.config.slots is None:
        return True, "no slots", ""
    wrong = gnu_gzip.fault()
    do = "install GNU gzip; until then, files in gzip that changed are fetched as they are, from the image's torrent"
    return not wrong, wrong or f"{gnu_gzip.program()} packs as GNU gzip does", do


def _state(daemon: Daemon) -> Finding:
    folder = daemon.config.node.state_dir
    room = os.statvfs(folder)
    free_bytes = room.f_bavail * room.f_frsize
    do = f"free some space on the file system of {folder}"
    if daemon.state.trouble:
        return False, daemon.state.trouble, do
    return free_bytes >= STATE_FREE_BYTES_MIN, f"{folder} has {free_bytes / 2**20:.0f} MiB free", do


def _clock(daemon: Daemon) -> Finding:
    if daemon.time.clock_ok:
        return True, "the system clock is not behind what must be true", ""
    found = (
        f"the system clock is behind {day(daemon.time.floor_s)}, which must have passed: it has not been set since the boot, "
        "or a signed time lies in the future"
    )
    return False, found, "check NTP, and the time of whoever signed last; updates go on"
