"""What the power part asks of its host."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from fruitd.power.energy import Used
from swarm.power import Place, Said


class Step(StrEnum):
    """What is done to a bay by its board."""

    ON = "on"
    OFF = "off"
    """Its Pi is told to shut down, and loses power after the board's off delay."""
    CUT = "cut"
    """Power goes at once."""


@frozen
class Say:
    """Sign this and spread it."""

    said: Said


@frozen
class KeepPower:
    """Make this durable before anything behind it is done."""

    document: bytes


@frozen
class KeepEnergy:
    """Make this durable: what the updates under way have drawn so far. Nothing waits for it."""

    document: bytes


@frozen
class UpdateUsed:
    """This node's update is over, and its bay was measured meanwhile."""

    used: Used


@frozen
class SwitchBay:
    """Do this to a bay. Answered by `switched`."""

    place: Place
    step: Step


@frozen
class PauseHeartbeat:
    """Skip beats for so long."""

    for_s: float


@frozen
class HoldBack:
    """Nothing is to be begun for this reason; None: it may be."""

    why: str | None


@frozen
class Tell:
    """A line for the node's history."""

    what: str
    why: str


PowerEffect = Say | KeepPower | KeepEnergy | UpdateUsed | SwitchBay | PauseHeartbeat | HoldBack | Tell
