"""The serial bus with boards on it, each byte at its time. Pure: time is told, chance is seeded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from hw.emulator.board import Happened
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.pistack.frames import FRAME_BYTES_MAX
from hw.pistack.line import Timing

ANSWER_S = 0.0002
"""From the last bit of a request to the first of the reply. Guessed: a small controller that has the value at hand."""
LIFE_S = 0.02
"""How often boards and Pis live on while nobody asks them anything."""
HELD_BYTES_MAX = 4096
"""What a master's terminal keeps for it until it reads; what comes then is lost, as on a real one."""
_FORGET_S = 0.01
"""After so much quiet a board takes the next byte for the first of a request."""


class EmulatedBus:
    """What hosts write goes in, what comes back to them comes out, both as slow as the wire is.

    There may be several masters on the pair, although the boards' protocol has room for one: each hears what the others ask, all
    hear every reply, and where two talk at once their bytes get between each other.
    """

    def __init__(
        self,
        stack: EmulatedStack,
        *,
        byte_s: float | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        echo: bool = False,
        answer_s: float = ANSWER_S,
        on_happened: Callable[[Happened], None] | None = None,
        in_chunks: bool = False,
        masters: int = 1,
    ) -> None:
        """`echo`: the host's converter hears what it sends itself, as many do. `in_chunks`: it hands a reply on as a whole, when
        its last byte has come, as those on USB do; so a busy machine that emulates it does not tear replies apart.
        """
        self.stack = stack
        self.faults = faults or Faults()
        self._byte_s = Timing().byte_s if byte_s is None else byte_s
        self._rng = Random(seed)
        self._echo = echo
        self._answer_s = answer_s
        self._on_happened = on_happened
        self._in_chunks = in_chunks
        self._from_hosts: tuple[deque[tuple[float, int]], ...] = tuple(deque() for _ in range(masters))
        self._to_hosts: tuple[deque[tuple[float, int]], ...] = tuple(deque() for _ in range(masters))
        self._free_s = float("-inf")
        self._request = bytearray()
        self._heard_s = self._lived_s = float("-inf")
        self.requests = 0

    def host_writes(self, data: bytes, now_s: float, master: int = 0) -> None:
        """Queue a host's bytes: each takes its time on the wire."""
        queue = self._from_hosts[master]
        at_s = max(now_s, queue[-1][0] if queue else now_s)
        for byte in data:
            at_s += self._byte_s
            queue.append((at_s, byte))

    def next_s(self, master: int = 0) -> float | None:
        """When something happens next that this master can see, if nobody writes; None if nothing does."""
        times = [queue[0][0] for queue in (*self._from_hosts, self._to_hosts[master]) if queue]
        return min(times, default=None)

    def advance(self, now_s: float) -> None:
        """Let time pass."""
        while coming := [(queue[0][0], n) for n, queue in enumerate(self._from_hosts) if queue]:
            at_s, master = min(coming)
            if at_s > now_s:
                break
            self._hear(master, *self._from_hosts[master].popleft())
        if now_s - self._lived_s >= LIFE_S:
            self._live(now_s)

    def came(self, now_s: float, master: int = 0) -> bytes:
        """Let time pass; the bytes that have reached this host and were not taken yet."""
        self.advance(now_s)
        queue, came = self._to_hosts[master], bytearray()
        while queue and queue[0][0] <= now_s:
            came.append(queue.popleft()[1])
        return bytes(came)

    def _live(self, now_s: float) -> None:
        self._lived_s = now_s
        for happened in self.stack.advance(now_s):
            if self._on_happened is not None:
                self._on_happened(happened)

    def _reach(self, at_s: float, byte: int, but: int | None = None) -> None:
        for master, queue in enumerate(self._to_hosts):
            if master != but and len(queue) < HELD_BYTES_MAX:
                queue.append((at_s, byte))

    def _hear(self, master: int, at_s: float, byte: int) -> None:
        if at_s - self._heard_s > _FORGET_S:
            self._request.clear()
        self._heard_s = at_s
        self._request.append(byte)
        self._reach(at_s, byte, but=None if self._echo else master)
        if len(self._request) < 3 or len(self._request) <= self._request[2]:
            return
        frame = bytes(self._request[:FRAME_BYTES_MAX])
        self._request.clear()
        self.requests += 1
        self._live(at_s)
        answer = self.stack.answer(frame)
        if answer is None:
            return
        answer, late_s = self.faults.apply(answer, self._rng)
        at_s = max(at_s + self._answer_s + late_s, self._free_s)
        whole_s = at_s + len(answer) * self._byte_s
        for answered in answer:
            at_s += self._byte_s
            self._reach(whole_s if self._in_chunks else at_s, answered)
        self._free_s = at_s


class VirtualWire:
    """A `Wire` on the emulated bus, and on a clock that jumps to where something happens."""

    def __init__(self, bus: EmulatedBus, now_s: float = 0.0, master: int = 0) -> None:
        self.bus = bus
        self._master = master
        self.clock_s = now_s
        bus.advance(now_s)

    def now_s(self) -> float:
        """Virtual seconds."""
        return self.clock_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass with nobody listening."""
        self.clock_s += seconds
        self.bus.advance(self.clock_s)

    def send(self, frame: bytes) -> bytes:
        """See `Wire`."""
        waited = self.bus.came(self.clock_s, self._master)
        self.bus.host_writes(frame, self.clock_s, self._master)
        return waited

    def receive(self, wanted_bytes: int, _earliest_s: float, until_s: float) -> bytes:
        """See `Wire`."""
        received = b""
        while len(received) < max(1, wanted_bytes):
            next_s = self.bus.next_s(self._master)
            if next_s is None or next_s > until_s:
                self.clock_s = max(self.clock_s, until_s)
                break
            self.clock_s = max(self.clock_s, next_s)
            received += self.bus.came(self.clock_s, self._master)
        return received

    def close(self) -> None:
        """See `Wire`."""
