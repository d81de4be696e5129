"""The bus of a stack on trio: sweeps it in a worker thread, and switches bays. Loaded only where a bus is configured."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import trio

import fruitd.power.owner  # noqa: F401  now, and not with the first sweep: then what is left of loading is let go of
from fruitd.daemon.power.stack_figures import StackFigures
from fruitd.logs import get_logger
from fruitd.power.effects import Step, SwitchBay
from fruitd.power.seen import BaySeen, bays_of
from hw.errors import HwError
from hw.i2c import SmbusPort
from hw.pistack.i2c_wire import TIMING, I2cWire
from hw.pistack.line import Timing
from hw.pistack.serial_wire import SerialWire
from hw.pistack.stack import PiStack
from hw.pistack.wire import Wire

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

OTHERS_S = 5.0
"""How often it is looked whether the node that shares the bus still has it."""
RETRY_S = 30.0
"""A device that is not there, or has gone, is tried again so often."""
SHARE_OF_CORE = 0.001
"""Sweeps are so far apart that they take no more of a core than this; up to `SWEEP_S_MAX`. A stack of 16 boards takes a tenth of
a second of it for each sweep, more on a small Pi."""
SWEEP_S_MAX = 60.0
HURRIED_S = 3.0
"""While something is being done to a bay, sweeps follow each other sooner."""
WAITING_MAX = 64
log = get_logger(room="stack")


class StackBus:
    """One for each daemon that is configured to have a bus."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._stack: PiStack | None = None
        self._waiting: deque[SwitchBay] = deque(maxlen=WAITING_MAX)
        self._asked = trio.Event()
        self._told = ""
        self.figures = StackFigures(daemon)
        self.forbidden = ""
        """Why nothing may be switched now: what is being done could not be made durable. "" where it may."""

    def switch(self, effect: SwitchBay) -> None:
        """Do this at the next opportunity."""
        self._waiting.append(effect)
        self._asked.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        try:
            while True:
                await self._once()
        finally:
            self._close()

    async def _once(self) -> None:
        daemon, part = self._daemon, self._daemon.power
        if not part.may_have_bus(daemon.time.now_s()):
            self._close()
            part.bus_lost("", daemon.time.now_s())
            await trio.sleep(OTHERS_S)
            return
        began_s = daemon.time.now_s()
        try:
            bays, other_s_ago, cpu_s = await trio.to_thread.run_sync(self._sweep, abandon_on_cancel=True)
        except HwError as error:
            self._close()
            self._lost(str(error))
            await trio.sleep(RETRY_S)
            return
        self._told = ""
        now_s = daemon.time.now_s()
        daemon.submit_power(lambda p, wall_s: p.swept(bays, now_s, wall_s, other_s_ago))
        await trio.lowlevel.checkpoint()
        await self.figures.swept(bays, now_s)
        await self._pause(began_s, cpu_s)

    async def _pause(self, began_s: float, cpu_s: float) -> None:
        """Until the next sweep; what is to be switched is switched meanwhile."""
        daemon = self._daemon
        wanted_s = daemon.config.stack.sweep_s
        interval_s = max(wanted_s, min(cpu_s / SHARE_OF_CORE, SWEEP_S_MAX))
        owner = daemon.power.owner
        if owner is not None and (owner.busy_places() or owner.learning is not None):
            interval_s = min(interval_s, HURRIED_S)
        while True:
            left_s = began_s + interval_s - daemon.time.now_s()
            with trio.move_on_after(max(left_s, 0)):
                await self._asked.wait()
            self._asked = trio.Event()
            if not self._waiting:
                return
            while self._waiting:
                await self._switch(self._waiting.popleft())
            interval_s = min(interval_s, HURRIED_S)

    def _lost(self, why: str) -> None:
        daemon = self._daemon
        if why != self._told:
            self._told = why
            daemon.refuse("stack", why, "bus")
        daemon.power.bus_lost(why, daemon.time.now_s())

    # ------------------------------------------------------------------ in the worker thread

    def _sweep(self) -> tuple[list[BaySeen], float | None, float]:
        began_s = time.thread_time()
        if self._stack is None:
            config = self._daemon.config.stack
            wire, timing = self._wire()
            self._stack = PiStack(wire, addresses=config.boards or None, timing=timing)
        swept = self._stack.sweep()
        bays = [
            bay
            for board in swept.boards
            for bay in bays_of(board.address, board.present, board.readings, board.bays)
        ]
        other_s = swept.other_master_s
        other_s_ago = None if other_s is None else self._stack.now_s() - other_s
        return bays, other_s_ago, time.thread_time() - began_s

    def _wire(self) -> tuple[Wire, Timing]:
        config = self._daemon.config.stack
        if config.port.startswith("i2c:"):
            return I2cWire(SmbusPort(int(config.port.removeprefix("i2c:")))), TIMING
        return SerialWire(config.port, config.baud), Timing.at(config.baud)

    # ------------------------------------------------------------------ switching

    async def _switch(self, effect: SwitchBay) -> None:
        daemon, error = self._daemon, self.forbidden
        if not error:
            try:
                await trio.to_thread.run_sync(self._do, effect, abandon_on_cancel=True)
                log.info("bay switched", bay=str(effect.place), step=str(effect.step))
            except HwError as failed:
                error = str(failed)
        now_s = daemon.time.now_s()
        daemon.submit_power(lambda p, _: p.switched(effect.place, effect.step, error, now_s))

    def _do(self, effect: SwitchBay) -> None:
        stack, place = self._stack, effect.place
        if stack is None:
            return
        match effect.step:
            case Step.ON:
                stack.turn_on(place.address, place.bay)
            case Step.OFF:
                stack.turn_off(place.address, place.bay)
            case Step.CUT:
                stack.cut_off(place.address, place.bay)

    def _close(self) -> None:
        if self._stack is not None:
            self._stack.__exit__(None, None, None)
            self._stack = None
