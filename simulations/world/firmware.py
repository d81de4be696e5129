"""What happens between power and daemon: firmware, kernel, init. And what a power cut does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulations.world.heap import tick
from simulations.world.images import Behaviour
from simulations.world.maintainer import CALENDAR_S

if TYPE_CHECKING:
    from simulations.world.host import Host
    from simulations.world.surroundings import Surroundings

BOOT_S = (2.0, 6.0)
"""From the firmware's choice to a running init, least and most. Quicker than a Pi (20 s); nothing depends on it."""
DAEMON_S = (0.2, 1.0)
PANIC_S = 10.0
"""Kernels for unattended machines are set to restart this long after a panic."""
WATCHDOG_S = 60.0
"""A hardware watchdog that nobody feeds restarts the machine."""
SHUTDOWN_S = 1.0
CLOCK_SET_S = (10.0, 120.0)
"""From power to a clock set by the network, least and most."""


class Firmware:
    """Brings one machine up again and again. `power` counts up whenever the power goes; what was under way is then lost."""

    def __init__(self, world: Surroundings, host: Host) -> None:
        self._world = world
        self._host = host
        self._rng = world.dice.named("firmware", host.number)
        self._power = 0
        self.on = False
        self.fed = True
        """There is power to be switched on: its bay gives some, or it is not on a board."""
        self.clock_ahead_s = CALENDAR_S
        """What the system clock shows, less the world's time. A Pi has no clock battery: it wakes up at the last time it wrote
        down, until the network sets it."""
        self.clock_dead = False
        """No network ever sets it: it counts from where it wakes up."""
        self._off_at_s = 0.0
        self.bricked = False
        self.gone = False
        """Switched off for good."""

    def switch_on(self) -> None:
        """Power comes."""
        if self.on or self.gone or not self.fed:
            return
        self.on = True
        heap = self._world.heap
        self.clock_ahead_s -= tick(heap.now_s - self._off_at_s)
        heap.after(self._rng.uniform(*CLOCK_SET_S), self._if_powered, self._power, self._set_clock)
        self._boot()

    def _set_clock(self) -> None:
        if self.clock_dead:
            return
        self.clock_ahead_s = CALENDAR_S
        self._host.clock_was_set()

    def switch_off(self) -> None:
        """The node is taken away for good."""
        self.cut_power(None)
        self.gone = True

    def feed(self, fed: bool) -> None:
        """The bay gives power from now on, or none any more."""
        self.fed = fed
        if fed:
            self.switch_on()
        else:
            self.cut_power(None)

    def shut_down(self) -> None:
        """The board asks for it: a daemon that runs flushes everything and halts the machine, which waits for its power to go."""
        if self._host.listening():
            self._power += 1
            self._host.stop_daemon()
            self._host.machine.power_off(cut=False)

    def restart(self) -> None:
        """An orderly restart: everything is flushed first. The daemon has been stopped."""
        self._power += 1
        self._host.machine.power_off(cut=False)
        self._world.heap.after(SHUTDOWN_S, self._if_powered, self._power, self._boot)

    def cut_power(self, down_s: float | None) -> None:
        """The power goes now, and comes back after `down_s` seconds (None: not by itself)."""
        if not self.on:
            return
        self._power += 1
        self.on = False
        self._host.stop_daemon(at_once=False)
        self._host.machine.power_off(cut=True)
        self._off_at_s = self._world.heap.now_s
        self._world.checker.power_lost(self._host.number)
        if down_s is not None:
            self._world.heap.after(down_s, self._power_returns, self._power)

    def hang(self, for_s: float | None) -> None:
        """Nothing runs any more, until its power goes; or until somebody resets it, after so long."""
        self._power += 1
        self._host.stop_daemon(at_once=False)
        self._host.machine.power_off(cut=True)
        self._world.checker.power_lost(self._host.number)
        if for_s is not None:
            self._world.heap.after(for_s, self._if_powered, self._power, self._boot)

    def start_daemon_after(self, delay_s: float) -> None:
        """The init system starts the daemon (again)."""
        self._world.heap.after(delay_s, self._if_powered, self._power, self._start_daemon)

    def _power_returns(self, power: int) -> None:
        if self._power == power:
            self.switch_on()

    def _if_powered(self, power: int, step: object, *args: object) -> None:
        if self._power == power:
            assert callable(step)
            step(*args)

    def _boot(self) -> None:
        host, heap = self._host, self._world.heap
        slot = host.machine.choose_slot()
        behaviour = self._world.behaviour(host.machine, slot)
        self._world.trace.note(heap.now_s, host.number, "boot", f"slot {slot}: {behaviour or 'no system'}")
        match behaviour:
            case Behaviour.GOOD | Behaviour.UNHEALTHY:
                heap.after(self._rng.uniform(*BOOT_S), self._if_powered, self._power, self._up, slot)
            case Behaviour.HANGS_FOR_GOOD:
                pass  # until its power goes
            case Behaviour.HANGS:
                heap.after(WATCHDOG_S, self._if_powered, self._power, self._boot_again, slot)
            case _:
                heap.after(PANIC_S, self._if_powered, self._power, self._boot_again, slot)

    def _boot_again(self, slot: str) -> None:
        if slot == self._host.machine.default and self._host.machine.armed is None:
            self.bricked = True  # it would go round for ever; the checker has seen it
            self._world.checker.power_lost(self._host.number)
            return
        self._boot()

    def _up(self, slot: str) -> None:
        self._host.machine.boot(slot)
        self.start_daemon_after(self._rng.uniform(*DAEMON_S))

    def _start_daemon(self) -> None:
        if not self._host.listening():
            self._host.start_daemon()
