"""The hardware watchdog during a trial: a machine that hangs is restarted by it, into the old slot.

From the moment it is opened it counts down, unless it is petted. Closing it does not stop it; only closing it after the letter
`V` does ("magic close", Linux: watchdog-api). So whatever happens to a daemon on trial, the machine comes back. Where the boot
loader has started the watchdog, the kernel pets it until somebody opens it: a daemon on trial takes it over at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

_SETTIMEOUT = 0xC0045706
_GETTIMEOUT = 0x80045707
_KEEPALIVE = 0x80045705
"""linux/watchdog.h: _IOWR('W', 6, int), _IOR('W', 7, int), _IOR('W', 5, int)."""
MAGIC_CLOSE = b"V"
PETS_PER_TIMEOUT = 3
"""Larger: more wake-ups. Smaller: a busy node that is late once is restarted."""


class WatchdogPort(Protocol):
    """One watchdog device. Every method may raise OSError."""

    def open(self) -> None:
        """From now on it counts down."""
        ...

    def set_timeout(self, seconds: int) -> int:
        """Ask for a timeout; the one it really has now."""
        ...

    def pet(self) -> None:
        """Begin the countdown anew."""
        ...

    def close(self, *, stop: bool) -> None:
        """Let go of it; with `stop` it counts no more, unless the kernel was built never to stop it."""
        ...


class WatchdogDevice:
    """`WatchdogPort` on a real device."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def open(self) -> None:
        """See `WatchdogPort.open`."""
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)

    def set_timeout(self, seconds: int) -> int:
        """See `WatchdogPort.set_timeout`. Drivers without one keep theirs; those that do not say are taken for what was asked."""
        asked = struct.pack("=i", seconds)
        for request in (_SETTIMEOUT, _GETTIMEOUT):
            try:
                return int(struct.unpack("=i", fcntl.ioctl(self._descriptor, request, asked))[0])
            except OSError as error:
                if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        return seconds

    def pet(self) -> None:
        """See `WatchdogPort.pet`."""
        fcntl.ioctl(self._descriptor, _KEEPALIVE, struct.pack("=i", 0))

    def close(self, *, stop: bool) -> None:
        """See `WatchdogPort.close`."""
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if stop:
                os.write(descriptor, MAGIC_CLOSE)
        finally:
            os.close(descriptor)


class Watchdog:
    """Holds one watchdog for a trial. A watchdog that cannot be had is told in words and never an error: a trial goes on without.

    Args:
        port: the device; None: none is wanted.
        name: of the device, for people.
        timeout_s: to ask for.
    """

    def __init__(self, port: WatchdogPort | None, name: str, timeout_s: int) -> None:
        self._port = port
        self._name = name
        self._timeout_s = timeout_s
        self.held = False
        self.words = (
            "not held: nothing is on trial" if port is not None else "not used: the configuration names none"
        )

    @property
    def every_s(self) -> float:
        """How often to pet it."""
        return max(self._timeout_s / PETS_PER_TIMEOUT, 0.5)

    def hold(self) -> None:
        """Take it over. May be repeated."""
        if self._port is None or self.held:
            return
        try:
            self._port.open()
            self.held = True
            self._timeout_s = self._port.set_timeout(self._timeout_s)
            self._port.pet()
        except OSError as error:
            if self.held:
                self.words = f"{self._name} is held, and fails: {error.strerror}"
            else:
                self.words = f"{self._name} cannot be held during the trial: {_reason(error)}"
            return
        self.words = f"{self._name} is held, {self._timeout_s} s"

    def pet(self) -> None:
        """Say that the node lives."""
        if self._port is None or not self.held:
            return
        try:
            self._port.pet()
        except OSError as error:
            self.words = f"{self._name} is held, and cannot be petted: {error.strerror}"

    def stop(self) -> None:
        """The trial has ended well: it is not needed any more."""
        if self._port is None or not self.held:
            return
        self.held = False
        try:
            self._port.close(stop=True)
            self.words = "not held: nothing is on trial"
        except OSError as error:
            self.words = f"{self._name} could not be stopped: {error.strerror}"


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return "this machine has none (Raspberry Pi: dtparam=watchdog=on)"
        case errno.EBUSY:
            return "somebody else holds it, such as systemd by RuntimeWatchdogSec=, and restarts a machine that hangs"
        case errno.EACCES | errno.EPERM:
            return "the daemon's user may not open it; let systemd hold it by RuntimeWatchdogSec="
    return error.strerror or str(error)
