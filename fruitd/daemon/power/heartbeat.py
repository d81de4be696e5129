"""The node's heart on trio: looks at the machine, beats on the board's line, and hears when the board wants it to shut down.

The beats are made on the daemon's own event loop, and health is lent for a short time only: what stops the loop stops the heart.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fruitd.logs import get_logger
from fruitd.power.heart import Heart
from fruitd.updater.effects import Note
from fruitd.updater.journal import State
from hw.errors import HwError
from hw.kernel_files import KernelFiles
from hw.readings import Quantity, Reading
from swarm.power import Supply

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon
    from hw.gpio.lines import PiLines
    from hw.gpio.port import GpioPort

HAT_PRODUCT = Path("/proc/device-tree/hat/product")
HAT_WORDS = "Pi stack"
"""What the device tree says of a Pi that sits on a board. Source: fruit-testbed/PiStack-daemon, stackdaemon.py at c51e1e3."""
LENT_S = 15.0
"""Health is lent for so long at each beat: three pauses. Longer: a loop that hangs beats on for longer."""
RETRY_S = 60.0
"""Lines that cannot be had, or have gone, are tried again so often."""
ANNOUNCE_S = 0.25
SYSTEMD_S_MAX = 2.0
log = get_logger(room="heartbeat")


def wanted_lines(lines: str) -> str:
    """What `[heartbeat] lines` means on this machine: "gpio", "none" or the socket of an emulated board."""
    if lines != "auto":
        return lines
    try:
        product = HAT_PRODUCT.read_bytes()[:64].decode("ascii", errors="replace")
    except OSError:
        return "none"
    return "gpio" if HAT_WORDS.lower() in product.lower() else "none"


class HeartbeatTask:
    """One for each daemon."""

    def __init__(self, daemon: Daemon, lines: str) -> None:
        self._daemon = daemon
        self._kind = lines
        self._lines: PiLines | None = None
        self._heart = Heart()
        self._kernel = KernelFiles()
        self._wake = trio.Event()
        self._told = ""
        self.trouble = ""
        """Why it does not beat although it should be able to; "" where it does, or has no board."""

    # ------------------------------------------------------------------ the machine

    async def look_again_and_again(self) -> None:
        """Health and supply, for as long as the daemon runs."""
        daemon = self._daemon
        while True:
            results, readings = await trio.to_thread.run_sync(self._look)
            updater = daemon.core.updater
            on_trial = updater is not None and updater.journal.state is State.TRIAL
            self._heart.look(results, on_trial=on_trial)
            why, supply, now_s = self._heart.why, _supply(readings), daemon.time.now_s()
            daemon.submit_power(lambda part, _wall_s: part.looked(supply, why, now_s))  # noqa: B023  called at once
            await trio.sleep(daemon.config.heartbeat.look_s)

    def _look(self) -> tuple[list[tuple[str, bool, str]], tuple[Reading, ...]]:
        results = self._daemon.trial_watch.panel().built_in()
        return [(r.name, r.ok, r.why) for r in results], self._kernel.read()

    # ------------------------------------------------------------------ the lines

    async def beat(self) -> None:
        """Beat until cancelled; lines that cannot be had are tried again."""
        if self._kind == "none":
            return
        while True:
            try:
                await self._beat_on()
            except HwError as error:
                self.trouble = str(error)
                if self.trouble != self._told:
                    self._told = self.trouble
                    self._daemon.refuse("heartbeat", self.trouble, "board")
            await trio.sleep(RETRY_S)

    def pause(self, for_s: float) -> None:
        """Skip beats for so long."""
        if self._lines is not None:
            self._lines.heartbeat.pause(time.monotonic() + for_s)

    async def _beat_on(self) -> None:
        from hw.gpio.lines import PiLines

        token = trio.lowlevel.current_trio_token()
        port = await trio.to_thread.run_sync(self._port)
        with PiLines(port, time.monotonic, lambda: token.run_sync_soon(self._woken)) as lines:
            self._lines, self.trouble, self._told = lines, "", ""
            log.info("the heart beats", lines=self._kind)
            try:
                while True:
                    await self._beat_once(lines)
            finally:
                self._lines = None
                with trio.CancelScope(shield=True):
                    await self._announce(lines)

    async def _beat_once(self, lines: PiLines) -> None:
        if self._heart.why:
            lines.heartbeat.unhealthy()
        else:
            lines.heartbeat.healthy(time.monotonic(), LENT_S)
        moment = lines.advance()
        if moment.shut_down:
            await self._shut_down()
        self._wake = trio.Event()
        with trio.move_on_after(max(0.0, moment.next_s - time.monotonic())):
            await self._wake.wait()
        await trio.lowlevel.checkpoint()

    def _woken(self) -> None:
        self._wake.set()

    def _port(self) -> GpioPort:
        if self._kind == "gpio":
            from hw.gpio.port import RpiGpioPort

            return RpiGpioPort()
        from hw.gpio.socket_port import SocketGpio

        return SocketGpio(self._kind)

    # ------------------------------------------------------------------ shutting down, both ways

    async def _shut_down(self) -> None:
        """The board has asked for it: power goes when its off delay is over."""
        daemon, command = self._daemon, self._daemon.config.heartbeat.shutdown_command
        daemon.note(Note("shutdown", "the board asks this Pi to shut down"))
        await daemon.on_disk(daemon.state.flush)
        if not command:
            return
        try:
            with trio.move_on_after(RETRY_S):
                await trio.run_process(
                    list(command), check=False, stdin=subprocess.DEVNULL, capture_stdout=True
                )
        except OSError as error:
            daemon.refuse("shutdown", f"{command[0]} cannot be run: {error.strerror or error}", "board")

    async def _announce(self, lines: PiLines) -> None:
        """Tell the board that this machine is being powered off; a restart, of daemon or machine, is none of its business."""
        if self._kind != "gpio" or not await trio.to_thread.run_sync(_powering_off):
            return
        try:
            lines.announce_shutdown()
            await trio.sleep(ANNOUNCE_S)
            lines.advance()
        except HwError as error:
            log.warning("the board was not told of the shutdown", why=str(error))


def _powering_off() -> bool:
    """Whether the service manager is about to power this machine off."""
    try:
        jobs = subprocess.run(
            ["systemctl", "list-jobs", "--plain", "--no-legend"],
            capture_output=True, text=True, timeout=SYSTEMD_S_MAX, check=False,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return any(
        f"{target}.target start" in " ".join(line.split())
        for target in ("poweroff", "halt")
        for line in jobs.splitlines()
    )


def _supply(readings: tuple[Reading, ...]) -> Supply:
    """What the kernel tells, as it travels."""

    def flag(quantity: Quantity) -> bool | None:
        found = next((r for r in readings if r.quantity is quantity and r.good and r.value is not None), None)
        return None if found is None else bool(found.value)

    heat = [
        r.value for r in readings if r.quantity is Quantity.TEMPERATURE and r.good and r.value is not None
    ]
    return Supply(
        flag(Quantity.UNDERVOLTAGE),
        flag(Quantity.UNDERVOLTAGE_SINCE_BOOT),
        flag(Quantity.THROTTLED),
        flag(Quantity.THROTTLED_SINCE_BOOT),
        round((max(heat) + 100) * 10) if heat else None,
    )
