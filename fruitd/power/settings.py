"""What a node's owner configured about power; each with what it costs both ways."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from swarm.power import Place


@frozen
class RecoveryLimits:
    """When a bay that has fallen silent is power-cycled. Times in seconds."""

    silent_s: float = 180.0
    """A heartbeat that the board reports as lost for so long. Longer than a Pi takes to boot, or an ordinary restart is cut
    short; longer than `swarm.power.PAUSE_S_MAX`, or whoever asks for a pause gets a power cycle. Larger: a hung node is away
    longer."""
    tries_max: int = 3
    """Cycles of one bay that bring nothing. More wears a card that is broken anyway, fewer gives a slow one up."""
    cool_down_s: float = 600.0
    """Between two tries, twice as long each time; and for so long a heart has to beat before tries are forgotten."""
    boot_s: float = 240.0
    """For so long after power came, silence is no reason for anything."""
    off_s: float = 5.0
    """How long a bay stays without power: capacitors run empty."""
    off_wait_s: float = 60.0
    """A Pi that was told to shut down, and the board's own off delay, have so long; then the power is cut."""


@frozen
class PowerSettings:
    """What this node is to a stack."""

    stack: str = ""
    """Name of the stack it sits in, or whose bus it has; "" for none."""
    place: Place | None = None
    """Where it sits, by the word of whoever wrote its card."""
    beats: bool = False
    """It drives the heartbeat line: so it sits in a bay."""
    has_port: bool = False
    """It is configured to have the bus."""
    owners: frozenset[bytes] = frozenset()
    """Nodes that may have the bus. Empty: any member that says so is listened to, within bounds."""
    bays: Mapping[Place, bytes] = field(factory=dict)
    """Who sits where, by configuration."""
    recovery: RecoveryLimits | None = field(factory=RecoveryLimits)
    """None: nothing is ever power-cycled by itself."""
    input_v_min: float = 0.0
    """Below, a board's supply counts as failing; 0: not looked at."""
    pause_s: int = 45
    """How long a heart is asked to pause, to learn which bay it is: the board's own limit, and two sweeps."""
    turn_wait_s: float = 6 * 3600.0
    """An update waits so long for a turn where nobody has the bus; in bay 1 twice as long. Shorter: a board whose owner is away
    for a night may see both its Pis update at once. Longer: a stack whose owner died is behind for longer."""

    quiet_s: float = 120.0
    """Another master on the bus is gone when it has not been heard for so long: two of its sweeps at least. Larger: turns and
    switching wait longer, after a take-over too. Smaller: one that is between two sweeps is taken for gone."""

    @property
    def in_bay(self) -> bool:
        """This node sits on a board, and shares it."""
        return bool(self.stack) and (self.beats or self.place is not None)
