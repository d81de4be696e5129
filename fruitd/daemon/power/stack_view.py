"""Stacks, bays and hearts as this node knows them, for the API (docs/api.md, stack)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fruitd.amounts import line
from fruitd.errors import RefusedError
from swarm.news.record import Record
from swarm.power import FIGURES, HEALTH_KIND, POWER_KIND, BayPower, NodeHealth
from swarm.status import STATUS_KIND, NodeStatus
from swarm.trust.keys import NODE_ID_BYTES

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

Json = dict[str, Any]
NAMED_MAX = 4
"""Stacks named in a refusal."""


def stacks_of(daemon: Daemon) -> Json:
    """Every stack that is told of, its own as it is at this moment."""
    now_s, wall_s = daemon.time.now_s(), daemon.time.wall_s()
    owner, me = daemon.power.owner, daemon.identity.node_id
    bays: dict[str, dict[tuple[int, int], tuple[bytes, BayPower]]] = {}
    for record in _records(daemon, POWER_KIND):
        said = BayPower.decode(record.body)
        place = (said.place.address, said.place.bay)
        held = bays.setdefault(said.stack, {}).get(place)
        if held is None or held[1].at_s < said.at_s:
            bays[said.stack][place] = (record.key[:NODE_ID_BYTES], said)
    if owner is not None:
        for power in owner.bays(now_s):
            bays.setdefault(power.stack, {})[(power.place.address, power.place.bay)] = (me, power)
    return {
        "own": _own(daemon),
        "stacks": [_stack(daemon, name, found, wall_s) for name, found in sorted(bays.items())],
        "events": [{"at_s": at_s, "why": why} for at_s, why in owner.events] if owner is not None else [],
        "learning": owner.learning.hex() if owner is not None and owner.learning is not None else None,
    }


def learn(daemon: Daemon, asked: list[bytes]) -> Json:
    """Begin to find out who sits where; raises `RefusedError` at a node that has no bus."""
    owner, name = daemon.power.owner, daemon.config.stack.name
    if owner is None:
        raise no_bus(daemon)
    healths = daemon.power.healths()
    beating = [node_id for node_id, health in sorted(healths.items()) if health.beat]
    chosen = asked or [node_id for node_id in beating if owner.seating.place_of(node_id) is None]
    strangers = [node_id.hex()[:8] for node_id in chosen if node_id not in beating]
    if strangers:
        raise RefusedError(f"{', '.join(strangers)} does not say that it beats on a board of stack {name}")
    waiting = owner.learn(chosen)
    return {"stack": name, "waiting": [node_id.hex() for node_id in waiting]}


def no_bus(daemon: Daemon) -> RefusedError:
    """What is said where something is asked that only the node with the bus knows."""
    trouble = f": {daemon.power.trouble}" if daemon.power.trouble else ""
    stacks = [each for each in stacks_of(daemon)["stacks"] if not each["self"]]
    having = [
        f"{line(each['owner_name']) or each['owner'][:8]} has {each['name']}'s" for each in stacks[:NAMED_MAX]
    ]
    who = ", ".join(having) or "no node tells of having one"
    return RefusedError(f"this node has the bus of no stack{trouble}; {who}: fruit stack show")


def health_rows(daemon: Daemon) -> dict[str, Json]:
    """What each node says of its heart and supply, by its id in hex; for the list of nodes."""
    return {
        record.key.hex(): _health(NodeHealth.decode(record.body)) for record in _records(daemon, HEALTH_KIND)
    }


def _own(daemon: Daemon) -> Json:
    part = daemon.power
    wall_s, now_s = daemon.time.wall_s(), daemon.time.now_s()
    return {
        "stack": part.settings.stack or None,
        "owns": part.own.owns,
        "trouble": part.trouble or daemon.heartbeat.trouble,
        "bus_waits": part.owner.bus.why(now_s) or None if part.owner is not None else None,
        "held_back": part.own.hold_back,
        **_health(part.own.health(now_s, wall_s)),
    }


def _health(said: NodeHealth) -> Json:
    supply = said.supply
    return {
        "heartbeat": said.beat.word,
        "well": said.well,
        "why": said.why,
        "undervoltage": supply.undervoltage,
        "undervoltage_since_boot": supply.undervoltage_since_boot,
        "throttled": supply.throttled,
        "throttled_since_boot": supply.throttled_since_boot,
        "celsius": None if supply.celsius is None else round(supply.celsius, 1),
        "in_stack": said.stack or None,
        "bay": None if said.place is None else str(said.place),
    }


def _stack(
    daemon: Daemon, name: str, found: dict[tuple[int, int], tuple[bytes, BayPower]], wall_s: float
) -> Json:
    newest = max(found.values(), key=lambda each: each[1].at_s)[0]
    boards: dict[int, Json] = {}
    for (address, _), (_, said) in sorted(found.items()):
        board = boards.setdefault(
            address,
            {
                "address": address,
                "present": said.present,
                **_figures(said, ("input_v", "input_a", "input_w")),
                "bays": [],
            },
        )
        board["bays"].append(_bay(daemon, said, wall_s))
    return {
        "name": name,
        "owner": newest.hex(),
        "owner_name": daemon.power.name_of(newest),
        "self": newest == daemon.identity.node_id,
        "boards": list(boards.values()),
    }


def _bay(daemon: Daemon, said: BayPower, wall_s: float) -> Json:
    status = _status(daemon, said.node_id)
    return {
        "bay": str(said.place),
        "node": said.node_id.hex() or None,
        "name": status.name if status is not None else "",
        "known_by": said.known_by,
        "powered": said.powered,
        "heartbeat": said.heartbeat,
        "silent_s": said.silent_s,
        **_figures(said, ("bay_v", "bay_a", "bay_w")),
        "release": (status.release or None) if status is not None else None,
        "version": (status.version or None) if status is not None else None,
        "state": status.state if status is not None else None,
        "doing": said.doing,
        "why": said.why,
        "supply": said.supply_why,
        "turn": bool(said.turn),
        "command": said.done,
        "energy_j": said.energy_j,
        "last_update_j": said.update_j or None,
        "last_update_s": said.update_s or None,
        "age_s": round(max(0.0, wall_s - said.at_s), 1),
    }


def _figures(said: BayPower, names: tuple[str, ...]) -> Json:
    assert set(names) <= set(FIGURES)
    figures = {name: said.figure(name) for name in names}
    return {name: {"value": figure.value, "quality": figure.worth.word} for name, figure in figures.items()}


def _status(daemon: Daemon, node_id: bytes) -> NodeStatus | None:
    entry = daemon.core.store.get(STATUS_KIND, node_id)
    record = entry.record if entry is not None else None
    return NodeStatus.decode(record.body) if record is not None else None


def _records(daemon: Daemon, kind: str) -> list[Record]:
    return [entry.record for entry in daemon.core.store.entries(kind) if entry.record is not None]
