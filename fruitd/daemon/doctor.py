"""What `fruit doctor` looks at: each check says what was found and, where something is wrong, what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from fruitd.errors import FruitError
from fruitd.node.offer import nothing_for
from fruitd.updater.journal import State, other_slot

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

STATE_FREE_BYTES_MIN = 8 * 1024 * 1024
"""A torrent file and a journal fit many times over."""
CHANNELS_TOLD_MAX = 3
"""Other channels named in one line for a person."""
Finding = tuple[bool, str, str]


async def examine(daemon: Daemon) -> list[dict[str, Any]]:
    """Every check, in the order a person would look."""
    checks: tuple[tuple[str, Callable[[Daemon], Finding]], ...] = (
        ("peers", _peers),
        ("manifest", _manifest),
        ("update", _update),
        ("boot", _boot),
        ("inactive slot", _inactive_slot),
        ("state", _state),
        ("clock", _clock),
    )
    rows = []
    for name, check in checks:
        ok, found, do = (
            await trio.to_thread.run_sync(check, daemon) if check is _inactive_slot else check(daemon)
        )
        rows.append({"name": name, "ok": ok, "found": found, "do": "" if ok else do})
    return rows


def _peers(daemon: Daemon) -> Finding:
    peers = daemon.core.swarm.peers()
    found = f"{len(peers)} known, {sum(p.same_site for p in peers)} of them on this site"
    do = "check the network, the swarm key, and [swarm] contacts; UDP and TCP port, and the beacon, must get through"
    return bool(peers), found, do


def _manifest(daemon: Daemon) -> Finding:
    channel = daemon.config.node.channel
    if daemon.core.disputed:
        return False, daemon.core.disputed, "ask the maintainers to publish a manifest with a higher sequence"
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
    if daemon.boot is None:
        return True, "not needed without slots", ""
    try:
        facts = daemon.boot.facts()
    except FruitError as error:
        return False, str(error), "the boot environment has to be mended by hand"
    words = f"slot {facts.active} runs, slot {facts.default} is the default"
    return True, words + (f", slot {facts.armed} is armed" if facts.armed else ""), ""


def _inactive_slot(daemon: Daemon) -> Finding:
    slots, facts = daemon.config.slots, daemon.boot_facts
    if slots is None or facts is None:
        return True, "no slots", ""
    paths = {"a": slots.a, "b": slots.b}
    inactive = other_slot(facts.active)
    try:
        size_bytes = daemon.jobs.inspect_slot(paths[inactive], paths[facts.active])
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
    return (
        False,
        "the system clock is behind its floor: it has not been set since the boot",
        "check NTP; updates go on",
    )
