"""Boards under the nodes of a world: the emulated hardware on virtual time. A bay that loses power takes its virtual node down.

The node that has the bus drives it with the code that drives real boards, over a wire whose bytes take their time; that time
passes in the world before the node hears what it read.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fruitd.power.effects import Step, SwitchBay
from fruitd.power.seen import BaySeen, bays_of
from fruitd.power.settings import PowerSettings, RecoveryLimits
from hw.emulator.board import BROWN_OUT_V, Bay, Board, Change, Happened
from hw.emulator.bus import EmulatedBus, VirtualWire
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.errors import HwError
from hw.pistack import commands
from hw.pistack.stack import PiStack
from simulations.world.checker import Checker
from simulations.world.heap import Heap
from swarm.power import BAYS, Place

if TYPE_CHECKING:
    from simulations.world.host import Host
    from simulations.world.scenario import Scenario

STACK = "world-stack"
TICK_S = 1.0
"""How often boards and Pis live on while nobody asks them anything."""
BEAT_S = 5.2
SWEEP_S = 10.0
HURRIED_S = 3.0
LIMITS = RecoveryLimits(silent_s=60.0, tries_max=4, cool_down_s=45.0, boot_s=60.0, off_s=2.0, off_wait_s=20.0)
QUIET_S = 45.0
"""Longer than from one sweep to the end of the next, on a noisy bus too."""
_AMPERES = 0.45
SUPPLY_V = 12.0
BAD_SUPPLY_V = (0.0, 5.4, 6.0)
"""Gone; too low for Pis to run on; so low that a Pi complains and runs on."""
BROWN_OUT_S = (2.0, 60.0)
OWNER_AWAY_S = (200.0, 400.0)
"""A node beside the stack that hangs is reset by somebody after this: longer than another waits before it takes the bus."""


def stack_settings(
    scenario: Scenario, places: Mapping[int, Place], number: int, node_ids: Sequence[bytes]
) -> PowerSettings | None:
    """What node `number` is configured with; None where it has nothing to do with the stack. `node_ids`: of all that may have
    the bus."""
    place = places.get(number)
    has_port = number < scenario.stack_owners
    if not scenario.stack_boards or (place is None and not has_port):
        return None
    return PowerSettings(
        stack=STACK,
        place=place if scenario.stack_told else None,
        beats=place is not None,
        has_port=has_port,
        owners=frozenset(node_ids) if len(node_ids) > 1 else frozenset(),
        recovery=LIMITS,
        quiet_s=QUIET_S,
    )


def stack_places(scenario: Scenario) -> dict[int, Place]:
    """Which node sits where. Node 0 has the bus; it sits in the first bay, or nowhere."""
    first = 0 if scenario.stack_owner_in_bay else 1
    places = [Place(board, bay) for board in range(scenario.stack_boards) for bay in range(BAYS)]
    nodes = range(first, scenario.nodes - scenario.liars)
    return dict(zip(nodes, places, strict=False))


class WorldStack:
    """The boards, the wire, and who sits where."""

    def __init__(
        self,
        heap: Heap,
        checker: Checker,
        hosts: Sequence[Host],
        places: Mapping[int, Place],
        scenario: Scenario,
        seed: int,
    ) -> None:
        self._heap = heap
        self._checker = checker
        self._hosts = {place: hosts[number] for number, place in places.items()}
        self._owners = hosts[: scenario.stack_owners]
        self._rng = random.Random(f"stack {seed}")
        self._boards = {place.address: _board(place.address) for place in self._hosts}
        for place in self._hosts:
            self._boards[place.address].bays[place.bay].settings[commands.ON_AT_START] = 1
        self._bus = EmulatedBus(
            EmulatedStack(self._boards.values()),
            faults=Faults.evenly(scenario.stack_noise),
            seed=seed,
            on_happened=self._happened,
            in_chunks=True,
            masters=scenario.stack_owners,
        )
        self._wires = [VirtualWire(self._bus, master=number) for number in range(scenario.stack_owners)]
        """Each owner has a converter on the same pair. Their sweeps take turns, for each is done in one go."""
        self._pistacks: dict[int, tuple[int, PiStack]] = {}
        """Node -> life of its daemon, and what that has learned of the bus."""
        self._beat_s: dict[Place, float] = {}
        self._beats_since_s: dict[Place, float] = {}
        self._supplies = 0
        self.cycles: dict[int, int] = {}
        """Node -> how often power was taken from its bay."""
        self.brown_outs: dict[int, int] = {}
        """Node -> how often its bay lost power because the supply failed."""
        self.owner_hangs = 0

    def start(self) -> None:
        """The supply is switched on."""
        self._tick()

    def supply(self, volts: float, for_s: float) -> None:
        """All boards get so much, for so long."""
        self._supplies += 1
        self._bus.stack.supply_v = volts
        self._heap.after(for_s, self._supply_is_back, self._supplies)

    def _supply_is_back(self, number: int) -> None:
        if number == self._supplies:
            self._bus.stack.supply_v = SUPPLY_V

    def brown_out(self) -> None:
        """Some supply, for some time."""
        self.supply(self._rng.choice(BAD_SUPPLY_V), self._rng.uniform(*BROWN_OUT_S))

    def owner_hangs_now(self) -> None:
        """The node that has the bus hangs, where another can take over. In a bay it comes back by its power only, so it has to be
        known by then which bay that is."""
        having = [host for host in self._owners if host.has_bus()]
        if len(having) != 1 or not all(host.listening() for host in self._owners):
            return
        (host,) = having
        in_bay = host in self._hosts.values()
        if not in_bay or host.knows_its_bay():
            self.owner_hangs += 1
            host.firmware.hang(None if in_bay else self._rng.uniform(*OWNER_AWAY_S))

    def place_of(self, node: int) -> Place:
        """Where it sits."""
        return next(place for place, host in self._hosts.items() if host.number == node)

    # ------------------------------------------------------------------ time

    @property
    def _clock_s(self) -> float:
        """How far the bus has come: a sweep is ahead of the world."""
        return max(wire.clock_s for wire in self._wires)

    def _tick(self) -> None:
        now_s = self._heap.now_s
        if now_s > self._clock_s:
            for place, host in self._hosts.items():
                if not host.beating():
                    self._beats_since_s.pop(place, None)
                    continue
                self._beats_since_s.setdefault(place, now_s)
                if now_s - self._beat_s.get(place, float("-inf")) >= BEAT_S:
                    self._beat_s[place] = now_s
                    self._boards[place.address].now_s = now_s
                    self._boards[place.address].beat(place.bay)
            self._bus.advance(now_s)
        self._heap.after(TICK_S, self._tick)

    def _happened(self, happened: Happened) -> None:
        at_s = max(happened.at_s, self._heap.now_s)
        by_supply = self._boards[happened.address].rail_v < BROWN_OUT_V
        self._heap.at(at_s, self._carry_out, happened, by_supply)

    def _carry_out(self, happened: Happened, by_supply: bool) -> None:
        place = Place(happened.address, happened.bay)
        host = self._hosts.get(place)
        if host is None:
            return
        match happened.change:
            case Change.POWER_ON:
                self._beat_s.pop(place, None)
                self._checker.bay_power(host.number, on=True)
                host.firmware.feed(True)
            case Change.POWER_OFF:
                counts = self.brown_outs if by_supply else self.cycles
                counts[host.number] = counts.get(host.number, 0) + 1
                self._checker.bay_power(host.number, on=False, by_supply=by_supply)
                host.firmware.feed(False)
            case Change.SIGNAL:
                host.firmware.shut_down()

    # ------------------------------------------------------------------ what the node with the bus does

    def sweep(self, owner: Host, done: Callable[[list[BaySeen], float | None, float], None]) -> None:
        """Read everything; `done` is called with what was found, how long ago another master was heard, and how long it took."""
        stack = self._stack(owner)
        began_s = stack.now_s()
        swept = stack.sweep()
        bays = [
            b
            for board in swept.boards
            for b in bays_of(board.address, board.present, board.readings, board.bays)
        ]
        other_s_ago = None if swept.other_master_s is None else stack.now_s() - swept.other_master_s
        done(bays, other_s_ago, stack.now_s() - began_s)

    def leave(self, owner: Host) -> None:
        """It has the bus no more, and closes its port."""
        self._pistacks.pop(owner.number, None)

    def switch(self, owner: Host, effect: SwitchBay) -> tuple[str, float]:
        """Do this to a bay; the error in words, and how long it took."""
        stack, place = self._stack(owner), effect.place
        began_s = stack.now_s()
        if effect.step is not Step.ON and place in self._hosts:
            beats_for_s = self._heap.now_s - self._beats_since_s.get(place, self._heap.now_s)
            self._checker.bay_switched(self._hosts[place].number, owner.number, beats_for_s)
        try:
            match effect.step:
                case Step.ON:
                    stack.turn_on(place.address, place.bay)
                case Step.OFF:
                    stack.turn_off(place.address, place.bay)
                case Step.CUT:
                    stack.cut_off(place.address, place.bay)
        except HwError as error:
            return str(error), stack.now_s() - began_s
        return "", stack.now_s() - began_s

    def _stack(self, owner: Host) -> PiStack:
        """What this life of its daemon has learned of the bus."""
        wire = self._wires[owner.number]
        wire.clock_s = max(self._clock_s, self._heap.now_s)
        life, stack = self._pistacks.get(owner.number, (-1, None))
        if stack is None or life != owner.life:
            self._bus.came(wire.clock_s, owner.number)  # a port that was closed has heard nothing
            stack = PiStack(wire, addresses=sorted(self._boards))
            self._pistacks[owner.number] = owner.life, stack
        return stack


def _board(switches: int) -> Board:
    bays = tuple(Bay(None, outside_amperes=_AMPERES) for _ in range(BAYS))
    for bay in bays:
        bay.settings |= {commands.ON_AT_START: 0, commands.BOOT_TIME: 30, commands.OFF_DELAY: 5}
    return Board(switches, bays=bays)
