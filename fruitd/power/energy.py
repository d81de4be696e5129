"""Joules: watts summed over time, for each bay and for each update. What was not measured is not counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from fruitd.amounts import update_energy
from fruitd.errors import RefusedError
from swarm.errors import RefusedError as SwarmRefusedError
from swarm.fields import listed, number, packed, raw, unpacked
from swarm.power import held
from swarm.trust.keys import NODE_ID_BYTES

GAP_S_MAX = 300.0
"""Two readings further apart than this say nothing about the time between them."""
IDLE_S_MIN = 600.0
"""A bay's idle mean is known after so long without an update. Shorter: it is the mean of a boot, or of one cron job."""
IDLE_S_MAX = 3600.0
"""What is older than this counts half, then a quarter, and so on. Longer: the mean is that of last week's work."""
SAVE_S = 300.0
"""While an update goes on, what it has drawn is kept so often. Longer: a power cut costs more of it. Shorter wears the card."""
KEPT_BYTES_MAX = 16 * 1024
_KEPT_MAX = 256
"""Updates at a time: more than a bus has boards, and one of a board updates."""
_FORMAT = 1


@define
class Meter:
    """Of one bay."""

    joules: float = 0.0
    known_s: float = 0.0
    """The time that they were drawn in."""
    watts: float | None = None
    """What was read last."""
    _at_s: float = 0.0

    def read(self, watts: float | None, now_s: float) -> None:
        """The bay draws so much now; None where it could not be measured."""
        passed_s = now_s - self._at_s
        if watts is not None and self.watts is not None and 0 <= passed_s <= GAP_S_MAX:
            self.joules += (watts + self.watts) / 2 * passed_s
            self.known_s += passed_s
        self.watts, self._at_s = watts, now_s


@frozen
class Used:
    """What a bay drew while its node updated, as far as it was measured."""

    joules: float
    known_s: float
    """It was measured for so long."""
    idle_w: float | None = None
    """Its mean before; None where it is not known."""

    @property
    def above_idle_j(self) -> float | None:
        """So much more than it would have drawn at its idle mean."""
        return None if self.idle_w is None else self.joules - self.idle_w * self.known_s

    @property
    def words(self) -> str:
        """For people."""
        return update_energy(self.joules, self.known_s, self.above_idle_j)


@define
class Idle:
    """The mean of a bay whose node does not update."""

    meter: Meter = field(factory=Meter)

    def read(self, watts: float | None, now_s: float) -> None:
        """As `Meter.read`."""
        self.meter.read(watts, now_s)
        if self.meter.known_s > IDLE_S_MAX:
            self.meter.joules /= 2
            self.meter.known_s /= 2

    @property
    def mean_w(self) -> float | None:
        """None where it was not measured for long enough."""
        return self.meter.joules / self.meter.known_s if self.meter.known_s >= IDLE_S_MIN else None


@define
class Account:
    """Of an update that goes on."""

    idle_w: float | None = None
    meter: Meter = field(factory=Meter)

    @property
    def used(self) -> Used | None:
        """So far; None where nothing was measured."""
        if not self.meter.known_s:
            return None
        return Used(self.meter.joules, self.meter.known_s, self.idle_w)


def encode(accounts: Mapping[bytes, Account]) -> bytes:
    """For the state, by node; the time until it is read again counts for nothing."""
    rows = [
        [
            node_id,
            _milli(a.meter.joules),
            _milli(a.meter.known_s),
            None if a.idle_w is None else _milli(a.idle_w),
        ]
        for node_id, a in sorted(accounts.items())
    ]
    return packed(_FORMAT, [rows])


def decode(data: bytes) -> dict[bytes, Account]:
    """Raises `fruitd.errors.RefusedError` on anything that `encode` could not have written."""
    try:
        (rows,) = unpacked(data, "energy of updates", _FORMAT, 1, KEPT_BYTES_MAX)
        return dict(map(_account, listed(rows, "energy of updates", _KEPT_MAX)))
    except SwarmRefusedError as error:
        raise RefusedError(f"what was kept about the energy of updates is not believed: {error}") from error


def _account(row: Any) -> tuple[bytes, Account]:
    match row:
        case [node_id, joules, known, idle]:
            meter = Meter(number(joules, "energy") / 1000, number(known, "time") / 1000)
            idle_w = None if idle is None else number(idle, "idle mean") / 1000
            return raw(node_id, "node", NODE_ID_BYTES), Account(idle_w, meter)
    raise SwarmRefusedError("the energy of an update does not have its four fields")


def _milli(value: float) -> int:
    return held(round(value * 1000))
