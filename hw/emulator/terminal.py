"""The emulated bus behind a real pseudo-terminal: real serial code runs against it, byte for byte as slow as the wire."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hw.emulator.bus import LIFE_S, EmulatedBus
from hw.errors import PortError

_READ_BYTES = 4096


class Terminal:
    """One pseudo-terminal. `path` is what programs open; `run` serves it until `stop`."""

    def __init__(
        self,
        bus: EmulatedBus,
        clock: Callable[[], float] = time.monotonic,
        *,
        master: int = 0,
        lock: threading.Lock | None = None,
    ) -> None:
        """`lock`: of the first terminal, for further masters on the same bus. Raises `PortError` where the machine has no
        pseudo-terminals."""
        self._bus = bus
        self._clock = clock
        self._master = master
        self.lock = threading.Lock() if lock is None else lock
        """Held while the bus is touched: take it to change boards and faults from another thread."""
        try:
            # Our own end of the other side stays open, so that a client that leaves is no hang-up.
            self._ours, self._theirs = os.openpty()
        except OSError as error:
            raise PortError(f"no pseudo-terminal can be had ({error}); is /dev/pts mounted?") from error
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False
        self.path = os.ttyname(self._theirs)

    def run(self) -> None:
        """Serve until told to stop."""
        while not self._stopping:
            with self.lock:
                out = self._bus.came(self._clock(), self._master)
                next_s = self._bus.next_s(self._master)
            if out:
                with contextlib.suppress(BlockingIOError):  # nobody reads: a wire does not wait either
                    os.write(self._ours, out)
            wait_s = LIFE_S if next_s is None else min(LIFE_S, max(0.0, next_s - self._clock()))
            ready, _, _ = select.select([self._ours, self._wake_read], [], [], wait_s)
            if self._ours in ready:
                data = os.read(self._ours, _READ_BYTES)
                with self.lock:
                    self._bus.host_writes(data, self._clock(), self._master)

    def stop(self) -> None:
        """From any thread or signal handler."""
        self._stopping = True
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """After `run` has come back."""
        for descriptor in (self._ours, self._theirs, self._wake_read, self._wake_write):
            os.close(descriptor)


@contextmanager
def serving(bus: EmulatedBus, *, master: int = 0, lock: threading.Lock | None = None) -> Iterator[Terminal]:
    """A terminal served by a thread of its own for as long as the block runs."""
    terminal = Terminal(bus, master=master, lock=lock)
    thread = threading.Thread(target=terminal.run, name="emulated bus", daemon=True)
    thread.start()
    try:
        yield terminal
    finally:
        terminal.stop()
        thread.join()
        terminal.close()
