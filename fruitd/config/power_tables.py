"""The tables about power: the stack this node belongs to, when its bays are power-cycled, and its own heart."""

from __future__ import annotations

import re
from typing import Any

from attrs import field, frozen

from fruitd.config import checks
from swarm.errors import RefusedError
from swarm.fields import name
from swarm.power import ADDRESS_MAX, PAUSE_S_MAX, Place

DAY_S = 86_400.0
_PLACE = re.compile(r"(\d{1,3}):([01])")
_NODE_ID = re.compile(r"[0-9a-f]{40}")


def _stack_name(value: Any) -> str:
    try:
        return name(value, "is", 0)
    except RefusedError as error:
        allowed = 'a name of at most 40 of A-Z, a-z, 0-9 and ._-, or "" for none'
        raise ValueError(f"is {checks.shown(value)}; allowed: {allowed}") from error


def _place(value: Any) -> Place | None:
    if value == "":
        return None
    found = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) > ADDRESS_MAX:
        raise ValueError(f'is {checks.shown(value)}; allowed: "BOARD:BAY", such as "0:1", or "" for not told')
    return Place(int(found[1]), int(found[2]))


def _node_id(value: Any) -> bytes:
    if isinstance(value, str) and _NODE_ID.fullmatch(value):
        return bytes.fromhex(value)
    raise ValueError(f"is {checks.shown(value)}; allowed: node ids, 40 hex digits each (fruit status --json)")


def _seat(value: Any) -> tuple[Place, bytes]:
    where, _, who = value.partition("=") if isinstance(value, str) else ("", "", "")
    place = _place(where)
    if place is None:
        raise ValueError(f'is {checks.shown(value)}; allowed: "BOARD:BAY=NODE ID"')
    return place, _node_id(who)


def _port(value: Any) -> str:
    if isinstance(value, str) and (value == "" or re.fullmatch(r"/[^\0]{1,200}|i2c:\d{1,3}", value)):
        return value
    raise ValueError(f'is {checks.shown(value)}; allowed: "", a device such as "/dev/ttyUSB0", or "i2c:1"')


def _lines(value: Any) -> str:
    if (
        isinstance(value, str)
        and len(value) <= 107
        and (value in ("auto", "none", "gpio") or value.startswith("/"))
    ):
        return value
    raise ValueError(
        f"is {checks.shown(value)}; allowed: auto, none, gpio, or the socket of an emulated board"
    )


def _volts(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 60:
        return float(value)
    raise ValueError(f"is {checks.shown(value)}; allowed: 0 to 60 volts")


def _be(check: checks.Check) -> dict[str, checks.Check]:
    return {"check": check}


@frozen
class StackConfig:
    """`[stack]`: the PiStack boards that this node sits on, or whose bus it has."""

    name: str = field(default="", metadata=_be(_stack_name))
    """The same on all nodes of the stack; "" for none."""
    bay: Place | None = field(default=None, metadata=_be(_place))
    """Where this node sits."""
    port: str = field(default="", metadata=_be(_port))
    """The bus of the stack, at the node that has it. Where the device is not there, another node may have it."""
    baud: int = field(default=9600, metadata=_be(checks.whole(300, 1_000_000)))
    boards: tuple[int, ...] = field(default=(), metadata=_be(checks.words(checks.whole(0, ADDRESS_MAX))))
    """Addresses on the bus; none: all 16."""
    bays: tuple[tuple[Place, bytes], ...] = field(default=(), metadata=_be(checks.words(_seat)))
    """Who sits where, at the node that has the bus."""
    owners: tuple[bytes, ...] = field(default=(), metadata=_be(checks.words(_node_id)))
    """Nodes that may have the bus; none: whoever says so is listened to, within bounds."""
    sweep_s: float = field(default=15.0, metadata=_be(checks.seconds(0.2, 3600)))
    """From one sweep to the next, at least."""
    input_v_min: float = field(default=0.0, metadata=_be(_volts))
    pause_s: int = field(default=45, metadata=_be(checks.whole(5, PAUSE_S_MAX)))
    turn_wait_s: float = field(default=6 * 3600.0, metadata=_be(checks.seconds(1, 7 * DAY_S)))


@frozen
class RecoveryConfig:
    """`[recovery]`: when the node that has the bus power-cycles a bay; `fruitd.power.settings.RecoveryLimits` says what each
    costs."""

    power_cycle: bool = field(default=True, metadata=_be(checks.yes_or_no))
    silent_s: float = field(default=180.0, metadata=_be(checks.seconds(1, DAY_S)))
    tries_max: int = field(default=3, metadata=_be(checks.whole(1, 100)))
    cool_down_s: float = field(default=600.0, metadata=_be(checks.seconds(1, 7 * DAY_S)))
    boot_s: float = field(default=240.0, metadata=_be(checks.seconds(1, DAY_S)))
    off_s: float = field(default=5.0, metadata=_be(checks.seconds(0.1, 3600)))
    off_wait_s: float = field(default=60.0, metadata=_be(checks.seconds(1, 3600)))


@frozen
class HeartbeatConfig:
    """`[heartbeat]`: the two lines between this Pi and its board."""

    lines: str = field(default="auto", metadata=_be(_lines))
    """"auto": GPIO where the device tree tells of a Pi Stack, else none."""
    look_s: float = field(default=60.0, metadata=_be(checks.seconds(0.2, 3600)))
    """How often this machine's health and supply are looked at."""
    shutdown_command: tuple[str, ...] = field(default=("systemctl", "poweroff"), metadata=_be(checks.command))
    """Run when the board asks this Pi to shut down."""
